"""report.html: one page that holds its tables and pictures."""

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from src.files import write_text
from src.reporting.console import cell

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; }
"""


@dataclass
class Page:
    """A page being written, from top to bottom."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, rows: list[dict[str, object]]) -> None:
        """Add rows with the same keys."""
        lines = [_line("th", rows[0]), *(_line("td", row.values()) for row in rows)]
        self.parts.append(f"<table>{''.join(lines)}</table>")

    def picture(self, path: Path, says: str) -> None:
        """Add a PNG, inside the page, with what it says for those who cannot see it."""
        data = b64encode(path.read_bytes()).decode("ascii")
        self.parts.append(
            f'<img src="data:image/png;base64,{data}" alt="{escape(says)}">'
        )

    def write(self, path: Path) -> None:
        """Write the page whole."""
        body = "\n".join(self.parts)
        write_text(
            "<!doctype html>\n<html lang='en'><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width'>"
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style>"
            f"<h1>{escape(self.title)}</h1>\n{body}\n</html>\n",
            path,
        )


def _line(tag: str, values: object) -> str:
    cells = (f"<{tag}>{escape(cell(value))}</{tag}>" for value in values)
    return f"<tr>{''.join(cells)}</tr>"

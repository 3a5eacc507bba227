"""report.html: one page that holds its tables and pictures."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from src.console import cell
from src.files import write_text

_STYLE = """
body { font: 15px/1.55 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; }
p, li { max-width: 46rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1.2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0;
        font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .55rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
figure { margin: 1.5rem 0; }
figcaption { color: #555; font-size: .87rem; max-width: 46rem; }
img { max-width: 100%; }
"""


@dataclass
class HtmlReport:
    """A page being written, from top to bottom."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def points(self, texts: Iterable[str]) -> None:
        """Add a list."""
        items = "".join(f"<li>{escape(text)}</li>" for text in texts)
        self.parts.append(f"<ul>{items}</ul>")

    def table(self, rows: list[dict[str, object]]) -> None:
        """Add rows with the same keys."""
        lines = [_line("th", rows[0]), *(_line("td", row.values()) for row in rows)]
        self.parts.append(f"<table>{''.join(lines)}</table>")

    def picture(self, path: Path, says: str) -> None:
        """Add a PNG, inside the page, over a caption that says what it shows."""
        data = b64encode(path.read_bytes()).decode("ascii")
        says = escape(says)
        self.parts.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{says}">'
            f"<figcaption>{says}</figcaption></figure>"
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


def _line(tag: str, values: Iterable[object]) -> str:
    cells = (f"<{tag}>{escape(cell(value))}</{tag}>" for value in values)
    return f"<tr>{''.join(cells)}</tr>"

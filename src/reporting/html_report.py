"""report.html: one self-contained page, rendered from a template."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from src import __version__
from src.console import cell
from src.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
REPORT = "report.html.jinja"


@dataclass(frozen=True)
class Table:
    """A table: the header and the values of each row."""

    columns: list[str]
    rows: list[list[object]]


@dataclass(frozen=True)
class Picture:
    """A PNG, base64-encoded, and its caption."""

    png: str
    caption: str


@dataclass(frozen=True)
class Block:
    """A block of the page; `kind` selects how the template lays `content` out."""

    kind: Literal["heading", "paragraph", "bullets", "table", "picture"]
    content: str | list[str] | Table | Picture


@dataclass
class HtmlReport:
    """A page, built block by block from top to bottom."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Start a section."""
        self.blocks.append(Block("heading", text))

    def paragraph(self, text: str) -> None:
        """Add a paragraph; words in back-ticks become code spans."""
        self.blocks.append(Block("paragraph", text))

    def bullets(self, texts: Iterable[str]) -> None:
        """Add a bullet list, of sentences as in a paragraph."""
        self.blocks.append(Block("bullets", list(texts)))

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add a table; all rows have the same keys, which become its header."""
        table = Table(list(rows[0]), [[*row.values()] for row in rows])
        self.blocks.append(Block("table", table))

    def picture(self, path: Path, caption: str) -> None:
        """Add a PNG, embedded in the page, above its caption."""
        png = b64encode(path.read_bytes()).decode("ascii")
        self.blocks.append(Block("picture", Picture(png, caption)))

    def write(self, path: Path) -> None:
        """Render the page and write it whole or not at all."""
        template = _environment().get_template(REPORT)
        page = template.render(
            title=self.title, blocks=self.blocks, version=__version__
        )
        write_text(page, path)


def code_spans(text: str) -> Markup:
    """Escape a sentence for HTML and turn its words in back-ticks into code spans."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "code_spans": code_spans}
    return environment

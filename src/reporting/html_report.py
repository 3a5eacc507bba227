"""report.html: one self-contained page, built block by block."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from src.console import cell
from src.files import write_text
from src.reporting.drawings import inline_svg
from src.reporting.render import render

REPORT = "report.html.jinja"
NUMBER = re.compile(r"[+\-\u2212]?[\d.]|-$")  # how a number, or none, begins


@dataclass(frozen=True)
class Heading:
    """A heading; level: 2 for a section, 3 for a part of one; id: its anchor."""

    text: str
    level: Literal[2, 3]
    id: str


@dataclass(frozen=True)
class Table:
    """A table: the header, the values of each row, and its name for screen readers."""

    columns: list[str]
    rows: list[list[object]]
    label: str = "Table"

    @property
    def numbers(self) -> list[bool]:
        """Which columns hold numbers alone, to be aligned to the right."""
        columns = zip(*self.rows, strict=True)
        return [all(NUMBER.match(cell(v)) for v in column) for column in columns]


@dataclass(frozen=True)
class Picture:
    """A PNG, base64-encoded, and its caption."""

    png: str
    caption: str


@dataclass(frozen=True)
class Drawing:
    """An SVG element, and its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Block:
    """A block of the page; `kind` selects how the template lays `content` out."""

    kind: Literal[
        "heading", "paragraph", "bullets", "table", "picture", "drawing", "fragment"
    ]
    content: str | list[str] | Heading | Table | Picture | Drawing | Markup


@dataclass
class HtmlReport:
    """A page, built block by block from top to bottom; opening: above its contents."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    opening: Markup = field(default_factory=Markup)

    def open_with(self, template: str, **values: object) -> None:
        """Set what stands between the title and the list of contents."""
        self.opening = Markup(render(template, **values))

    def heading(self, text: str, level: Literal[2, 3] = 2) -> None:
        """Start a section, or a part of one; its anchor is made of its first words."""
        ids = {one.id for one in self._headings()}
        name = re.sub(r"[^a-z0-9]+", "-", text.split(":")[0].lower()).strip("-")
        count = next(n for n in range(1, len(ids) + 2) if _numbered(name, n) not in ids)
        self.blocks.append(
            Block("heading", Heading(text, level, _numbered(name, count)))
        )

    def paragraph(self, text: str) -> None:
        """Add a paragraph; words in back-ticks become code spans."""
        self.blocks.append(Block("paragraph", text))

    def bullets(self, texts: Iterable[str]) -> None:
        """Add a bullet list, of sentences as in a paragraph."""
        self.blocks.append(Block("bullets", list(texts)))

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add a table; all rows have the same keys, which become its header.

        A screen reader calls it by the heading that it stands under.
        """
        headings = [one.text for one in self._headings()]
        label = headings[-1] if headings else self.title
        table = Table(list(rows[0]), [[*row.values()] for row in rows], label)
        self.blocks.append(Block("table", table))

    def picture(self, path: Path, caption: str) -> None:
        """Add a figure above its caption, embedded in the page.

        It is the drawing beside the PNG, of its name in `.svg`, if there is one.
        """
        drawing = path.with_suffix(".svg")
        if drawing.is_file():
            svg = inline_svg(drawing, caption.replace("`", ""))
            self.blocks.append(Block("drawing", Drawing(svg, caption)))
            return
        png = b64encode(path.read_bytes()).decode("ascii")
        self.blocks.append(Block("picture", Picture(png, caption)))

    def fragment(self, template: str, **values: object) -> None:
        """Add a template's words and tables, which have no heading of their own."""
        self.blocks.append(Block("fragment", Markup(render(template, **values))))

    def write(self, path: Path) -> None:
        """Render the page and write it whole or not at all."""
        sections: list[tuple[Heading, list[Heading]]] = []
        for one in self._headings():
            if one.level == 2 or not sections:
                sections.append((one, []))
            else:
                sections[-1][1].append(one)
        page = render(
            REPORT,
            title=self.title,
            opening=self.opening,
            sections=sections,
            blocks=self.blocks,
        )
        write_text(page, path)

    def _headings(self) -> list[Heading]:
        held = (block.content for block in self.blocks)
        return [content for content in held if isinstance(content, Heading)]


def _numbered(name: str, count: int) -> str:
    return name if count == 1 else f"{name}-{count}"

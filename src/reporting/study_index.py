"""index.html: all studies, the most doubtful first."""

from dataclasses import dataclass
from pathlib import Path

from src.competition.constants import SEVERITIES
from src.files import write_text
from src.inference.findings import SOURCES
from src.localization.level_shift import LevelShift
from src.reporting.grade_cells import COLUMNS, SHORT, GradeCell, shared_reasons
from src.reporting.render import render

INDEX = "index.html"
TEMPLATE = "study_index.html.jinja"
DOUBTFUL_FROM = 0.1  # share of the grades expected to be wrong
REASON_LENGTH = 90


@dataclass(frozen=True)
class IndexRow:
    """A study in the list.

    doubt: how many of its 25 grades are expected to be wrong; grades: the index of the
    grade by level and column, None where it is the prior; sources: how many sites are
    located, projected and the prior; shift: the probability that all levels are off by
    one; reasons: the most frequent remark, and how many more there are; review: how
    many findings are marked for review.
    """

    study_id: int
    doubt: float
    grades: tuple[tuple[int | None, ...], ...]
    sources: dict[str, int]
    shift: float
    reasons: str
    review: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether many of its grades are expected to be wrong, or its levels are."""
        count = sum(map(len, self.grades))
        return self.doubt >= DOUBTFUL_FROM * count or self.shift >= DOUBTFUL_FROM

    @property
    def counts(self) -> list[int]:
        """How many graded sites have each of SEVERITIES."""
        flat = [grade for row in self.grades for grade in row]
        return [flat.count(grade) for grade in range(len(SEVERITIES))]


def index_row(
    study_id: int, cells: list[list[GradeCell]], shift: LevelShift
) -> IndexRow:
    """Summarize a study's cells."""
    flat = [cell for row in cells for cell in row]
    sources = [cell.source for cell in flat]
    return IndexRow(
        study_id,
        sum(1.0 if cell.is_prior else cell.wrong for cell in flat),
        tuple(
            tuple(None if cell.is_prior else cell.grade for cell in row)
            for row in cells
        ),
        {name: sources.count(name) for name in SOURCES},
        shift.probability,
        _shorten(list(shared_reasons(cells))),
    )


def _shorten(reasons: list[str]) -> str:
    if not reasons:
        return ""
    first = reasons[0]
    if len(first) > REASON_LENGTH:
        first = first[: REASON_LENGTH - 1].rstrip() + "…"
    return first if len(reasons) == 1 else f"{first} (+{len(reasons) - 1} more)"


def write_index(rows: list[IndexRow], folder: Path) -> Path:
    """Write the list, the most doubtful study first; return its path."""
    ranked = sorted(rows, key=lambda row: (-row.doubt, row.study_id))
    ids = [row.study_id for row in rows]
    pages = {number for number in ids if (folder / f"{number}.html").is_file()}
    columns = [SHORT[condition] for condition in COLUMNS]
    page = render(TEMPLATE, rows=ranked, pages=pages, columns=columns)
    path = folder / INDEX
    write_text(page, path)
    return path

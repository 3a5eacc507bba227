"""A finding in the words of a page: its grade, its doubt, and what it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from src.competition.constants import (
    FAMILY_OF,
    LEVELS,
    SERIES_OF,
    SEVERITIES,
    SPINAL,
    level_name,
)
from src.inference.findings import keeps_prior

# In a table's order: from the middle outwards, the left of the patient first.
COLUMNS = (
    SPINAL,
    *("left_neural_foraminal_narrowing", "right_neural_foraminal_narrowing"),
    *("left_subarticular_stenosis", "right_subarticular_stenosis"),
)
SHORT = dict(
    zip(
        COLUMNS,
        (
            "Spinal canal",
            "Left foramen",
            "Right foramen",
            "Left recess",
            "Right recess",
        ),
        strict=True,
    )
)
GRADES = ("Normal/mild", "Moderate", "Severe")
NOT_GRADED = "Not graded"


@dataclass(frozen=True)
class GradeCell:
    """A finding.

    grade: the index in SEVERITIES of the largest of the probabilities (3); wrong: the
    probability that it is wrong; is_prior: nothing was graded there; source: located,
    projected or prior; reasons: remarks, one each; views: the series types that the
    networks were shown; named: what the condition models see there, if anything.
    """

    level: str
    condition: str
    probabilities: tuple[float, ...]
    wrong: float
    source: str
    is_prior: bool
    reasons: tuple[str, ...]
    views: str
    named: str
    named_probability: float

    @property
    def key(self) -> str:
        """Its name on the page."""
        return f"{self.level}-{self.condition}"

    @property
    def grade(self) -> int:
        """The index of the grade in SEVERITIES."""
        return int(np.argmax(self.probabilities))

    @property
    def grade_name(self) -> str:
        """The grade in words; of the prior none, since nothing was looked at."""
        return NOT_GRADED if self.is_prior else GRADES[self.grade]

    @property
    def is_uniform(self) -> bool:
        """Whether no grade is likelier than another."""
        return bool(np.ptp(self.probabilities) < 1e-6)

    @property
    def level_name(self) -> str:
        """The level as it is written: L4/L5."""
        return level_name(self.level)

    @property
    def short(self) -> str:
        """The condition in a word or two."""
        return SHORT[self.condition]

    @property
    def condition_name(self) -> str:
        """The condition in words."""
        return in_words(self.condition).capitalize()

    @property
    def own_type(self) -> str:
        """The series type that it is usually read on."""
        return SERIES_OF[FAMILY_OF[self.condition]]

    @property
    def named_name(self) -> str:
        """What the condition models see there, in words; empty without one."""
        return in_words(self.named)


def in_words(name: str) -> str:
    """Write a condition or severity as words."""
    return name.replace("_", " ")


def grade_cells(findings: pd.DataFrame) -> list[list[GradeCell]]:
    """Return a study's cells: a row a level from head to foot, in order of COLUMNS."""
    rows = findings.assign(is_prior=keeps_prior(findings)).to_dict("records")
    cells = {(row["level"], row["condition"]): _cell(row) for row in rows}
    return [[cells[level, condition] for condition in COLUMNS] for level in LEVELS]


def _cell(row: Mapping[Any, Any]) -> GradeCell:
    named = _text(row["seen_condition"])
    return GradeCell(
        level=row["level"],
        condition=row["condition"],
        probabilities=tuple(float(row[name]) for name in SEVERITIES),
        wrong=float(row["wrong_probability"]),
        source=row["source"],
        is_prior=bool(row["is_prior"]),
        reasons=tuple(part for part in _text(row["reason"]).split("; ") if part),
        views=_text(row["views"]),
        named=named,
        named_probability=float(row["seen_probability"]) if named else 0.0,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def shared_reasons(cells: list[list[GradeCell]]) -> dict[str, str]:
    """Return each remark on the cells once, and in words which of them have it."""
    places: dict[str, list[GradeCell]] = {}
    for row in cells:
        for cell in row:
            for reason in cell.reasons:
                places.setdefault(reason, []).append(cell)
    return {reason: _places(own) for reason, own in places.items()}


def _places(cells: list[GradeCell]) -> str:
    """Name cells by condition: `Spinal canal (all levels), Left recess (L4/L5)`."""
    if len(cells) == len(LEVELS) * len(COLUMNS):
        return "All 25 sites"
    parts = []
    for condition in COLUMNS:
        levels = [cell.level_name for cell in cells if cell.condition == condition]
        if levels:
            which = "all levels" if len(levels) == len(LEVELS) else ", ".join(levels)
            parts.append(f"{SHORT[condition]} ({which})")
    return "; ".join(parts)

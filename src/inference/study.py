"""A test study: series folders and their types, without coordinates."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from src.competition.constants import SERIES_DESCRIPTIONS
from src.competition.tables import numbered_folders
from src.errors import UserError, shown_name, without_folder
from src.imaging.overview import Overview, joined, overview_of
from src.imaging.series import Series, read_series
from src.imaging.series_type import series_type
from src.localization.level_shift import NO_SHIFT, LevelShift


@dataclass(eq=False)
class Study:
    """The readable parts of a study.

    series: by id; overviews: by series type, all series of one type joined;
    read_errors: by series type, why it could not be read, or not completely; notes: by
    series type, what its series are called that they are not; level_shift: how likely
    all levels are off by one, once the sites were found.
    """

    study_id: int
    series: dict[int, Series] = field(default_factory=dict)
    overviews: dict[str, Overview] = field(default_factory=dict)
    read_errors: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    level_shift: LevelShift = NO_SHIFT


def read_study(folder: Path, listed: pd.DataFrame) -> Study:
    """Read every series of a study once.

    folder: of `<series_id>/<instance number>.dcm`; listed: the study's series_id and
    series_description; the latter may be missing, unknown or wrong (series_type.py). A
    series without a known description is read only for a type that no other series has.
    """
    reader = _StudyReader(folder)
    for series_id, description in _described(listed):
        reader.read(series_id, description)
    for series_id, words in _undescribed(folder, listed):
        if len(reader.parts) < len(SERIES_DESCRIPTIONS):
            reader.read(series_id, words, anew=True)
    return reader.study()


class _StudyReader:
    """Collects the overviews of a study's series, and what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.series: dict[int, Series] = {}
        self.parts: dict[str, list[Overview]] = {}
        self.errors: dict[str, list[str]] = {}
        self.notes: dict[str, list[str]] = {}
        self.unused: list[str] = []

    def read(self, series_id: int, words: str, anew: bool = False) -> None:
        """Read a series that its row describes in `words`.

        anew: leave it if a series of its type was read before.
        """
        description = "" if anew else words
        try:  # a broken series must not cost the others
            series = read_series(self.folder / str(series_id))
            found = series_type(series, words)
            if found.description is None:
                self.unused.append(f"series {series_id} {found.reason}")
                return
            description = found.description
            if anew and description in self.parts:
                return
            overview, rejected = overview_of(series, series_id, description)
        except Exception as error:
            known = self.errors.setdefault(description, []) if description else None
            (self.unused if known is None else known).append(
                self._reason(error, series_id)
            )
            return
        self.series[series_id] = series
        if len(overview):
            self.parts.setdefault(description, []).append(overview)
        if rejected:
            reasons = self.errors.setdefault(description, [])
            reasons.append(_describe_rejects(series_id, rejected))
        if found.reason:
            note = f"series {series_id} {found.reason}"
            self.notes.setdefault(description, []).append(note)

    def study(self) -> Study:
        """Put the study together; each type without a series gets its reason."""
        errors = {name: "; ".join(reasons) for name, reasons in self.errors.items()}
        for name in SERIES_DESCRIPTIONS:
            if name not in self.parts:
                reasons = [f"the study has no {name} series", *self.unused]
                errors.setdefault(name, "; ".join(reasons))
        return Study(
            int(self.folder.name),
            self.series,
            {name: joined(views) for name, views in self.parts.items()},
            errors,
            {name: "; ".join(notes) for name, notes in self.notes.items()},
        )

    def _reason(self, error: Exception, series_id: int) -> str:
        reason = without_folder(str(error), self.folder).rstrip(".")
        if isinstance(error, UserError):
            return reason
        return f"series {series_id}: {type(error).__name__}: {reason}"


def _described(listed: pd.DataFrame) -> list[tuple[int, str]]:
    """List the series that a row describes as one of the known types."""
    known = listed[listed["series_description"].isin(SERIES_DESCRIPTIONS)]
    columns = (known["series_id"].astype(int), known["series_description"])
    return list(zip(*columns, strict=True))


def _undescribed(folder: Path, listed: pd.DataFrame) -> list[tuple[int, str]]:
    """List the other series and their rows' words: of rows first, then of no row."""
    others = listed[~listed["series_description"].isin(SERIES_DESCRIPTIONS)]
    words = others["series_description"].fillna("").astype(str)
    of_rows = list(zip(others["series_id"].astype(int), words, strict=True))
    found = sorted(numbered_folders(folder))
    listed_ids = set(listed["series_id"].astype(int))
    return [*of_rows, *((number, "") for number in found if number not in listed_ids)]


def _describe_rejects(series_id: int, rejected: dict[str, str]) -> str:
    """Describe a series' skipped files; an unusual file name could name a person."""
    name, reason = next(iter(rejected.items()))
    name = shown_name(name)
    more = f" and {len(rejected) - 1} more" if len(rejected) > 1 else ""
    return f"series {series_id}, {name}{more}: {reason}"

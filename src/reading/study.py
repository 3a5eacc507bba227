"""A study as the hidden test gives it: series folders with a type each, no points."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.vocab import AXIAL_T2, SERIES_DESCRIPTIONS
from src.errors import InputError
from src.imaging.overview import Overview, joined, overview_of
from src.imaging.series import Series, read_series

FEET = 2  # the patient's third axis, which axial slices are stacked along


@dataclass(eq=False)
class Study:
    """What could be read of a study.

    series: by id; overviews: by series type, all series of one type together; troubles:
    by series type, why it cannot be looked at, or not all of it.
    """

    study_id: int
    series: dict[int, Series] = field(default_factory=dict)
    overviews: dict[str, Overview] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)


def read_study(folder: Path, listed: pd.DataFrame) -> Study:
    """Read every series of a study once.

    folder: of `<series_id>/<instance number>.dcm`; listed: the study's series_id and
    series_description, the latter missing where it is not known.
    """
    study = Study(int(folder.name))
    parts: dict[str, list[Overview]] = {}
    told: dict[str, list[str]] = {}
    for series_id, description in _series(folder, listed):
        try:
            series = read_series(folder / str(series_id))
            description = description or _guessed(series)
            if description is None:
                continue
            overview, rejected = overview_of(series, series_id, description)
        except InputError as error:
            reason = _without_path(str(error), folder)
            told.setdefault(description or "", []).append(reason)
            continue
        study.series[series_id] = series
        if len(overview):
            parts.setdefault(description, []).append(overview)
        if rejected:
            name, reason = next(iter(rejected.items()))
            count = f" and {len(rejected) - 1} more files" if len(rejected) > 1 else ""
            told.setdefault(description, []).append(f"{name}{count}: {reason}")
    study.overviews = {name: joined(some) for name, some in parts.items()}
    study.troubles = {name: "; ".join(reasons) for name, reasons in told.items()}
    for name in SERIES_DESCRIPTIONS:
        if name not in study.overviews:
            study.troubles.setdefault(name, f"the study has no {name} series")
    return study


def _series(folder: Path, listed: pd.DataFrame) -> list[tuple[int, str | None]]:
    """List the study's series: those of the table, then folders it does not name."""
    described = listed["series_description"].astype(object)
    known = dict(
        zip(
            listed["series_id"].astype(int),
            described.where(described.notna(), None),
            strict=True,
        )
    )
    entries = folder.iterdir() if folder.is_dir() else ()
    names = sorted(int(e.name) for e in entries if e.is_dir() and e.name.isdecimal())
    return [*known.items(), *((name, None) for name in names if name not in known)]


def _guessed(series: Series) -> str | None:
    """Name a series that no table names: axial by its planes, or not at all.

    T1 and T2 look alike to geometry, and a wrong contrast is worse than none.
    """
    normals = np.array([header.geometry.normal for header in series.headers])
    along = np.abs(normals).mean(axis=0).argmax()
    return AXIAL_T2 if along == FEET else None


def _without_path(sentence: str, folder: Path) -> str:
    return sentence.replace(f"{folder}/", "series ").rstrip(".")

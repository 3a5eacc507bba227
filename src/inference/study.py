"""A study as the hidden test gives it: series folders with a type each, no points."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import AXIAL_T2, SERIES_DESCRIPTIONS
from src.errors import UserError, without_folder
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
    read_errors: dict[str, str] = field(default_factory=dict)


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
        except Exception as error:  # whatever it is: the others may be sound
            reason = without_folder(str(error), folder).rstrip(".")
            if not isinstance(error, UserError):
                reason = f"series {series_id}: {type(error).__name__}: {reason}"
            told.setdefault(description or "", []).append(reason)
            continue
        study.series[series_id] = series
        if len(overview):
            parts.setdefault(description, []).append(overview)
        if rejected:
            reasons = told.setdefault(description, [])
            reasons.append(_rejections(series_id, rejected))
    study.overviews = {name: joined(some) for name, some in parts.items()}
    study.read_errors = {name: "; ".join(reasons) for name, reasons in told.items()}
    for name in SERIES_DESCRIPTIONS:
        if name not in study.overviews:
            study.read_errors.setdefault(name, f"the study has no {name} series")
    return study


def _series(folder: Path, listed: pd.DataFrame) -> list[tuple[int, str | None]]:
    """List the study's series of a known type.

    Also those that no row names, for their planes to tell, if no row names an axial
    series; never one that a row calls something else.
    """
    named = listed.dropna(subset="series_description")
    known = list(
        zip(named["series_id"].astype(int), named["series_description"], strict=True)
    )
    if (named["series_description"] == AXIAL_T2).any() or not folder.is_dir():
        return known
    names = sorted(int(e.name) for e in folder.iterdir() if _numbered_folder(e))
    listed_ids = set(listed["series_id"].astype(int))
    return [*known, *((name, None) for name in names if name not in listed_ids)]


def _numbered_folder(entry: Path) -> bool:
    return entry.is_dir() and entry.name.isdecimal()


def _guessed(series: Series) -> str | None:
    """Name a series that no table names: axial by its planes, or not at all.

    T1 and T2 look alike to geometry, and a wrong contrast is worse than none.
    """
    normals = np.array([header.geometry.normal for header in series.headers])
    along = np.abs(normals).mean(axis=0).argmax()
    return AXIAL_T2 if along == FEET else None


def _rejections(series_id: int, rejected: dict[str, str]) -> str:
    """Say what of a series is left out; a file's own name could name a person."""
    name, reason = next(iter(rejected.items()))
    name = name if re.fullmatch(r"[0-9]+\.dcm", name) else "a file"
    more = f" and {len(rejected) - 1} more" if len(rejected) > 1 else ""
    return f"series {series_id}, {name}{more}: {reason}"

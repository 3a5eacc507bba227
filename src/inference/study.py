"""A test study: series folders and their types, without coordinates."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import AXIAL_T2, SERIES_DESCRIPTIONS
from src.errors import UserError, without_folder
from src.imaging.overview import Overview, joined, overview_of
from src.imaging.series import Series, read_series

CRANIOCAUDAL = 2  # the patient axis that axial slices are stacked along


@dataclass(eq=False)
class Study:
    """The readable parts of a study.

    series: by id; overviews: by series type, all series of one type joined;
    read_errors: by series type, why it could not be read, or not completely.
    """

    study_id: int
    series: dict[int, Series] = field(default_factory=dict)
    overviews: dict[str, Overview] = field(default_factory=dict)
    read_errors: dict[str, str] = field(default_factory=dict)


def read_study(folder: Path, listed: pd.DataFrame) -> Study:
    """Read every series of a study once.

    folder: of `<series_id>/<instance number>.dcm`; listed: the study's series_id and
    series_description, the latter missing where it is unknown.
    """
    study = Study(int(folder.name))
    parts: dict[str, list[Overview]] = {}
    errors: dict[str, list[str]] = {}
    for series_id, description in _series(folder, listed):
        try:
            series = read_series(folder / str(series_id))
            description = description or _guess_type(series)
            if description is None:
                continue
            overview, rejected = overview_of(series, series_id, description)
        except Exception as error:  # a broken series must not cost the others
            reason = without_folder(str(error), folder).rstrip(".")
            if not isinstance(error, UserError):
                reason = f"series {series_id}: {type(error).__name__}: {reason}"
            errors.setdefault(description or "", []).append(reason)
            continue
        study.series[series_id] = series
        if len(overview):
            parts.setdefault(description, []).append(overview)
        if rejected:
            reasons = errors.setdefault(description, [])
            reasons.append(_describe_rejects(series_id, rejected))
    study.overviews = {name: joined(views) for name, views in parts.items()}
    study.read_errors = {name: "; ".join(reasons) for name, reasons in errors.items()}
    for name in SERIES_DESCRIPTIONS:
        if name not in study.overviews:
            study.read_errors.setdefault(name, f"the study has no {name} series")
    return study


def _series(folder: Path, listed: pd.DataFrame) -> list[tuple[int, str | None]]:
    """List the study's series and their types; None for a type to be guessed.

    Folders that no row lists are added only if no row lists an axial series; a series
    that a row lists without a type never is.
    """
    named = listed.dropna(subset="series_description")
    known = list(
        zip(named["series_id"].astype(int), named["series_description"], strict=True)
    )
    if (named["series_description"] == AXIAL_T2).any() or not folder.is_dir():
        return known
    found = sorted(int(e.name) for e in folder.iterdir() if _is_numbered_folder(e))
    listed_ids = set(listed["series_id"].astype(int))
    return [*known, *((number, None) for number in found if number not in listed_ids)]


def _is_numbered_folder(entry: Path) -> bool:
    return entry.is_dir() and entry.name.isdecimal()


def _guess_type(series: Series) -> str | None:
    """Guess the type of an unlisted series: axial T2 by its planes, or None.

    Geometry cannot separate T1 from T2, and a wrong contrast is worse than none.
    """
    normals = np.array([header.geometry.normal for header in series.headers])
    along = np.abs(normals).mean(axis=0).argmax()
    return AXIAL_T2 if along == CRANIOCAUDAL else None


def _describe_rejects(series_id: int, rejected: dict[str, str]) -> str:
    """Describe a series' skipped files; an unusual file name could name a person."""
    name, reason = next(iter(rejected.items()))
    name = name if re.fullmatch(r"[0-9]+\.dcm", name) else "a file"
    more = f" and {len(rejected) - 1} more" if len(rejected) > 1 else ""
    return f"series {series_id}, {name}{more}: {reason}"

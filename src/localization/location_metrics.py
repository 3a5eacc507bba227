"""Errors of located sites against the marked ones."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, FAMILY_OF, LEVELS, SERIES_DESCRIPTIONS
from src.competition.csv_schema import (
    ColumnParser,
    any_text,
    category,
    number,
    optional_number,
    read_csv,
    whole_number,
)
from src.errors import UserError
from src.imaging.overview import Overview
from src.localization.locate import LocatedSite, Sites
from src.localization.spine_prior import POINT_MM
from src.metrics_schema import LocationEntry, LocationMetrics, LocationShares
from src.training.config import SiteErrorRow
from src.training.mirror import is_axial


@dataclass(frozen=True, kw_only=True)
class ComparedSite:
    """A marked site, and where it was located: a row of a location run's predictions.

    true_*: the marked file and pixel; what a missed site lacks is None. error_mm:
    within the marked slice's plane; slices_off: counted within its stack, None if the
    site is in another; level_right, side_right: whether the nearest marked site of its
    family has the target's level, or lies on its side; both false for a missed site.
    """

    study_id: int
    condition: str
    level: str
    series_description: str
    series_id: int | None = None
    instance_number: int | None = None
    x: float | None = None
    y: float | None = None
    confidence: float | None = None
    source: Literal["located", "projected"] | None = None
    true_series_id: int
    true_instance_number: int
    true_x: float
    true_y: float
    error_mm: float | None = None
    slices_off: int | None = None
    level_right: bool = False
    side_right: bool = False


COMPARED_COLUMNS = tuple(field.name for field in fields(ComparedSite))


def compare_sites(
    sites: Sites, marked: pd.DataFrame, overviews: dict[str, Overview]
) -> pd.DataFrame:
    """Compare a study's located sites with its marked ones: rows of COMPARED_COLUMNS.

    marked: the study's rows of the crop table; overviews: by series type.
    """
    rows = []
    for truth in _marked_sites(marked):
        row = _missed(truth)
        found = sites.get((truth.condition, truth.level))
        if found is not None:
            row = _with_errors(row, found, truth, overviews[truth.series_description])
            row = _with_confusions(row, found, marked)
        rows.append(row)
    # Without its None, which would make a column of missed sites one of objects.
    known = [{k: v for k, v in vars(row).items() if v is not None} for row in rows]
    return pd.DataFrame(known).reindex(columns=list(COMPARED_COLUMNS))


def compared_sites(table: pd.DataFrame) -> list[ComparedSite]:
    """Read rows of COMPARED_COLUMNS back."""
    columns = table[list(COMPARED_COLUMNS)].convert_dtypes()  # ids back to integers
    named = (
        zip(COMPARED_COLUMNS, row, strict=True)
        for row in columns.itertuples(index=False, name=None)
    )
    return [
        ComparedSite(**{name: value for name, value in row if pd.notna(value)})
        for row in named
    ]


@dataclass(frozen=True)
class _MarkedSite:
    """A row of the crop table."""

    study_id: int
    condition: str
    level: str
    series_description: str
    series_id: int
    instance_number: int
    x: float
    y: float
    x_mm: float
    y_mm: float
    z_mm: float

    @property
    def point_mm(self) -> np.ndarray:
        """The patient point [3]."""
        return np.array([self.x_mm, self.y_mm, self.z_mm])


def _marked_sites(marked: pd.DataFrame) -> list[_MarkedSite]:
    columns = marked[[field.name for field in fields(_MarkedSite)]]
    return [_MarkedSite(*row) for row in columns.itertuples(index=False, name=None)]


def _missed(truth: _MarkedSite) -> ComparedSite:
    return ComparedSite(
        study_id=truth.study_id,
        condition=truth.condition,
        level=truth.level,
        series_description=truth.series_description,
        true_series_id=truth.series_id,
        true_instance_number=truth.instance_number,
        true_x=truth.x,
        true_y=truth.y,
    )


def _with_errors(
    row: ComparedSite, found: LocatedSite, truth: _MarkedSite, overview: Overview
) -> ComparedSite:
    here = overview.index_of(truth.series_id, truth.instance_number)
    assert here is not None, "a marked site lies on its overview"
    there = overview.index_of(found.series_id, found.instance_number)
    plane = overview.planes[here]
    across = plane.to_pixel(found.point_mm) - plane.to_pixel(truth.point_mm)
    same = there is not None and overview.stacks[here] == overview.stacks[there]
    positions = overview.slices["place"].to_numpy()
    return replace(
        row,
        series_id=found.series_id,
        instance_number=found.instance_number,
        x=found.x,
        y=found.y,
        confidence=found.confidence,
        source=found.source,
        error_mm=float(np.linalg.norm(across) * overview.pitch_mm),
        slices_off=int(abs(positions[here] - positions[there])) if same else None,
    )


def _with_confusions(
    row: ComparedSite, found: LocatedSite, marked: pd.DataFrame
) -> ComparedSite:
    family = marked["condition"].map(FAMILY_OF) == FAMILY_OF[row.condition]
    others = marked[family]
    distance_mm = np.linalg.norm(others[POINT_MM].to_numpy() - found.point_mm, axis=1)
    nearest = others.iloc[int(distance_mm.argmin())]
    return replace(
        row,
        level_right=nearest["level"] == row.level,
        side_right=nearest["condition"] == row.condition,
    )


NEAR_MM = 5.0
ERROR_LEVELS = np.linspace(0.0, 1.0, 11)  # of the quantiles of `site_errors`
_PARSERS: dict[str, ColumnParser] = {
    "study_id": whole_number,
    "condition": category(CONDITIONS),
    "level": category(LEVELS),
    "series_description": category(SERIES_DESCRIPTIONS),
    "source": any_text,
    "true_series_id": whole_number,
    "true_instance_number": whole_number,
    "true_x": number,
    "true_y": number,
    "level_right": category(["true", "false"], blank=True),
    "side_right": category(["true", "false"], blank=True),
}
LOCATION_COLUMNS = {
    name: _PARSERS.get(name, optional_number) for name in COMPARED_COLUMNS
}


def read_locations(path: Path, tested: set[int]) -> pd.DataFrame:
    """Read a location run's predictions.csv: COMPARED_COLUMNS, a row a marked site.

    tested: the test studies of its fold. Raises UserError if it has others.
    """
    key = ["study_id", "condition", "level", "true_series_id"]
    try:
        table = read_csv(path, LOCATION_COLUMNS)
    except UserError as error:
        raise UserError(f"Run {path.parent.name} is damaged: {error}") from error
    if not set(table["study_id"]) <= tested:
        raise UserError(
            f"Run {path.parent.name} tests other studies than its fold in this "
            "cache's folds.csv: name the cache it was trained on, or train it again"
        )
    for name in ("level_right", "side_right"):
        table[name] = table[name] == "true"
    return table.drop_duplicates(key)


def location_metrics(table: pd.DataFrame) -> LocationMetrics:
    """Aggregate located sites by series type: metrics.json's entry `location`.

    table: COMPARED_COLUMNS, and `run`, the run that located them. studies_level_right:
    the share of each run's studies with every level right. Errors in mm are in the
    marked slice's plane, over the located sites; shares are of all marked sites, so
    that a missed one counts against them.
    """
    return {
        description: _summary(table[table["series_description"] == description])
        for description in SERIES_DESCRIPTIONS
        if (table["series_description"] == description).any()
    }


def site_errors(table: pd.DataFrame) -> list[SiteErrorRow]:
    """Measure how far located sites are off in each plane, to jitter crops likewise.

    table: COMPARED_COLUMNS. Only sites of the right level and side count: a crop of
    another disc shows another grade, which its label would not be of.
    """
    right = table[table["level_right"] & table["side_right"]]
    right = right.dropna(subset=["error_mm", "slices_off"])
    axial = is_axial(right)
    return [
        {
            "axial": plane,
            "error_mm": errors["error_mm"].quantile(ERROR_LEVELS).round(3).tolist(),
            "slices_off": (np.bincount(errors["slices_off"]) / len(errors)).tolist(),
        }
        for plane in (False, True)
        if len(errors := right[axial == plane].astype({"slices_off": int}))
    ]


def _summary(table: pd.DataFrame) -> LocationEntry:
    errors = table["error_mm"]
    median, p95 = errors.quantile([0.5, 0.95])
    return {
        "median_mm": float(median) if errors.notna().any() else None,
        "p95_mm": float(p95) if errors.notna().any() else None,
        **_shares(table),
        "sites": len(table),
        "studies": int(table["study_id"].nunique()),
    }


def _shares(table: pd.DataFrame) -> LocationShares:
    errors = table["error_mm"]
    whole = table.groupby(["run", "study_id"])["level_right"].all()
    return {
        "within_5mm": float((errors <= NEAR_MM).mean()),
        "slice_exact": float((table["slices_off"] == 0).mean()),
        "slice_within_one": float((table["slices_off"] <= 1).mean()),
        "level_right": float(table["level_right"].mean()),
        "side_right": float(table["side_right"].mean()),
        "missed": float(errors.isna().mean()),
        "projected": float((table["source"] == "projected").mean()),
        "studies_level_right": float(whole.mean()),
    }

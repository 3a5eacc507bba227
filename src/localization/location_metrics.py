"""Errors of located sites against the marked ones."""

from pathlib import Path
from typing import Any

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

TRUE = {name: f"true_{name}" for name in ("series_id", "instance_number", "x", "y")}
COMPARED_COLUMNS = (
    *("study_id", "condition", "level", "series_description", "series_id"),
    *("instance_number", "x", "y", "confidence", "source", *TRUE.values()),
    *("error_mm", "slices_off", "level_right", "side_right"),
)


def compare_sites(
    sites: Sites, marked: pd.DataFrame, overviews: dict[str, Overview]
) -> pd.DataFrame:
    """Compare a study's located sites with its marked ones: rows of COMPARED_COLUMNS.

    marked: the study's rows of the crop table; overviews: by series type. A missed site
    has no position. error_mm: within the marked slice's plane; slices_off: counted
    within its stack, missing if the site is in another; level_right, side_right:
    whether the nearest marked site of its family has the target's level, or lies on its
    side; both false for a missed site.
    """
    rows = []
    truth: Any  # pandas types a named tuple's fields as anything a cell may hold
    for truth in marked.itertuples():
        row: dict[str, Any] = {
            **{name: getattr(truth, name) for name in COMPARED_COLUMNS[:4]},
            **{new: getattr(truth, name) for name, new in TRUE.items()},
            **{"level_right": False, "side_right": False},  # of a missed site
        }
        found = sites.get((truth.condition, truth.level))
        overview = overviews[truth.series_description]
        if found is not None:
            row |= {name: getattr(found, name) for name in COMPARED_COLUMNS[4:10]}
            row |= _errors(found, truth, overview)
            row |= _confusions(found, truth, marked)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(COMPARED_COLUMNS))


def _errors(found: LocatedSite, truth: Any, overview: Overview) -> dict[str, Any]:
    here = overview.index_of(truth.series_id, truth.instance_number)
    assert here is not None, "a marked site lies on its overview"
    there = overview.index_of(found.series_id, found.instance_number)
    plane = overview.planes[here]
    point_mm = np.array([truth.x_mm, truth.y_mm, truth.z_mm])
    across = plane.to_pixel(found.point_mm) - plane.to_pixel(point_mm)
    same = there is not None and overview.stacks[here] == overview.stacks[there]
    positions = overview.slices["place"].to_numpy()
    return {
        "error_mm": float(np.linalg.norm(across) * overview.pitch_mm),
        "slices_off": int(abs(positions[here] - positions[there])) if same else None,
    }


def _confusions(
    found: LocatedSite, truth: Any, marked: pd.DataFrame
) -> dict[str, bool]:
    family = marked["condition"].map(FAMILY_OF) == FAMILY_OF[truth.condition]
    others = marked[family]
    distance_mm = np.linalg.norm(others[POINT_MM].to_numpy() - found.point_mm, axis=1)
    nearest = others.iloc[int(distance_mm.argmin())]
    return {
        "level_right": nearest["level"] == truth.level,
        "side_right": nearest["condition"] == truth.condition,
    }


NEAR_MM = 5.0
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


def location_metrics(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
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


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    errors = table["error_mm"]
    median, p95 = errors.quantile([0.5, 0.95])
    shares = {
        "within_5mm": errors <= NEAR_MM,
        "slice_exact": table["slices_off"] == 0,
        "slice_within_one": table["slices_off"] <= 1,
        "level_right": table["level_right"],
        "side_right": table["side_right"],
        "missed": errors.isna(),
        "projected": table["source"] == "projected",
    }
    whole = table.groupby(["run", "study_id"])["level_right"].all()
    return {
        "median_mm": float(median) if errors.notna().any() else None,
        "p95_mm": float(p95) if errors.notna().any() else None,
        **{name: float(hits.mean()) for name, hits in shares.items()},
        "studies_level_right": float(whole.mean()),
        "sites": len(table),
        "studies": int(table["study_id"].nunique()),
    }

"""Marked points that contradict the patient's geometry: told, never dropped.

The patient's left is where x is larger, and levels follow each other to the feet. The
competition's own points break this in a few series; a cohort that breaks it throughout
has its sides or its levels exchanged.
"""

import pandas as pd

from src.competition.constants import FAMILY_OF, LEVELS, SIDES

CHECK_COLUMNS = (
    *("study_id", "series_id", "instance_number", "condition", "level", "reason"),
)
WRONG_SIDE = "left and right of this level lie the wrong way round"
ONE_SLICE = "left and right foramen are marked on one sagittal slice"
WRONG_ORDER = "lies above the next higher level"
MOSTLY = 0.5  # a share of pairs beyond which the cohort is to blame, not a reader


def inconsistent_points(crops: pd.DataFrame) -> pd.DataFrame:
    """List the points of a crop table that cannot all be right: CHECK_COLUMNS."""
    pairs = _pairs(crops)
    wrong = pairs[pairs["x_mm_left"] <= pairs["x_mm_right"]]
    same = (pairs["instance_number_left"] == pairs["instance_number_right"]) & (
        pairs["series_id_left"] == pairs["series_id_right"]
    )
    flat = pairs[same & (pairs["family"] == "foraminal")]
    parts = [
        _both_of(crops, wrong, WRONG_SIDE),
        _both_of(crops, flat, ONE_SLICE),
        _out_of_order(crops),
    ]
    table = pd.concat(parts)[list(CHECK_COLUMNS)]
    return table.sort_values(list(CHECK_COLUMNS), ignore_index=True)


def share_of_swapped_sides(crops: pd.DataFrame) -> float:
    """Return the share of pairs whose left lies to the right; 0 without a pair."""
    pairs = _pairs(crops)
    wrong = pairs["x_mm_left"] <= pairs["x_mm_right"]
    return float(wrong.mean()) if len(pairs) else 0.0


def _pairs(crops: pd.DataFrame) -> pd.DataFrame:
    """Put the left and right point of each family and level side by side."""
    families = crops["condition"].map(FAMILY_OF)
    left, right = (
        crops.assign(family=families)[crops["condition"].str.startswith(side)]
        for side in SIDES
    )
    keys = ["study_id", "family", "level"]
    return left.merge(right, on=keys, suffixes=("_left", "_right"))


def _both_of(crops: pd.DataFrame, pairs: pd.DataFrame, reason: str) -> pd.DataFrame:
    rows = [*pairs["crop_left"], *pairs["crop_right"]]
    return crops[crops["crop"].isin(rows)].assign(reason=reason)


def _out_of_order(crops: pd.DataFrame) -> pd.DataFrame:
    """Take the points that lie above the next higher level of their condition."""
    place = crops["level"].map(LEVELS.index)
    series = ["study_id", "series_id", "condition"]
    ordered = crops.assign(place=place).sort_values([*series, "place"])
    before = ordered.groupby(series)[["z_mm", "place"]].shift()
    wrong = (ordered["z_mm"] >= before["z_mm"]) & (ordered["place"] > before["place"])
    return ordered[wrong].assign(reason=WRONG_ORDER)

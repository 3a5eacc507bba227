"""Marked points that contradict the patient's geometry: listed, never dropped.

The patient's left is where x is larger, and levels follow each other to the feet. The
competition's own points break this in a few series; a cohort that breaks it throughout
has its sides or its levels swapped. A series without usable positions is listed itself,
once: nothing can be held against its points.
"""

import pandas as pd

from src.competition.constants import FAMILY_OF, LEVELS, SIDES
from src.imaging.series import FILE_ORDER

CHECK_COLUMNS = (
    *("study_id", "series_id", "instance_number", "condition", "level", "reason"),
)
CONTRADICTION_TYPES = {
    **{"reason": "str", "crop": "int64", "against": "Int64", "by_mm": "float64"},
}
CONTRADICTION_COLUMNS = list(CONTRADICTION_TYPES)
POINT = ["x_mm", "y_mm", "z_mm"]
SWAPPED_SIDES = "left and right of this level are swapped"
SAME_X = "left and right of this level are marked at the same x"
ONE_SLICE = "left and right foramen are marked on one sagittal slice"
WRONG_ORDER = "lies above the next higher level"
DOUBLED = "this condition and level are marked more than once"
ONE_POSITION = (
    "the series has one position for its slices: they are in file order, and its "
    "points are not checked"
)
MOSTLY = 0.5  # above this share of swapped pairs the cohort is wrong, not an annotator


def suspects(crops: pd.DataFrame) -> pd.DataFrame:
    """List all that is odd about a crop table's points: CHECK_COLUMNS.

    A series that lacks positions has no instance, condition and level.
    """
    tables = (inconsistent_points, doubled_points, series_without_positions)
    parts = [list_suspects(crops) for list_suspects in tables]
    found = pd.concat(parts).astype({"instance_number": "Int64"})
    return found.sort_values(list(CHECK_COLUMNS), ignore_index=True)


def inconsistent_points(crops: pd.DataFrame) -> pd.DataFrame:
    """List the points of a crop table that cannot all be right: CHECK_COLUMNS."""
    placed = _placed(crops)
    parts = [
        *(_both_of(placed, *found) for found in _inconsistent_pairs(placed)),
        _out_of_order(placed).assign(reason=WRONG_ORDER),
    ]
    table = pd.concat(parts)[list(CHECK_COLUMNS)]
    return table.sort_values(list(CHECK_COLUMNS), ignore_index=True)


def doubled_points(crops: pd.DataFrame) -> pd.DataFrame:
    """List the points of a condition and level with several points: CHECK_COLUMNS."""
    doubled = crops[crops.duplicated(["study_id", "condition", "level"], keep=False)]
    return doubled.assign(reason=DOUBLED)[list(CHECK_COLUMNS)]


def series_without_positions(crops: pd.DataFrame) -> pd.DataFrame:
    """List the series whose slices all have one position: CHECK_COLUMNS."""
    unplaced = crops.loc[lacks_positions(crops), ["study_id", "series_id"]]
    table = unplaced.drop_duplicates().assign(reason=ONE_POSITION)
    return table.reindex(columns=list(CHECK_COLUMNS))


def contradictions(crops: pd.DataFrame) -> pd.DataFrame:
    """List what contradicts what in a crop table: CONTRADICTION_COLUMNS.

    A row is a suspect point, that with which it cannot be right, and by how many
    millimetres: a swapped pair's distance in x, a level's height above the next higher
    one, two points' distance. A series without positions is a row of its first crop.
    """
    placed = _placed(crops)
    parts = [
        pairs.rename(columns={"crop_left": "crop", "crop_right": "against"}).assign(
            reason=reason, by_mm=pairs["x_mm_right"] - pairs["x_mm_left"]
        )
        for pairs, reason in _inconsistent_pairs(placed)
    ]
    lower = _out_of_order(placed)
    by_mm = lower["z_mm"] - lower["z_mm_before"]
    against = lower["crop_before"]
    parts.append(lower.assign(reason=WRONG_ORDER, against=against, by_mm=by_mm))
    parts.append(_repeats(crops).assign(reason=DOUBLED))
    unplaced = crops[lacks_positions(crops)].drop_duplicates(["study_id", "series_id"])
    parts.append(unplaced.assign(reason=ONE_POSITION))
    table = pd.concat([part.reindex(columns=CONTRADICTION_COLUMNS) for part in parts])
    return table.astype(CONTRADICTION_TYPES).reset_index(drop=True)


def share_of_swapped_sides(crops: pd.DataFrame) -> float:
    """Return the share of pairs whose left lies to the right; 0 without a pair.

    A pair at the same x is a tie, as in a series of one sagittal slice: it is evidence
    neither for nor against a swap, so it is not counted.
    """
    pairs = _pairs(_placed(crops))
    untied = pairs[~_is_tie(pairs)]
    return float(_is_swapped(untied).mean()) if len(untied) else 0.0


def lacks_positions(crops: pd.DataFrame) -> pd.Series:
    """Mark the crops whose note says that their slices have no usable positions."""
    return crops["note"].str.contains(FILE_ORDER, regex=False)


def _placed(crops: pd.DataFrame) -> pd.DataFrame:
    """Select the points whose positions in the patient are known."""
    return crops[~lacks_positions(crops)]


def _pairs(crops: pd.DataFrame) -> pd.DataFrame:
    """Put the left and right point of each family and level side by side."""
    families = crops["condition"].map(FAMILY_OF)
    left, right = (
        crops.assign(family=families)[crops["condition"].str.startswith(side)]
        for side in SIDES
    )
    keys = ["study_id", "family", "level"]
    return left.merge(right, on=keys, suffixes=("_left", "_right"))


def _inconsistent_pairs(placed: pd.DataFrame) -> list[tuple[pd.DataFrame, str]]:
    """List the pairs that cannot be right, as _pairs has them, by reason."""
    pairs = _pairs(placed)
    one_slice = _is_foramina_of_one_slice(pairs)
    tie = _is_tie(pairs) & ~one_slice
    return [
        (pairs[_is_swapped(pairs)], SWAPPED_SIDES),
        (pairs[tie], SAME_X),
        (pairs[one_slice], ONE_SLICE),
    ]


def _is_swapped(pairs: pd.DataFrame) -> pd.Series:
    return pairs["x_mm_left"] < pairs["x_mm_right"]


def _is_tie(pairs: pd.DataFrame) -> pd.Series:
    return pairs["x_mm_left"] == pairs["x_mm_right"]


def _is_foramina_of_one_slice(pairs: pd.DataFrame) -> pd.Series:
    same = (pairs["instance_number_left"] == pairs["instance_number_right"]) & (
        pairs["series_id_left"] == pairs["series_id_right"]
    )
    return same & (pairs["family"] == "foraminal")


def _both_of(crops: pd.DataFrame, pairs: pd.DataFrame, reason: str) -> pd.DataFrame:
    rows = [*pairs["crop_left"], *pairs["crop_right"]]
    return crops[crops["crop"].isin(rows)].assign(reason=reason)


def _out_of_order(crops: pd.DataFrame) -> pd.DataFrame:
    """List the points that lie above the next higher level of their condition.

    `crop_before` and `z_mm_before` are the higher level's.
    """
    rank = crops["level"].map(LEVELS.index)
    series = ["study_id", "series_id", "condition"]
    ordered = crops.assign(rank=rank).sort_values([*series, "rank"])
    before = ordered.groupby(series)[["z_mm", "rank", "crop"]].shift()
    wrong = (ordered["z_mm"] >= before["z_mm"]) & (ordered["rank"] > before["rank"])
    return ordered.assign(crop_before=before["crop"], z_mm_before=before["z_mm"])[wrong]


def _repeats(crops: pd.DataFrame) -> pd.DataFrame:
    """List each further point of a condition and level, against the first."""
    site = ["study_id", "condition", "level"]
    first = crops.groupby(site)[["crop", *POINT]].transform("first")
    further = crops.duplicated(site)
    apart = crops[POINT] - first[POINT]
    distance = (apart**2).sum(axis=1) ** 0.5
    return crops.assign(against=first["crop"], by_mm=distance)[further]

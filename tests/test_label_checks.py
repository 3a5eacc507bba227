"""Points that contradict geometry, on a cohort that has none of them at first."""

import pandas as pd
import pytest
from fake_condition_runs import sites

from src.cache.label_checks import (
    CHECK_COLUMNS,
    DOUBLED,
    ONE_POSITION,
    ONE_SLICE,
    SAME_X,
    SWAPPED_SIDES,
    WRONG_ORDER,
    inconsistent_points,
    share_of_swapped_sides,
    suspects,
)
from src.competition.constants import swap_side


def cohort() -> pd.DataFrame:
    """Studies whose left is left and whose l4/l5 lies below l3/l4."""
    table = sites(3)
    low = (table["level"] == "l4_l5").astype(float)
    return table.assign(z_mm=-30 * low, instance_number=table["slice"] + 1)


def test_a_consistent_cohort_has_no_inconsistent_points() -> None:
    assert inconsistent_points(cohort()).empty
    assert share_of_swapped_sides(cohort()) == 0


def test_a_swapped_pair_is_listed() -> None:
    table = cohort()
    here = (table["study_id"] == 2) & (table["level"] == "l3_l4")
    here &= table["series_description"] == "Axial T2"
    table.loc[here, "condition"] = table.loc[here, "condition"].map(swap_side)
    found = inconsistent_points(table)
    assert set(found["reason"]) == {SWAPPED_SIDES}
    assert len(found) == 2
    assert set(found["study_id"]) == {2}
    assert 0 < share_of_swapped_sides(table) < 0.2


def test_all_sides_swapped_is_a_share_of_one() -> None:
    table = cohort()
    assert share_of_swapped_sides(table.assign(x_mm=-table["x_mm"])) == 1


def points(*rows: tuple[str, str, int, int, float, float]) -> pd.DataFrame:
    """Make crops of study 1: condition, level, series, instance, x_mm and z_mm."""
    names = ["condition", "level", "series_id", "instance_number", "x_mm", "z_mm"]
    table = pd.DataFrame(rows, columns=names).assign(study_id=1, note="")
    return table.assign(crop=range(100, 100 + len(table)))


LEFT, RIGHT = "left_neural_foraminal_narrowing", "right_neural_foraminal_narrowing"
CANAL = "spinal_canal_stenosis"


def test_foramina_of_two_series_are_not_on_one_slice() -> None:
    level = "l1_l2"
    table = points((LEFT, level, 10, 5, 9.0, 0.0), (RIGHT, level, 11, 5, -9.0, 0.0))
    assert inconsistent_points(table).empty
    assert len(inconsistent_points(table.assign(series_id=10))) == 2


RECESS = "left_subarticular_stenosis", "right_subarticular_stenosis"
TIES = (
    (LEFT, "l1_l2", 10, 5, 3.0, 0.0),
    (RIGHT, "l1_l2", 10, 5, 3.0, 0.0),
    (LEFT, "l2_l3", 10, 5, 3.0, -30.0),
    (RIGHT, "l2_l3", 10, 5, 3.0, -30.0),
)


def test_a_series_of_one_slice_has_ties_and_no_swapped_sides() -> None:
    table = points(*TIES)
    assert inconsistent_points(table)["reason"].tolist() == [ONE_SLICE] * 4
    assert share_of_swapped_sides(table) == 0


def test_left_and_right_at_the_same_x_of_two_slices_are_a_listed_tie() -> None:
    level = "l1_l2"
    table = points((LEFT, level, 10, 5, 3.0, 0.0), (RIGHT, level, 10, 6, 3.0, 0.0))
    assert inconsistent_points(table)["reason"].tolist() == [SAME_X] * 2
    assert share_of_swapped_sides(table) == 0


@pytest.mark.parametrize(("left_mm", "share"), [(9.0, 0), (-9.0, 1)])
def test_ties_neither_hide_a_swapped_pair_nor_count_as_one(
    left_mm: float, share: float
) -> None:
    sides = zip(RECESS, (left_mm, -left_mm), strict=True)
    pair = [(side, "l1_l2", 11, 7, x_mm, 0.0) for side, x_mm in sides]
    table = points(*TIES, *pair)
    assert share_of_swapped_sides(table) == share
    found = inconsistent_points(table)
    assert (found["reason"] == SWAPPED_SIDES).sum() == 2 * share
    assert (found["reason"] == ONE_SLICE).sum() == 4


def test_the_lower_of_two_levels_is_out_of_order_in_any_order_of_rows() -> None:
    table = points(
        (CANAL, "l3_l4", 10, 1, 0.0, 2.0),
        (CANAL, "l4_l5", 10, 1, 0.0, 5.0),
        (CANAL, "l1_l2", 10, 1, 0.0, 60.0),
        (CANAL, "l2_l3", 10, 1, 0.0, 30.0),
    )
    for rows in (table, table[::-1]):
        found = inconsistent_points(rows)
        assert found[["level", "reason"]].values.tolist() == [["l4_l5", WRONG_ORDER]]


@pytest.mark.parametrize(
    ("condition", "level", "series_id"),
    [(CANAL, "l1_l2", 10), (CANAL, "l2_l3", 11), (LEFT, "l2_l3", 10)],
    ids=["one level twice", "two series", "two conditions"],
)
def test_heights_are_compared_between_levels_of_a_series_and_condition(
    condition: str, level: str, series_id: int
) -> None:
    first = (CANAL, "l1_l2", 10, 1, 0.0, 2.0)
    assert inconsistent_points(
        points(first, (condition, level, series_id, 1, 0.0, 9.0))
    ).empty


def test_both_foramina_on_one_slice_and_levels_out_of_order_are_listed() -> None:
    table = cohort()
    foramina = (table["study_id"] == 1) & (table["series_description"] == "Sagittal T1")
    table.loc[foramina, "instance_number"] = 5
    canal = (table["study_id"] == 3) & (table["condition"] == "spinal_canal_stenosis")
    table.loc[canal, "z_mm"] *= -1
    counts = inconsistent_points(table)["reason"].value_counts().to_dict()
    assert counts == {ONE_SLICE: 4, WRONG_ORDER: 1}


def test_a_series_without_positions_is_listed_once_and_its_points_are_not() -> None:
    table = points(
        *TIES,
        (RECESS[0], "l1_l2", 11, 7, -9.0, 0.0),
        (RECESS[1], "l1_l2", 11, 7, 9.0, 0.0),
        (CANAL, "l1_l2", 11, 7, 0.0, 0.0),
        (CANAL, "l2_l3", 11, 7, 0.0, 5.0),
    )
    note = "the series has one position for 15 slices: they are in file order"
    sagittal = table["series_id"] == 10
    found = suspects(table.assign(note=table["note"].where(~sagittal, note)))
    assert found[["series_id", "reason"]].values.tolist() == [
        [10, ONE_POSITION],
        *([11, SWAPPED_SIDES],) * 2,
        [11, WRONG_ORDER],
    ]
    assert found.loc[0, ["instance_number", "condition", "level"]].isna().all()
    both = table.assign(note=f"on Sagittal T1; {note}")
    assert suspects(both)["reason"].tolist() == [ONE_POSITION] * 2
    assert share_of_swapped_sides(table) == 1
    assert share_of_swapped_sides(both) == 0


def test_a_level_marked_twice_is_listed_with_both_points() -> None:
    table = points(
        (CANAL, "l1_l2", 10, 5, 0.0, 60.0),
        (CANAL, "l1_l2", 11, 2, 0.0, 61.0),
        (CANAL, "l2_l3", 10, 5, 0.0, 30.0),
        (LEFT, "l1_l2", 10, 9, 16.0, 60.0),
    )
    found = suspects(table)
    assert found[list(CHECK_COLUMNS)].values.tolist() == [
        [1, 10, 5, CANAL, "l1_l2", DOUBLED],
        [1, 11, 2, CANAL, "l1_l2", DOUBLED],
    ]

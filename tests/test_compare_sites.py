"""Located sites compared with marked ones, on two stacks angled to each other."""

import numpy as np
import pandas as pd
import pytest
from synthetic_study import overview

from src.competition.constants import AXIAL_T2, SAGITTAL_T2, SERIES_OF, SPINAL
from src.imaging.overview import Overview
from src.localization.locate import LocatedSite, Sites
from src.localization.location_metrics import (
    ComparedSite,
    compare_sites,
    compared_sites,
    location_metrics,
)

LEFT, RIGHT = (f"{side}_subarticular_stenosis" for side in ("left", "right"))
FORAMEN = "left_neural_foraminal_narrowing"
LEVEL = "l4_l5"
# A flat stack of files 1 to 4, two of them at one place, and file 5 tilted by 30
# degrees: where each one's middle is.
HEIGHTS_MM = {1: 0, 2: -4, 3: -4, 4: -8, 5: -30}
TILTED_DOWN = np.array([0, np.sqrt(3) / 2, 0.5])


@pytest.fixture
def axial() -> Overview:
    view = overview(AXIAL_T2, 30, HEIGHTS_MM.values())
    slices = view.slices.assign(place=[0, 1, 1, 2, 3], stack=[0, 0, 0, 0, 1])
    middle = np.array([0, 20, HEIGHTS_MM[5]])
    corner = middle - 100 * (np.array([1, 0, 0]) + TILTED_DOWN)
    slices.loc[4, ["at_x", "at_y", "at_z"]] = corner
    slices.loc[4, ["down_x", "down_y", "down_z"]] = TILTED_DOWN
    return Overview(view.images, slices, view.field_mm)


def site(point_mm: tuple, number: int = 2, series_id: int = 30) -> LocatedSite:
    point = np.array(point_mm, float)
    return LocatedSite(series_id, number, 101.5, 52.25, point, 0.75, "projected")


def mark(condition: str, level: str, point_mm: tuple, number: int = 2) -> dict:
    """Make a row of the crop table."""
    family = condition.removeprefix("left_").removeprefix("right_").split("_")[0]
    description = SERIES_OF["foraminal" if family == "neural" else family]
    where = {"study_id": 9, "condition": condition, "level": level}
    file = {"series_description": description, "series_id": 30}
    file |= {"instance_number": number, "x": 98.0, "y": 55.0}
    return where | file | dict(zip(("x_mm", "y_mm", "z_mm"), point_mm, strict=True))


def compared(sites: Sites, marks: list[dict], axial: Overview) -> pd.DataFrame:
    others = overview(SAGITTAL_T2, 10, [0])
    views = {AXIAL_T2: axial, SAGITTAL_T2: others, "Sagittal T1": others}
    return compare_sites(sites, pd.DataFrame(marks), views)


def one(found: LocatedSite, marked: dict, axial: Overview, *others: dict) -> pd.Series:
    """Compare the site of the first marked row."""
    at = (marked["condition"], marked["level"])
    return compared({at: found}, [marked, *others], axial).iloc[0]


def test_a_row_has_both_files_each_in_its_own_columns(axial: Overview) -> None:
    row = one(site((9, 20, 0), 1), mark(LEFT, LEVEL, (9, 24, -4), 3), axial)
    found = ["series_id", "instance_number", "x", "y", "confidence", "source"]
    assert row[found].tolist() == [30, 1, 101.5, 52.25, 0.75, "projected"]
    true = ["true_series_id", "true_instance_number", "true_x", "true_y"]
    assert row[true].tolist() == [30, 3, 98.0, 55.0]
    keys = ["study_id", "condition", "level", "series_description"]
    assert row[keys].tolist() == [9, LEFT, LEVEL, AXIAL_T2]


@pytest.mark.parametrize(
    ("number", "expected"), [(1, 2), (2, 1), (3, 1), (4, 0), (5, None)]
)
def test_slices_off_are_counted_by_position_within_one_stack(
    axial: Overview, number: int, expected: int | None
) -> None:
    row = one(site((0, 20, 0), number), mark(LEFT, LEVEL, (0, 20, -8), 4), axial)
    assert (None if pd.isna(row["slices_off"]) else row["slices_off"]) == expected


def test_an_error_is_measured_in_the_marked_slices_plane(axial: Overview) -> None:
    # 3 mm to the back and 17 mm to the head, found on a slice that is tilted.
    found = site((5, 23, 13), number=5)
    assert one(found, mark(LEFT, LEVEL, (5, 20, -4)), axial)[
        "error_mm"
    ] == pytest.approx(3)
    tilted = one(found, mark(LEFT, LEVEL, (5, 20, -4), number=5), axial)
    assert tilted["error_mm"] == pytest.approx(np.dot((0, 3, 17), TILTED_DOWN))


def test_the_nearest_site_is_of_the_same_family(axial: Overview) -> None:
    canal = mark(SPINAL, "l5_s1", (9, 20, -4))
    foramen = mark(FORAMEN, "l3_l4", (9, 20, -4))
    marked = mark(LEFT, LEVEL, (12, 20, -4))
    row = one(site((9, 20, -4)), marked, axial, canal, foramen)
    assert (row["level_right"], row["side_right"]) == (True, True)


def test_the_nearest_site_is_nearest_in_3d_not_by_height(axial: Overview) -> None:
    upper = mark(LEFT, "l3_l4", (-16, 20, 2))
    row = one(site((8, 20, -5)), mark(LEFT, LEVEL, (9, 20, -22)), axial, upper)
    assert row["level_right"]  # 17 mm away, and the upper one 25


@pytest.mark.parametrize(
    ("nearest", "level_right", "side_right"),
    [
        ((LEFT, LEVEL), True, True),
        ((LEFT, "l3_l4"), False, True),
        ((RIGHT, LEVEL), True, False),
        ((RIGHT, "l3_l4"), False, False),
    ],
)
def test_level_and_side_are_distinguished(
    axial: Overview, nearest: tuple[str, str], level_right: bool, side_right: bool
) -> None:
    points = {
        (LEFT, LEVEL): (9, 20, -30),
        (LEFT, "l3_l4"): (9, 20, 0),
        (RIGHT, LEVEL): (-9, 20, -30),
        (RIGHT, "l3_l4"): (-9, 20, 0),
    }
    first, *others = (mark(*at, point) for at, point in points.items())
    row = one(site(points[nearest]), first, axial, *others)
    assert (row["level_right"], row["side_right"]) == (level_right, side_right)


def test_each_marked_site_is_compared_with_its_own_target(axial: Overview) -> None:
    marks = [mark(LEFT, LEVEL, (9, 20, -4)), mark(RIGHT, LEVEL, (-9, 20, -4))]
    sites = {(LEFT, LEVEL): site((10, 20, -4)), (RIGHT, LEVEL): site((-14, 20, -4))}
    table = compared(sites, marks, axial).set_index("condition")
    assert table["error_mm"].to_dict() == pytest.approx({LEFT: 1, RIGHT: 5})
    del sites[LEFT, LEVEL]
    table = compared(sites, marks, axial).set_index("condition")
    assert table["error_mm"].isna().to_dict() == {LEFT: True, RIGHT: False}


def test_a_missed_site_counts_as_a_wrong_level_and_side(axial: Overview) -> None:
    marks = [mark(LEFT, LEVEL, (9, 20, -4)), mark(RIGHT, LEVEL, (-9, 20, -4))]
    sites = {(RIGHT, LEVEL): site((-9, 20, -4))}
    [metrics] = location_metrics(
        compared(sites, marks, axial).assign(run="one")
    ).values()
    assert (metrics["level_right"], metrics["side_right"]) == (0.5, 0.5)
    assert metrics["studies_level_right"] == 0
    assert metrics["missed"] == 0.5


def test_a_study_without_a_located_site_has_missing_numbers(axial: Overview) -> None:
    table = compared({}, [mark(LEFT, LEVEL, (9, 20, -8), 4)], axial)
    numbers = table[["series_id", "x", "confidence", "error_mm", "slices_off"]]
    assert {dtype.kind for dtype in numbers.dtypes} == {"f"}
    assert numbers.isna().all(axis=None)


def test_rows_are_read_back_as_sites_a_missed_one_without_a_position(
    axial: Overview,
) -> None:
    marks = [mark(LEFT, LEVEL, (9, 24, -8), 4), mark(RIGHT, LEVEL, (-9, 20, -4), 3)]
    table = compared({(LEFT, LEVEL): site((9, 20, -8), 4)}, marks, axial)
    found, missed = compared_sites(table.assign(run="one"))
    both = {"study_id": 9, "level": LEVEL, "series_description": AXIAL_T2}
    both |= {"true_series_id": 30, "true_x": 98.0, "true_y": 55.0}
    assert missed == ComparedSite(**both, condition=RIGHT, true_instance_number=3)
    where = {"series_id": 30, "instance_number": 4, "x": 101.5, "y": 52.25}
    where |= {"confidence": 0.75, "source": "projected"}
    errors = {"error_mm": pytest.approx(4), "slices_off": 0}
    right = {"level_right": True, "side_right": True}
    assert found == ComparedSite(
        **both, **where, **errors, **right, condition=LEFT, true_instance_number=4
    )

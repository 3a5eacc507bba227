"""The picture of suspects: which contradictions, on which slices, marked where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cache_cohort import write_images
from kept_figures import image, keep_figures, points
from matplotlib.axes import Axes
from pydicom import dcmread

from src.cache.crop_cache import CropCache
from src.cache.label_checks import (
    DOUBLED,
    ONE_POSITION,
    ONE_SLICE,
    SWAPPED_SIDES,
    WRONG_ORDER,
    contradictions,
)
from src.competition.constants import SPINAL
from src.imaging.crops import CropSpec
from src.reporting import suspect_pictures
from src.reporting.suspect_pictures import draw_suspects, most_severe

RECESS = ("left_subarticular_stenosis", "right_subarticular_stenosis")
FORAMEN = ("left_neural_foraminal_narrowing", "right_neural_foraminal_narrowing")
NAMES = ["study_id", "series_id", "instance_number", "condition", "level"]
# Points on cache_cohort's slices: what and where, pixels, x_mm and z_mm.
SWAPPED = [
    ((2, 22, 8, RECESS[0], "l4_l5"), (10, 12), (-7.5, 0.0)),
    ((2, 22, 8, RECESS[1], "l4_l5"), (20, 14), (5.0, 0.0)),
]
APART = [
    ((1, 12, 1, FORAMEN[0], "l1_l2"), (9, 10), (-4.0, 0.0)),
    ((1, 12, 7, FORAMEN[1], "l1_l2"), (11, 12), (4.0, 0.0)),
]
HIGH = [
    ((2, 21, 5, SPINAL, "l3_l4"), (12, 20), (0.0, 5.0)),
    ((2, 21, 5, SPINAL, "l4_l5"), (13, 9), (0.0, 13.0)),
]
TWICE = [
    ((1, 11, 3, SPINAL, "l1_l2"), (5, 5), (0.0, 3.0)),
    ((1, 11, 3, SPINAL, "l1_l2"), (5, 9), (3.0, 7.0)),
]
Point = tuple[tuple[int, int, int, str, str], tuple[int, int], tuple[float, float]]


def table_of(*marked: list[Point]) -> pd.DataFrame:
    rows = [
        {
            **dict(zip(NAMES, where, strict=True)),
            **{"x": xy[0], "y": xy[1], "x_mm": mm[0], "y_mm": 0.0, "z_mm": mm[1]},
        }
        for part in marked
        for where, xy, mm in part
    ]
    table = pd.DataFrame(rows).assign(view="own", note="")
    return table.assign(crop=range(10, 10 + len(rows)))


def cache_of(table: pd.DataFrame) -> CropCache:
    empty = pd.DataFrame()
    return CropCache(Path(), np.zeros(0), table, empty, empty, CropSpec(16), {})


def rows_of(found: pd.DataFrame) -> list[tuple]:
    return list(found.astype(object).itertuples(index=False, name=None))


def test_each_contradiction_has_both_its_points_and_its_distance() -> None:
    found = contradictions(table_of(SWAPPED, HIGH, TWICE, APART))
    assert rows_of(found) == [
        (SWAPPED_SIDES, 10, 11, 12.5),
        (SWAPPED_SIDES, 16, 17, 8.0),
        (WRONG_ORDER, 13, 12, 8.0),
        (DOUBLED, 15, 14, 5.0),
    ]


def test_a_sound_table_has_no_contradiction() -> None:
    assert contradictions(table_of(SWAPPED[:1], HIGH[:1])).empty


def test_a_series_without_positions_is_one_contradiction_of_nothing() -> None:
    note = "the series has one position for 9 slices: they are in file order"
    found = contradictions(table_of(SWAPPED, HIGH).assign(note=note))
    assert found["reason"].tolist() == [ONE_POSITION] * 2
    assert found["crop"].tolist() == [10, 12]
    assert found["against"].isna().all()


def test_the_largest_of_each_reason_come_first() -> None:
    reasons = [*[DOUBLED] * 3, *[SWAPPED_SIDES] * 4, ONE_SLICE]
    by_mm = [1.0, 3.0, 2.0, 7.0, 9.0, 5.0, 6.0, float("nan")]
    found = pd.DataFrame({"reason": reasons, "crop": range(8), "by_mm": by_mm})
    assert most_severe(found, 5)["crop"].tolist() == [4, 3, 7, 1, 2]
    assert most_severe(found, 1)["crop"].tolist() == [4]
    assert len(most_severe(found, 20)) == 8


Draw = Callable[[pd.DataFrame], tuple[str, list[Axes]]]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw the suspects of a table; return what is said and the panels."""
    kept, path = keep_figures(monkeypatch), tmp_path / "suspects.png"
    monkeypatch.setattr(suspect_pictures, "reduce_colours", lambda path: None)
    images = write_images(tmp_path / "images")

    def draw(table: pd.DataFrame) -> tuple[str, list[Axes]]:
        said = draw_suspects(cache_of(table), images, path)
        return said, kept(path).axes

    return draw


def shows(axes: Axes, folder: Path, file: str) -> bool:
    stored = dcmread(folder / "images" / file).pixel_array
    return np.corrcoef(image(axes).ravel(), stored.ravel())[0, 1] > 0.98


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_points_of_one_slice_are_ringed_together_and_enlarged(
    drawn: Draw, tmp_path: Path
) -> None:
    said, (whole, enlarged) = drawn(table_of(SWAPPED))
    assert said == "contradictions shown: 1 of 1"
    assert shows(whole, tmp_path, "2/22/8.dcm")
    assert points(whole, "o") == points(enlarged, "o") == [(10, 12), (20, 14)]
    left, right = enlarged.get_xlim()
    assert (left + right) / 2 == pytest.approx(15)
    assert -0.5 < left < 10
    assert 20 < right < 31.5
    assert texts(whole) == ["R", "L"]  # an axial image's first column is on the right
    assert texts(enlarged)[2:] == ["left\nx -7.5 mm", "right\nx 5.0 mm"]
    title = whole.get_title(loc="left").replace("\n", " ")
    assert title == (
        "L4/L5: left and right of this level are swapped by 12.5 mm study 2, file 8.dcm"
    )


def test_points_of_two_slices_are_each_on_their_own(
    drawn: Draw, tmp_path: Path
) -> None:
    _, (left, right) = drawn(table_of(APART))
    assert shows(left, tmp_path, "1/12/1.dcm")
    assert shows(right, tmp_path, "1/12/7.dcm")
    assert (points(left, "o"), points(right, "o")) == ([(9, 10)], [(11, 12)])
    assert texts(left) == ["left\nx -4.0 mm"]  # a sagittal image has no sides
    assert texts(right) == ["right\nx 4.0 mm"]
    assert right.get_title(loc="left") == "study 1, file 7.dcm"


def test_levels_out_of_order_are_held_against_each_other_by_height(
    drawn: Draw,
) -> None:
    _, (_, enlarged) = drawn(table_of(HIGH))
    assert texts(enlarged) == ["L4/L5\nz 13.0 mm", "L3/L4\nz 5.0 mm"]


def test_what_is_not_shown_is_counted(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspect_pictures, "SHOWN", 2)
    said, axes = drawn(table_of(SWAPPED, APART, HIGH, TWICE))
    assert len(axes) == 4
    assert said == "contradictions shown: 2 of 4, the most severe of each reason"
    assert said.capitalize() in axes[0].figure.get_suptitle()


def test_without_suspects_an_earlier_picture_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "suspects.png"
    path.write_text("of an earlier cache")
    assert draw_suspects(cache_of(table_of(SWAPPED[:1])), tmp_path, path) == ""
    assert not path.exists()


def test_a_real_picture_is_written(tmp_path: Path) -> None:
    images, path = write_images(tmp_path / "images"), tmp_path / "suspects.png"
    assert draw_suspects(cache_of(table_of(SWAPPED, HIGH)), images, path)
    assert path.read_bytes().startswith(b"\x89PNG")

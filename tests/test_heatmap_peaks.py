"""Cells, peaks and nearest slices, on positions worked out by hand."""

import numpy as np
import pytest
from synthetic_study import overview

from src.competition.constants import AXIAL_T2, SAGITTAL_T2
from src.imaging.overview import joined
from src.localization.heatmap_peaks import HeatmapGrid, Peak

# Of 224 px: 56 cells of 4 px, 5 mm wide, in slices 4 mm apart.
HEIGHTS_MM = np.arange(-24, 25, 4.0)


@pytest.fixture
def space() -> HeatmapGrid:
    return HeatmapGrid(overview(SAGITTAL_T2, 1, HEIGHTS_MM), 56, 56)


def blank(space: HeatmapGrid) -> np.ndarray:
    return np.zeros((len(space.overview), space.height, space.width), np.float32)


def cells_of(found: list[Peak], space: HeatmapGrid) -> list[tuple[int, int, int]]:
    """Name the cell of each peak: slice, row, column."""
    size = 224 / np.array([space.width, space.height])
    cells = [np.floor((one.xy + 0.5) / size).astype(int) for one in found]
    return [
        (one.slice, int(y), int(x)) for one, (x, y) in zip(found, cells, strict=True)
    ]


def test_cells_are_counted_by_row_and_column_from_the_first_pixels_corner() -> None:
    space = HeatmapGrid(overview(SAGITTAL_T2, 1, [0, 4]), height=28, width=56)
    assert space.cells_px.shape == (28, 56, 2)
    assert space.cells_px[0, 0].tolist() == [1.5, 3.5]  # 4 px wide, 8 px high
    assert space.cells_px[3, 10].tolist() == [41.5, 27.5]
    # Columns run to the back from the middle at 20 mm, rows to the feet from 0.
    expected = [4, 20 + (41.5 - 111.5) * 1.25, -(27.5 - 111.5) * 1.25]
    assert space.points_mm[1, 3, 10] == pytest.approx(expected, abs=1e-3)


def test_peaks_are_found_best_first_and_well_apart(space: HeatmapGrid) -> None:
    chances = blank(space)
    chances[6, 20, 20] = 0.4
    chances[6, 20, 21] = 0.1  # 5 mm from it: the same site
    chances[8, 20, 20] = 0.1  # 8 mm across the slices: the same site
    chances[6, 20, 23] = 0.2  # 15 mm from it: another
    chances[3, 20, 20] = 0.15  # as high and as far to the back, 12 mm to the right
    chances[1, 50, 9] = 0.05
    found = space.find_peaks(chances, 8)
    expected = [(6, 20, 20), (6, 20, 23), (3, 20, 20), (1, 50, 9)]
    assert cells_of(found, space) == expected
    assert [one.mass for one in found] == pytest.approx([0.6, 0.2, 0.15, 0.05])
    assert cells_of(space.find_peaks(chances, 2), space) == expected[:2]
    assert chances.sum() == pytest.approx(1)  # what is searched is left as it is


def test_a_peak_lies_at_the_mean_position_on_its_most_probable_slice(
    space: HeatmapGrid,
) -> None:
    chances = blank(space)
    chances[6, 20, 20], chances[6, 20, 21] = 0.3, 0.1
    chances[7, 21, 20] = 0.2
    [one] = space.find_peaks(chances, 1)
    assert one.slice == 6
    # A quarter of the distance from the center of column 20 to that of column 21.
    assert one.xy == pytest.approx([20.25 * 4 + 1.5, 20 * 4 + 1.5])
    expected = [0, 20 + (82.5 - 111.5) * 1.25, -(81.5 - 111.5) * 1.25]
    assert one.point_mm == pytest.approx(expected)
    # The highest cell may lie on a slice that has less in all.
    chances[7, 20, 20:22] = 0.15
    assert space.find_peaks(chances, 1)[0].slice == 7


def test_weights_are_a_gaussian_of_each_axis_own_deviation(space: HeatmapGrid) -> None:
    point_mm, sd_mm = np.array([2.0, 11, -7]), np.array([5.0, 8, 20])
    weights, logs = space.gaussian_prior(point_mm, sd_mm)
    assert weights.shape == (13, 56, 56)
    for cell in ((6, 20, 20), (8, 30, 25), (0, 28, 28)):
        off = (space.points_mm[cell] - point_mm) / sd_mm
        assert logs[cell] == pytest.approx(-(off**2).sum() / 2, rel=1e-4)
        assert weights[cell] == pytest.approx(np.exp(-(off**2).sum() / 2), rel=1e-3)


@pytest.mark.parametrize(
    ("x_mm", "index"),
    [(-23, 0), (-3, 5), (1, 6), (2.1, 7), (24, 12), (31.9, 12), (-31.9, 0)],
)
def test_a_point_is_projected_onto_the_nearest_slice(
    space: HeatmapGrid, x_mm: float, index: int
) -> None:
    point_mm = np.array([x_mm, 45.0, -25])
    one = space.nearest(point_mm)
    assert (one.slice, one.mass) == (index, 0)
    # 25 mm behind the middle and 25 mm below it, at 1.25 mm a pixel.
    assert one.xy == pytest.approx([131.5, 131.5])
    assert one.point_mm is point_mm


@pytest.mark.parametrize("point_mm", [(33, 20, 0), (-33, 20, 0), (0, 161, 0)])
def test_a_point_that_no_slice_shows_is_not_projected(
    space: HeatmapGrid, point_mm: tuple
) -> None:
    assert space.nearest(np.array(point_mm, float)) is None


def test_a_point_is_projected_onto_a_slice_whose_image_has_it() -> None:
    # Nearest is a slice of a series 200 mm to the left, which does not show it.
    aside, here = overview(AXIAL_T2, 1, [0]), overview(AXIAL_T2, 2, [3])
    aside.slices["at_x"] += 200
    one = HeatmapGrid(joined([aside, here]), 56, 56).nearest(np.array([0, 20.0, 0]))
    assert one.slice == 1

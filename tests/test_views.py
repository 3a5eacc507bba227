"""Views: which slice shows a point, and where: hand-worked points and phantoms."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, SAGITTAL, plane

from src.competition.constants import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SPINAL
from src.errors import UserError
from src.imaging.dicom import SliceHeader
from src.imaging.geometry import SliceGeometry
from src.imaging.series import Series
from src.imaging.views import REACH_MM, ViewFinder, order_of_views, point_to_view
from src.phantom.anatomy import draw_anatomy
from src.phantom.protocol import draw_scans
from src.phantom.rater import draw_narrowing

LEFT, RIGHT = "left_subarticular_stenosis", "right_subarticular_stenosis"


def series_of(
    planes: Sequence[SliceGeometry], shape: tuple[int, int] = (32, 24)
) -> Series:
    """A series without files: planes numbered from 1, each of (rows, columns)."""
    headers = [
        SliceHeader(Path(f"images/1/7/{number}.dcm"), number, *shape, one)
        for number, one in zip(count(1), planes)
    ]
    return Series.of(headers)


def axial(heights_mm: Sequence[float]) -> list[SliceGeometry]:
    return [plane((10, -5, z), AXIAL, (0.75, 0.5)) for z in heights_mm]


@pytest.mark.parametrize(
    ("z", "index", "distance_mm"), [(-3.1, 1, 0.9), (-5.9, 1, 1.9), (-6.1, 2, 1.9)]
)
def test_the_nearest_slice_shows_the_projected_point(
    z: float, index: int, distance_mm: float
) -> None:
    view = ViewFinder(series_of(axial([0, -4, -8]))).find(np.array([16.0, -2.0, z]))
    assert (view.index, view.x, view.y) == (index, 8.0, 6.0)
    assert view.distance_mm == pytest.approx(distance_mm)


def test_files_in_any_order_show_a_point_on_the_same_slice() -> None:
    series = series_of(axial([-8, 0, -4]))
    found = ViewFinder(series).find(np.array([16.0, -2.0, -7.5]))
    assert series.headers[found.index].instance_number == 1


def test_a_sagittal_series_shows_a_recess_on_its_parasagittal_slice() -> None:
    planes = [plane((x, -20, 30), SAGITTAL) for x in (-8, -4, 0, 4, 8)]
    view = ViewFinder(series_of(planes)).find(np.array([7.1, -10.0, 12.0]))
    assert (view.index, view.x, view.y) == (4, 10.0, 18.0)


@pytest.mark.parametrize(("beyond_mm", "shown"), [(4.9, True), (5.1, False)])
def test_a_point_beyond_the_ends_is_shown_within_reach(
    beyond_mm: float, shown: bool
) -> None:
    series, point = series_of(axial([0, -4])), np.array([16.0, -2.0, beyond_mm])
    if shown:
        assert ViewFinder(series).find(point).index == 0
        return
    message = r"images/1/7 has no slice within 5 mm .*: the nearest is 5\.1 mm away\."
    with pytest.raises(UserError, match=message):
        ViewFinder(series).find(point)


def test_wide_steps_lose_no_point_between_two_slices() -> None:
    series = series_of(axial([0, -14, -28]))
    assert ViewFinder(series).find(np.array([16.0, -2.0, -7.5])).distance_mm == 6.5
    with pytest.raises(UserError, match="no slice within 7 mm"):
        ViewFinder(series).find(np.array([16.0, -2.0, 7.5]))


@pytest.mark.parametrize(
    ("point", "shown"),
    [
        ((9.7, -2.0, 0.0), True),
        ((9.5, -2.0, 0.0), False),
        ((16.0, 10.7, 0.0), True),
        ((16.0, 10.8, 0.0), False),
    ],
)
def test_a_point_is_shown_on_pixels_of_the_image_only(
    point: tuple[float, float, float], shown: bool
) -> None:
    series = series_of(axial([0, -4]))
    if shown:
        assert ViewFinder(series).find(np.array(point)).index == 0
        return
    with pytest.raises(UserError, match="the point is outside"):
        ViewFinder(series).find(np.array(point))


def test_of_crossing_stacks_the_nearest_that_contains_the_point_is_taken() -> None:
    tilted = np.array([(1, 0, 0), (0, np.cos(0.5), -np.sin(0.5))])
    across = np.cross(*tilted)
    beside = [plane((10, 8, -1.7) - 4.0 * step * across, tilted) for step in range(3)]
    level = axial([-3, -7, -11])
    series = series_of([*beside, *level])
    point = np.array([16.0, 3.0, -3.5])
    # 0.5 mm from the level stack; nearer to the tilted one, in front of its images.
    tilted_mm = [abs((point - one.position_mm) @ across) for one in beside]
    assert min(tilted_mm) < 0.45
    view = ViewFinder(series).find(point)
    assert series.headers[view.index].geometry is level[0]
    assert view.distance_mm == pytest.approx(0.5)


def test_slices_without_usable_positions_show_no_point() -> None:
    series = series_of([plane((0, 0, 0), AXIAL)] * 4)
    with pytest.raises(UserError, match="has one position for all its slices"):
        ViewFinder(series).find(np.array([5.0, 5.0, 0.0]))


def test_the_nearest_view_is_preferred_and_of_equals_the_lowest_series() -> None:
    order = order_of_views([2.5, 0.5, 2.0, 0.5, 0.5], [1, 70, 2, 5, 60])
    assert order.tolist() == [3, 4, 1, 2, 0]


@pytest.mark.parametrize("seed", range(6))
def test_every_site_of_a_phantom_is_shown_where_it_lies(seed: int) -> None:
    """Against a search of all slices with plain vectors."""
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, draw_narrowing(rng))
    points = anatomy.spine.to_patient(anatomy.sites[["a", "b", "t"]].to_numpy())
    shown = 0
    for scan in draw_scans(rng, anatomy, seed):
        headers = [
            SliceHeader(Path(f"{number}.dcm"), number, *shape, one)
            for number, shape, one in zip(
                scan.numbers, scan.shapes, scan.planes, strict=True
            )
        ]
        series = Series.of(headers)
        for point in points:
            candidates = []
            for header in headers:
                at, right, down = (
                    getattr(header.geometry, name)
                    for name in ("position_mm", "right", "down")
                )
                step = header.geometry.spacing_mm[0]
                x, y = (point - at) @ right / step, (point - at) @ down / step
                off_mm = np.linalg.norm(point - at - x * step * right - y * step * down)
                inside = 0 <= x < header.columns - 1 and 0 <= y < header.rows - 1
                if inside and off_mm <= REACH_MM:
                    candidates.append((off_mm, header.instance_number, x, y))
            if not candidates:
                with pytest.raises(UserError):
                    ViewFinder(series).find(point)
                continue
            shown += 1
            view, best = ViewFinder(series).find(point), min(candidates)
            assert series.headers[view.index].instance_number == best[1]
            assert (view.distance_mm, view.x, view.y) == pytest.approx(
                (best[0], *best[2:]), abs=1e-9
            )
    assert shown > 40


def canal_and_recesses(x: float, *recess_x: float) -> dict:
    points = {(SPINAL, "l4_l5"): np.array([x, 2.0, 3.0])}
    recesses = zip((LEFT, RIGHT), recess_x, strict=False)
    return points | {(n, "l4_l5"): np.array([r, 5.0, 6.0]) for n, r in recesses}


def test_an_axial_canal_is_looked_for_between_its_recesses() -> None:
    found = point_to_view(
        (SPINAL, "l4_l5"), AXIAL_T2, canal_and_recesses(2.0, 11.0, -8.0)
    )
    assert found.tolist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("description", "points"),
    [
        (SAGITTAL_T1, canal_and_recesses(2.0, 11.0, -8.0)),
        (AXIAL_T2, canal_and_recesses(2.0, 11.0)),
        (AXIAL_T2, canal_and_recesses(2.0, 31.0, -5.0)),
    ],
    ids=["sagittal", "one recess", "recesses elsewhere"],
)
def test_a_canal_is_otherwise_looked_for_at_its_own_point(
    description: str, points: dict
) -> None:
    found = point_to_view((SPINAL, "l4_l5"), description, points)
    assert found.tolist() == [2.0, 2.0, 3.0]


def test_a_recess_is_looked_for_at_its_own_point() -> None:
    points = canal_and_recesses(2.0, 11.0, -8.0)
    assert point_to_view((LEFT, "l4_l5"), SAGITTAL_T2, points)[0] == 11.0


def test_the_recesses_place_a_phantoms_canal_better_than_its_sagittal_slice() -> None:
    rng = np.random.default_rng(3)
    own_mm, found_mm = [], []
    for _ in range(8):
        anatomy = draw_anatomy(rng, draw_narrowing(rng))
        sites = anatomy.sites.assign(
            point=list(anatomy.spine.to_patient(anatomy.sites[["a", "b", "t"]]))
        )
        truth = sites.set_index(["condition", "level"])["point"].to_dict()
        for level in LEVELS:
            # Marked on the nearest of sagittal slices 4.5 mm apart.
            marked = truth[SPINAL, level] + [rng.uniform(-2.25, 2.25), 0, 0]
            points = {**truth, (SPINAL, level): marked}
            found = point_to_view((SPINAL, level), AXIAL_T2, points)
            own_mm.append(np.linalg.norm(marked - truth[SPINAL, level]))
            found_mm.append(np.linalg.norm(found - truth[SPINAL, level]))
    assert np.median(found_mm) < np.median(own_mm) / 2

"""What a slice shows: the graded structures, where they are, and no more than that."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from src.competition.constants import CONDITIONS, FAMILIES, FAMILY_OF, LEVELS, SPINAL
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import Anatomy, draw_anatomy
from src.phantom.rater import draw_narrowing
from src.phantom.scanner import Contrast, Grid, render
from src.phantom.tissue import STIR, T1, T2

RIGHT, LEFT = (f"{side}_neural_foraminal_narrowing" for side in ("right", "left"))


def contrast(weighting: str) -> Contrast:
    """No noise, no shading: the tissues alone."""
    return Contrast(weighting, 1.0, 0.0, 1e9, 0.3, (0.0, 0.0, 0.0))


def anatomy(
    seed: int = 0,
    narrowing: float | None = None,
    closed: tuple[str, str] | None = None,
) -> Anatomy:
    """A person whose sites are all narrowed alike, or at random.

    closed: the condition and level of one site that is closed.
    """
    rng = np.random.default_rng(seed)
    sites = draw_narrowing(rng)
    if narrowing is not None:
        sites["narrowing"] = narrowing
    if closed:
        here = (sites["condition"] == closed[0]) & (sites["level"] == closed[1])
        sites.loc[here, "narrowing"] = 1.0
    return draw_anatomy(rng, sites)


def site_mm(person: Anatomy, condition: str, level: str = "l3_l4") -> np.ndarray:
    sites = person.sites.set_index(["condition", "level"])
    straight = sites.loc[(condition, level), ["a", "b", "t"]].to_numpy(float)
    return person.spine.to_patient(straight)


def crop(
    person: Anatomy, centre: np.ndarray, plane: str, weighting: str, side_px: int = 101
) -> np.ndarray:
    """A noise-free picture of .5 mm pixels with `centre` in its middle."""
    right, down = {
        "sagittal": ((0, 1, 0), (0, 0, -1)),
        "axial": ((1, 0, 0), (0, 1, 0)),
    }[plane]
    right, down = np.array(right, float), np.array(down, float)
    corner = centre - (side_px - 1) / 4 * (right + down)
    geometry = SliceGeometry(corner, right, down, (0.5, 0.5))
    shape = (side_px, side_px)
    rng = np.random.default_rng(0)
    return render(person, geometry, shape, contrast(weighting), rng)


def bright_mm2(picture: np.ndarray, half_px: int, level: float) -> float:
    """Area brighter than `level` near the middle."""
    middle = picture.shape[0] // 2
    window = np.s_[middle - half_px : middle + half_px + 1]
    return 0.25 * float((picture[window, window] > level).sum())


# Of each family: the plane it is graded in, and what is bright while it is open.
LOOK = {
    "spinal": ("sagittal", T2, 6, 0.7),
    "foraminal": ("sagittal", T1, 24, 0.8),
    "subarticular": ("axial", T2, 7, 0.55),
}


def open_mm2(person: Anatomy, condition: str, level: str = "l3_l4") -> float:
    """How much of a site is open, by what is bright around it."""
    plane, weighting, half_px, light = LOOK[FAMILY_OF[condition]]
    picture = crop(person, site_mm(person, condition, level), plane, weighting)
    return bright_mm2(picture, half_px, light)


@pytest.mark.parametrize("family", LOOK)
def test_the_graded_structure_closes_as_it_narrows(family: str) -> None:
    areas = [
        open_mm2(anatomy(4, narrowing), FAMILIES[family][0])
        for narrowing in (0.0, 0.3, 0.55, 0.8, 1.0)
    ]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] < 0.5 * areas[0]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_closed_site_closes_alone(condition: str) -> None:
    site = (condition, "l2_l3")
    before, after = (anatomy(4, 0.0, closed=closed) for closed in (None, site))
    share = {
        (other, place): open_mm2(after, other, place) / open_mm2(before, other, place)
        for other in FAMILIES[FAMILY_OF[condition]]
        for place in LEVELS
    }
    assert share.pop(site) < 0.5
    assert min(share.values()) > 0.7


@pytest.mark.parametrize("seed", range(4))
def test_the_canal_is_the_same_point_in_both_planes(seed: int) -> None:
    person = anatomy(seed, narrowing=0.0)
    centre = site_mm(person, SPINAL)
    sagittal = crop(person, centre, "sagittal", T2)
    axial = crop(person, centre, "axial", T2)
    # The planes share the line from front to back through the site.
    along = np.s_[30:71]
    assert sagittal[50, along] == pytest.approx(axial[along, 50], abs=0.15)
    assert bright_mm2(sagittal, 4, 0.7) > 10  # fluid


def test_fluid_is_bright_on_t2_and_dark_on_t1_and_fat_the_reverse() -> None:
    person = anatomy(1, narrowing=0.0)
    canal = np.add(site_mm(person, SPINAL), [0, -2, 0])
    assert crop(person, canal, "sagittal", T2)[50, 50] > 0.8
    assert crop(person, canal, "sagittal", T1)[50, 50] < 0.3
    fat = crop(person, site_mm(person, LEFT), "sagittal", T1)
    assert bright_mm2(fat, 20, 0.8) > 20


def symmetric(person: Anatomy) -> Anatomy:
    """The same person without scoliosis, roll, texture or wear of one side."""
    spine = person.spine
    lean = np.arctan2(spine.axes[:, 2, 1], -spine.axes[:, 2, 2])
    zero, one = np.zeros_like(lean), np.ones_like(lean)
    left = np.stack([one, zero, zero], 1)
    down = np.stack([zero, np.sin(lean), -np.cos(lean)], 1)
    axes = np.stack([left, np.cross(left, down), down], 1)
    straight = replace(spine, origin_mm=spine.origin_mm * [0, 1, 1], axes=axes)
    texture = person.texture.copy()
    texture[:, 3] = texture[:, :3] = 0  # sin(0): no waves
    return replace(person, spine=straight, texture=texture)


@pytest.mark.parametrize("seed", range(3))
def test_one_slice_does_not_tell_a_left_foramen_from_a_right_one(seed: int) -> None:
    person = symmetric(anatomy(seed, narrowing=0.2))
    pictures = [
        crop(person, site_mm(person, condition), "sagittal", T1)
        for condition in (LEFT, RIGHT)
    ]
    assert pictures[0] == pytest.approx(pictures[1], abs=1e-4)


def test_the_slices_beside_a_foramen_do_tell_its_side() -> None:
    person = symmetric(anatomy(0, narrowing=0.2))
    towards_left = np.array([4.5, 0, 0])
    pictures = [
        crop(person, site_mm(person, condition) + towards_left, "sagittal", T1)
        for condition in (LEFT, RIGHT)
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.05


def test_the_aorta_is_on_the_left_and_the_vena_cava_on_the_right() -> None:
    person = symmetric(anatomy(2, narrowing=0.0))
    centre = np.add(site_mm(person, SPINAL, "l2_l3"), [0, -60, 0])
    picture = crop(person, centre, "axial", T2, side_px=161)
    dark = picture < 0.08
    columns = np.flatnonzero(dark.sum(axis=0) > 8) - 80
    assert columns.max() > 20  # the patient's left is on the image's right
    assert columns.min() < -20
    left, right = dark[:, 85:], dark[:, :76]

    # The aorta is round, the vena cava broader than it is deep.
    def broadness(side: np.ndarray) -> float:
        return side.any(axis=0).sum() / side.any(axis=1).sum()

    assert broadness(right) > 1.2 * broadness(left)


def test_a_grid_spreads_a_plane_exactly() -> None:
    geometry = SliceGeometry(
        np.array([3.0, 4, 5]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), (0.7, 0.7)
    )
    grid = Grid(geometry, (30, 43), 8)
    rows, columns = np.indices((30, 43))
    exact = geometry.to_patient(np.stack([columns, rows], axis=-1))
    for axis in range(3):
        spread = grid.spread(grid.points_mm[..., axis])
        assert spread == pytest.approx(exact[..., axis], abs=1e-4)


def test_every_site_is_where_its_family_lies() -> None:
    person = anatomy(3)
    for site in person.sites.itertuples():
        family = FAMILY_OF[site.condition]
        side = {"left": 1, "right": -1}.get(site.condition.split("_")[0], 0)
        assert np.sign(site.a) == side
        limits = {"spinal": (0, 0), "foraminal": (11, 24), "subarticular": (7, 13)}
        low, high = limits[family]
        assert low <= abs(site.a) <= high


def test_sites_list_all_25_targets() -> None:
    sites = anatomy(0).sites
    assert len(sites) == len(sites.drop_duplicates(["condition", "level"])) == 25
    assert isinstance(sites, pd.DataFrame)


# What the scanner adds


AXES = np.eye(3)[[0, 1]]


def picture_of(plane: SliceGeometry, **changes: object) -> np.ndarray:
    """An axial picture [40, 60] of one person under a changed contrast."""
    rng, looks = np.random.default_rng(0), replace(contrast(T2), **changes)
    return render(anatomy(3, 0.0), plane, (40, 60), looks, rng)


def axial(corner_mm: tuple[float, float, float], pitch_mm: float) -> SliceGeometry:
    return SliceGeometry(np.array(corner_mm), *AXES, (pitch_mm, pitch_mm))


INSIDE = axial((-45.0, -30.0, 0.0), 1.5)  # from the middle of the body to the back


def test_noise_is_that_of_a_magnitude_image() -> None:
    air = picture_of(axial((400.0, 400.0, 0.0), 1.5), noise=0.03)
    # Rayleigh: what is left of two channels without a signal.
    assert air.mean() == pytest.approx(0.03 * np.sqrt(np.pi / 2), rel=0.05)
    assert air.std() == pytest.approx(0.03 * np.sqrt(2 - np.pi / 2), rel=0.05)


def test_gamma_is_a_power_of_the_brightness() -> None:
    straight, bent = (picture_of(INSIDE, gamma=gamma) / 1.4 for gamma in (1.0, 1.7))
    assert bent == pytest.approx(straight**1.7, abs=1e-4)


def test_the_point_spread_is_as_broad_as_asked() -> None:
    sharp, soft = (picture_of(INSIDE, blur_px=px) for px in (0.2, 1.5))
    inner = np.s_[8:-8, 8:-8]
    expected = cv2.GaussianBlur(sharp, (0, 0), 1.5)
    assert soft[inner] == pytest.approx(expected[inner], abs=0.01)


def test_the_coil_lies_under_the_back() -> None:
    even, shaded = (picture_of(INSIDE, coil_mm=mm) for mm in (1e9, 80.0))
    share = np.median(shaded / np.maximum(even, 1e-3), axis=1)
    # 30 rows of 1.5 mm deeper the coil sees exp(-45 / 80) as much.
    assert share[5] / share[35] == pytest.approx(np.exp(-45 / 80), rel=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_bias_grows_along_its_axis(axis: int) -> None:
    slope = [0.0, 0.0, 0.0]
    slope[axis] = 0.3  # in 100 mm
    even, shaded = (picture_of(INSIDE, shade=tuple(s)) for s in ([0.0] * 3, slope))
    rows, columns = np.indices(even.shape)
    place = INSIDE.to_patient(np.stack([columns, rows], axis=-1))[..., axis]
    bright = even > 0.1
    expected = (even * (1 + 0.3 * place / 100))[bright]
    assert shaded[bright] == pytest.approx(expected, abs=1e-3)


def test_stir_shows_fluid_and_hides_fat() -> None:
    person = anatomy(1, narrowing=0.0)
    canal = np.add(site_mm(person, SPINAL), [0, -2, 0])
    assert crop(person, canal, "sagittal", STIR)[50, 50] > 0.8
    foramen = site_mm(person, LEFT)
    fat = crop(person, foramen, "sagittal", T1) > 0.9
    assert np.median(crop(person, foramen, "sagittal", T2)[fat]) > 0.6
    assert np.median(crop(person, foramen, "sagittal", STIR)[fat]) < 0.3

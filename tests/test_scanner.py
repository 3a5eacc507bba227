"""What a slice shows: the graded structures, where they are, and no more than that."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.competition.vocab import FAMILIES, FAMILY_OF, SPINAL
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import Anatomy, draw_anatomy
from src.phantom.reader import draw_narrowing
from src.phantom.scanner import Contrast, Grid, render
from src.phantom.tissue import T1, T2

RIGHT, LEFT = (f"{side}_neural_foraminal_narrowing" for side in ("right", "left"))


def contrast(weighting: str) -> Contrast:
    """No noise, no shading: the tissues alone."""
    return Contrast(weighting, 1.0, 0.0, 1e9, 0.3, (0.0, 0.0, 0.0))


def anatomy(seed: int = 0, narrowing: float | None = None) -> Anatomy:
    """A person whose sites are all narrowed alike, or at random."""
    rng = np.random.default_rng(seed)
    sites = draw_narrowing(rng)
    if narrowing is not None:
        sites["narrowing"] = narrowing
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


@pytest.mark.parametrize(
    ("family", "plane", "weighting", "half_px", "level"),
    [
        ("spinal", "sagittal", T2, 6, 0.7),
        ("foraminal", "sagittal", T1, 24, 0.8),
        ("subarticular", "axial", T2, 7, 0.55),
    ],
)
def test_the_graded_structure_closes_as_it_narrows(
    family: str, plane: str, weighting: str, half_px: int, level: float
) -> None:
    open_mm2 = []
    for narrowing in (0.0, 0.3, 0.55, 0.8, 1.0):
        person = anatomy(4, narrowing)
        centre = site_mm(person, FAMILIES[family][0])
        picture = crop(person, centre, plane, weighting)
        open_mm2.append(bright_mm2(picture, half_px, level))
    assert open_mm2 == sorted(open_mm2, reverse=True)
    assert open_mm2[-1] < 0.5 * open_mm2[0]


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


def test_fluid_is_bright_on_t2_and_dark_on_t1_and_fat_the_other_way() -> None:
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

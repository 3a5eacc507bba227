"""Jittered crops: as far and as often as the errors say, in pixels counted by hand."""

import numpy as np
import pytest

from src.training.site_jitter import SiteJitter

PX = 33
MIDDLE = PX // 2


def shifts(mm: list[float], slices: list[float], **given: float) -> np.ndarray:
    """Return where a bright pixel of the middle slice lands: slice, x, y [300, 3]."""
    crop = np.zeros((7, PX, PX), np.uint8)
    crop[3, MIDDLE, MIDDLE] = 240
    errors = [{"axial": True, "error_mm": mm, "slices_off": slices}]
    about = {"mm_per_px": 0.5, "spare": 2} | given
    jitter = SiteJitter(errors, **about)
    found = []
    for seed in range(300):
        moved = jitter(crop, True, seed).astype(float)
        weights = moved / moved.sum()
        grid = np.indices(crop.shape)
        place = (grid * weights).sum(axis=(1, 2, 3))
        found.append((place[0] - 3, place[2] - MIDDLE, place[1] - MIDDLE))
    return np.array(found)


def test_crops_are_shifted_by_millimetres_in_every_direction() -> None:
    # Even quantiles 0, 1, 4 mm: half of the sites within 1 mm, which is two pixels.
    moved = shifts([0.0, 1.0, 4.0], [1.0])
    radius_px = np.hypot(moved[:, 1], moved[:, 2])
    assert np.abs(moved[:, 0]).max() < 1e-9
    assert (radius_px <= 2).mean() == pytest.approx(0.5, abs=0.1)
    assert 7 < radius_px.max() <= 8.1
    angles = np.arctan2(moved[:, 2], moved[:, 1])
    quarters = np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0] / 300
    assert quarters == pytest.approx(np.full(4, 0.25), abs=0.1)


@pytest.mark.parametrize(
    ("spare", "expected"),
    [
        (2, {-2: 0.1, -1: 0.15, 0: 0.5, 1: 0.15, 2: 0.1}),
        (1, {-1: 0.25, 0: 0.5, 1: 0.25}),
        (0, {0: 1.0}),
    ],
)
def test_crops_are_stepped_by_slices_up_to_what_they_have_to_spare(
    spare: int, expected: dict[int, float]
) -> None:
    moved = shifts([0.0, 0.0], [0.5, 0.3, 0.15, 0.05], spare=spare)
    assert (moved[:, 1:] == 0).all()
    steps, counts = np.unique(moved[:, 0], return_counts=True)
    assert steps.tolist() == list(expected)
    assert counts / 300 == pytest.approx(list(expected.values()), abs=0.08)


def test_pixels_beyond_the_border_are_mirrored() -> None:
    bright = np.full((3, PX, PX), 90, np.uint8)
    errors = [{"axial": False, "error_mm": [9.0, 9.0], "slices_off": [1.0]}]
    assert (SiteJitter(errors, 1.0, 0)(bright, False, seed=4) == 90).all()


def test_a_plane_without_errors_is_left_as_it_is() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (3, PX, PX)).astype(np.uint8)
    errors = [{"axial": True, "error_mm": [3.0, 3.0], "slices_off": [0.0, 1.0]}]
    jitter = SiteJitter(errors, 1.0, 1)
    assert (jitter(crop, False, seed=4) == crop).all()
    assert (jitter(crop, True, seed=4) != crop).any()

"""The bent coordinates: there and back, and which way they point."""

import numpy as np
import pytest

from src.phantom.spine import LUMBAR_DISCS, Spine, draw_spine, smoothed


def spine(seed: int) -> Spine:
    return draw_spine(np.random.default_rng(seed), np.zeros(5), 1.0, False)


@pytest.mark.parametrize("seed", range(12))
def test_straight_coordinates_come_back(seed: int) -> None:
    drawn = spine(seed)
    rng = np.random.default_rng(seed)
    top, bottom = drawn.disc_mm[LUMBAR_DISCS][[0, -1]]
    straight = rng.uniform([-30, -40, top - 20], [30, 40, bottom + 10], (500, 3))
    back = drawn.to_straight(drawn.to_patient(straight))
    assert np.abs(back - straight).max() < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_left_back_and_down_are_the_patients(seed: int) -> None:
    drawn = spine(seed)
    disc = drawn.disc_mm[LUMBAR_DISCS][2]
    here, left, back, down = drawn.to_patient(
        np.add([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], [0, 0, disc])
    )
    assert (left - here)[0] > 9
    assert (back - here)[1] > 8
    assert (down - here)[2] < -8


def test_frames_are_right_angled_and_of_unit_length() -> None:
    axes = spine(0).axes
    products = np.einsum("nij,nkj->nik", axes, axes)
    assert np.allclose(products, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_levels_are_as_far_apart_as_in_adults(seed: int) -> None:
    steps = np.diff(spine(seed).disc_mm[LUMBAR_DISCS])
    assert steps.min() > 28
    assert steps.max() < 48


def test_lost_height_narrows_the_discs_alone() -> None:
    rng = [np.random.default_rng(3) for _ in range(2)]
    whole, worn = (
        draw_spine(r, np.full(5, w), 1.0, False)
        for r, w in zip(rng, (0.0, 0.4), strict=True)
    )
    share = worn.disc_height_mm[LUMBAR_DISCS] / whole.disc_height_mm[LUMBAR_DISCS]
    assert share == pytest.approx(0.6)


def test_smoothing_keeps_a_constant_and_flattens_a_spike() -> None:
    assert smoothed(np.full(50, 3.0), 5) == pytest.approx(3.0)
    spike = np.zeros(101)
    spike[50] = 1
    blurred = smoothed(spike, 5)
    assert blurred.sum() == pytest.approx(1)
    # A Gaussian of 5 samples is 1 / (5 sqrt(2 pi)) high.
    assert blurred[50] == pytest.approx(1 / (5 * np.sqrt(2 * np.pi)), rel=1e-3)

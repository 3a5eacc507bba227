"""Joint level assignment, on candidates whose best order is worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest

from src.localization.heatmap_peaks import Peak
from src.localization.level_assignment import assign_levels
from src.localization.spine_prior import LevelSpacing

STEPS = {
    "l1_l2": LevelSpacing(32, 5),
    "l2_l3": LevelSpacing(30, 6),
    "l3_l4": LevelSpacing(30, 8),
}


def at(height_mm: float, share: float, left_mm: float = 0.0) -> Peak:
    return Peak(0, np.zeros(2), np.array([left_mm, 0, height_mm]), share)


def heights(chosen: list[Peak | None]) -> list[float | None]:
    return [None if one is None else float(one.point_mm[2]) for one in chosen]


def test_the_best_of_each_is_taken_where_it_is_in_order() -> None:
    levels = [[at(60, 0.9)], [at(30, 0.8), at(60, 0.1)], [at(0, 0.7)]]
    assert heights(assign_levels(levels, {})) == [60, 30, 0]


def test_two_levels_on_one_disc_are_taken_apart() -> None:
    # The second level likes the first's disc best: .9 * .3 beats leaving one out.
    levels = [[at(60, 0.9)], [at(60, 0.7), at(30, 0.3)], [at(0, 0.9)]]
    assert heights(assign_levels(levels, {})) == [60, 30, 0]


def test_swapped_levels_are_corrected_by_their_second_peaks() -> None:
    levels = [[at(30, 0.6), at(60, 0.4)], [at(60, 0.6), at(30, 0.4)]]
    assert heights(assign_levels(levels, {})) == [60, 30]


def test_a_level_without_a_fitting_candidate_is_missing() -> None:
    levels = [[at(60, 0.9)], [at(58, 0.9)], [at(30, 0.9)]]
    chosen = heights(assign_levels(levels, {}))
    assert chosen.count(None) == 1
    assert chosen[2] == 30
    assert heights(assign_levels([[], [], []], {})) == [None, None, None]


def test_a_skipped_level_is_corrected_by_the_usual_spacing() -> None:
    # The upper two prefer the discs above their own; a gap of 60 mm gives it away.
    levels = [
        [at(90 + 32, 0.8), at(90, 0.05)],
        [at(90, 0.8), at(60, 0.05)],
        [at(30, 0.9)],
    ]
    assert heights(assign_levels(levels, {})) == [122, 90, 30]
    assert heights(assign_levels(levels, STEPS)) == [90, 60, 30]


def test_a_level_out_of_view_leaves_a_gap_of_two_steps() -> None:
    levels = [[at(62, 0.9)], [at(45, 0.1)], [at(0, 0.9)]]
    assert heights(assign_levels(levels, STEPS)) == [62, None, 0]


def test_with_unknown_spacing_the_masses_decide() -> None:
    levels = [[at(200, 0.6), at(62, 0.4)], [at(30, 0.8)]]
    assert heights(assign_levels(levels, {"l2_l3": LevelSpacing(30, 6)})) == [200, 30]
    assert heights(assign_levels(levels, STEPS)) == [62, 30]


def test_a_step_is_as_long_as_it_is_in_space() -> None:
    # Both lie 32 mm away, and by height alone the second would be a better step.
    leaning, upright = at(60 - 25.6, 0.5, left_mm=19.2), at(60 - 32, 0.4)
    assert assign_levels([[at(60, 0.9)], [leaning, upright]], STEPS)[1] is leaning
    # A step of 32 mm by height alone is one of 45 mm in space.
    far = at(60 - 32, 0.5, left_mm=32)
    assert assign_levels([[at(60, 0.9)], [far, upright]], STEPS)[1] is upright


def test_a_level_beside_the_one_above_it_is_not_below_it() -> None:
    levels = [[at(60, 0.9)], [at(58, 0.9, left_mm=30), at(30, 0.1)]]
    assert heights(assign_levels(levels, STEPS)) == [60, 30]
    assert heights(assign_levels(levels, {})) == [60, 30]


@pytest.mark.parametrize("steps", [{}, STEPS])
def test_viterbi_finds_the_best_of_all_combinations(
    steps: dict[str, LevelSpacing],
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        levels = [
            [at(rng.uniform(0, 150), rng.uniform(0.1, 1)) for _ in range(3)]
            for _ in range(4)
        ]
        best, choice = 0.0, None
        for indices in np.ndindex(4, 4, 4, 4):
            some = [[*levels[k], None][index] for k, index in enumerate(indices)]
            product = np.prod([1e-3 if one is None else one.mass for one in some])
            product *= likelihood(heights(some), list(steps.values()))
            if product > best:
                best, choice = product, some
        assert assign_levels(levels, steps) == choice


def likelihood(z: list[float | None], steps: list[LevelSpacing]) -> float:
    """Return the prior of heights, each gap's Gaussian 1 at its mean."""
    product = 1.0
    known = [index for index, one in enumerate(z) if one is not None]
    for upper, lower in pairwise(known):
        if z[upper] - z[lower] < 12:
            return 0.0
        if steps:
            usual = sum(step.mean_mm for step in steps[upper:lower])
            variance = sum(step.sd_mm**2 for step in steps[upper:lower])
            off = z[upper] - z[lower] - usual
            product *= np.exp(-(off**2) / (2 * variance))
    return product

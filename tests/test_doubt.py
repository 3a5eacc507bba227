"""How likely a grade is wrong, worked out by hand."""

import numpy as np
import pytest

from src.competition.constants import LEVELS, SPINAL
from src.inference.doubt import unweighted, wrong_probabilities, wrong_probability
from src.localization.level_shift import NO_SHIFT, LevelShift

LEFT = "left_subarticular_stenosis"
SHIFT = LevelShift(too_high=0.2, too_low=0.1)


def answer(*probabilities: float) -> np.ndarray:
    """Return what a network that believes these answers to a loss weighted 1, 2, 4."""
    weighted = np.array(probabilities) * (1, 2, 4)
    return weighted / weighted.sum()


PRIOR = {
    (name, level): answer(0.8, 0.15, 0.05)
    for name in (SPINAL, LEFT)
    for level in LEVELS
}
GRADED = {
    (SPINAL, "l2_l3"): answer(0.7, 0.2, 0.1),
    (SPINAL, "l3_l4"): answer(0.5, 0.25, 0.25),
    (SPINAL, "l4_l5"): answer(0.2, 0.2, 0.6),
    (LEFT, "l2_l3"): answer(0.9, 0.05, 0.05),
}


def test_an_answer_gives_back_the_probabilities_behind_it() -> None:
    assert unweighted(answer(0.5, 0.3, 0.2)) == pytest.approx([0.5, 0.3, 0.2])
    both = np.stack([answer(0.1, 0.1, 0.8), answer(0.2, 0.7, 0.1)])
    assert unweighted(both) == pytest.approx(
        np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    )
    assert np.isfinite(unweighted(np.zeros(3))).all()


def test_the_grade_is_the_largest_answer_though_it_is_believed_the_least() -> None:
    given = answer(0.5, 0.25, 0.25)  # 1/4, 1/4, 1/2: severe
    assert wrong_probability(given, unweighted(given)) == pytest.approx(0.75)


def test_without_doubt_about_levels_the_own_answer_counts() -> None:
    wrong = wrong_probabilities(GRADED, PRIOR, NO_SHIFT)
    assert wrong == pytest.approx(
        {
            (SPINAL, "l2_l3"): 0.3,
            (SPINAL, "l3_l4"): 0.75,
            (SPINAL, "l4_l5"): 0.4,
            (LEFT, "l2_l3"): 0.1,
        }
    )


def test_where_levels_may_be_off_the_neighbours_answers_count() -> None:
    wrong = wrong_probabilities(GRADED, PRIOR, SHIFT)
    # Severe: .7 of itself, .2 of the level below, .1 of the level above.
    severe = 0.7 * 0.25 + 0.2 * 0.6 + 0.1 * 0.1
    assert wrong[SPINAL, "l3_l4"] == pytest.approx(1 - severe)


def test_a_neighbour_that_was_not_graded_is_the_levels_own_prior() -> None:
    wrong = wrong_probabilities(GRADED, PRIOR, SHIFT)
    # The canal of l5_s1 and of l1_l2 was not graded; no other condition stands in.
    severe = 0.7 * 0.6 + 0.2 * 0.05 + 0.1 * 0.25
    assert wrong[SPINAL, "l4_l5"] == pytest.approx(1 - severe)
    normal = 0.7 * 0.7 + 0.2 * 0.5 + 0.1 * 0.8
    assert wrong[SPINAL, "l2_l3"] == pytest.approx(1 - normal)


@pytest.mark.parametrize(("level", "beyond"), [("l1_l2", 0.1), ("l5_s1", 0.2)])
def test_beyond_the_five_levels_is_the_prior(level: str, beyond: float) -> None:
    graded = {(LEFT, each): answer(0.4, 0.3, 0.3) for each in LEVELS}
    wrong = wrong_probabilities(graded, PRIOR, SHIFT)
    severe = (1 - beyond) * 0.3 + beyond * 0.05
    assert wrong[LEFT, level] == pytest.approx(1 - severe)
    assert wrong[LEFT, "l3_l4"] == pytest.approx(0.7)

"""How likely a finding's grade is wrong."""

from collections.abc import Mapping

import numpy as np

from src.classification.ensemble import MIN_PROBABILITY
from src.competition.constants import LEVELS, SEVERITY_WEIGHTS
from src.localization.level_shift import LevelShift
from src.localization.spine_prior import Target

Grades = Mapping[Target, np.ndarray]  # probabilities [3] of the severities


def unweighted(probabilities: np.ndarray) -> np.ndarray:
    """Turn answers [..., 3] to the weighted log loss into plain probabilities.

    With weights w the loss is least where an answer is in proportion to w times the
    probability, for each class; so answers, priors too, are divided by the weights.
    """
    shares = np.maximum(probabilities, MIN_PROBABILITY) / SEVERITY_WEIGHTS
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def wrong_probability(answer: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """Return the probability [...] that the grade of answers [..., 3] is wrong.

    The grade is the class with the largest answer. believed: [..., 3], the plain
    probability of each class.
    """
    grade = np.argmax(answer, axis=-1)[..., None]
    return np.asarray(1 - np.take_along_axis(believed, grade, axis=-1)[..., 0])


def wrong_probabilities(
    graded: Grades, prior: Grades, shift: LevelShift
) -> dict[Target, float]:
    """Estimate how likely each grade of a study is wrong.

    The ensemble's calibrated answer a of a level, less the weights of the loss, counts
    as far as the levels are right. Where all were found one too high (probability h),
    the level's true disc is the one answered as the next lower level; where one too low
    (l), as the next higher one:

        believed = (1 - h - l) u(a) + h u(a of the level below) + l u(a of that above)
        wrong = 1 - believed[the grade], the largest of a

    with u of `unweighted`. Beyond the five levels, and for a neighbour without a grade,
    the level's own prior stands in. Members of the ensemble that disagree make its
    answer flatter. The location's confidence is no part of it: it is no probability
    that a site is right (0 for a projected one).
    """
    certain = 1 - shift.probability
    wrong = {}
    for target, answer in graded.items():
        believed = (
            certain * unweighted(answer)
            + shift.too_high * unweighted(_neighbour(graded, prior, target, 1))
            + shift.too_low * unweighted(_neighbour(graded, prior, target, -1))
        )
        wrong[target] = float(wrong_probability(answer, believed))
    return wrong


def _neighbour(graded: Grades, prior: Grades, target: Target, step: int) -> np.ndarray:
    """Return the answer of the level below (1) or above (-1), else the own prior."""
    condition, level = target
    index = LEVELS.index(level) + step
    if 0 <= index < len(LEVELS) and (condition, LEVELS[index]) in graded:
        return graded[condition, LEVELS[index]]
    return prior[target]

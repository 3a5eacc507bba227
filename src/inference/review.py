"""The findings that a person should look at first."""

from collections.abc import Callable
from math import ceil

import numpy as np
import pandas as pd

from src.classification.ensemble import MIN_PROBABILITY
from src.competition.constants import (
    FAMILIES,
    FAMILY_OF,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)
from src.inference.doubt import unweighted

ROUNDING = 1e-9  # of share x findings: .07 x 100 is more than 7


def expected_losses(findings: pd.DataFrame) -> np.ndarray:
    """Return what each finding [n] is expected to cost in the competition's score.

    That is what a person who corrects it would save: the sum over the severities of
    probability x weight x -log(answer), by how few rows its family's term is a mean of.
    The grade has the probability 1 - wrong_probability; the other two share the rest as
    the answer, less the weights, does. Up to a factor; without the term of any severe
    canal.
    """
    answers = findings[list(SEVERITIES)].to_numpy(float)
    answers = np.maximum(answers, MIN_PROBABILITY)
    is_grade = np.eye(len(SEVERITIES), dtype=bool)[answers.argmax(axis=1)]
    others = np.where(is_grade, 0.0, unweighted(answers))
    others /= others.sum(axis=1, keepdims=True)
    wrong = findings["wrong_probability"].to_numpy(float)[:, None]
    believed = np.where(is_grade, 1 - wrong, wrong * others)
    losses = (believed * SEVERITY_WEIGHTS * -np.log(answers)).sum(axis=1)
    rows = findings["condition"].map(lambda name: len(FAMILIES[FAMILY_OF[name]]))
    return np.asarray(losses / rows.to_numpy(float))


def mark_for_review(
    findings: pd.DataFrame,
    share: float,
    ranking: Callable[[pd.DataFrame], np.ndarray] = expected_losses,
) -> pd.DataFrame:
    """Set the column `review` to 1 for a share of all findings, to 0 for the others.

    share: above 0, at most 1, rounded up to whole findings. Marked are those that the
    ranking gives the largest values [n]; of equal ones the first.
    """
    order = np.argsort(-ranking(findings), kind="stable")
    review = np.zeros(len(findings), int)
    review[order[: ceil(share * len(findings) - ROUNDING)]] = 1
    return findings.assign(review=review)

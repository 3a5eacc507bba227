"""Out-of-fold grades with planted errors, drawn from known probabilities."""

import numpy as np
import pandas as pd

from src.classification.calibration import PROBABILITY_COLUMNS
from src.classification.family_sites import PRIOR_COLUMNS
from src.competition.constants import (
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)
from src.competition.tables import SITE

BEST_COLUMNS = [f"best_{name}" for name in SEVERITIES]
# Added to the log odds of severe, from the highest level to the lowest.
LEVEL_BIAS = dict(zip(LEVELS, (-1.5, -0.75, 0.0, 0.75, 1.5), strict=True))


def normalized(rows: np.ndarray) -> np.ndarray:
    """Divide rows [n, 3] by their sums."""
    return rows / rows.sum(axis=1, keepdims=True)


def planted(
    studies: int = 120, seed: int = 0, sharpened: float = 1.0, level_bias: float = 0.0
) -> pd.DataFrame:
    """Grades of all 25 sites of each study, wrong in a known way.

    sharpened: the factor on log probabilities; level_bias: that on LEVEL_BIAS. The best
    prediction under the metric's weights, BEST_COLUMNS, is the true probabilities times
    these weights. The prior is the weighted shares of all sites.
    """
    rng = np.random.default_rng(seed)
    keys = pd.MultiIndex.from_product([range(studies), CONDITIONS, LEVELS], names=SITE)
    table = keys.to_frame(index=False)
    true = rng.dirichlet((2.0, 0.7, 0.4), len(table))
    below = true.cumsum(axis=1)[:, :2]
    grades = (rng.random(len(table))[:, None] > below).sum(axis=1)
    best = normalized(true * SEVERITY_WEIGHTS)
    biased = best**sharpened
    biased[:, 2] *= np.exp(level_bias * table["level"].map(LEVEL_BIAS))
    shares = normalized(np.bincount(grades)[None] * np.array(SEVERITY_WEIGHTS))
    table["severity"] = np.array(SEVERITIES, dtype=object)[grades]
    table[PROBABILITY_COLUMNS] = normalized(biased)
    table[BEST_COLUMNS] = best
    table[PRIOR_COLUMNS] = np.repeat(shares, len(table), axis=0)
    return table


def at_random(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Replace the grades by random probabilities."""
    rows = np.random.default_rng(seed).dirichlet((1, 1, 1), len(table))
    return table.assign(**dict(zip(PROBABILITY_COLUMNS, rows.T, strict=True)))


def family_loss(table: pd.DataFrame, rows: np.ndarray, family: str) -> float:
    """The weighted log loss of a family's rows [n, 3], written out."""
    total = weights = 0.0
    for severity, condition, row in zip(
        table["severity"], table["condition"], rows, strict=True
    ):
        if FAMILY_OF[condition] == family:
            weight = 2 ** SEVERITIES.index(severity)
            total -= weight * np.log(row[SEVERITIES.index(severity)])
            weights += weight
    return total / weights

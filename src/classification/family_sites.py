"""A family's graded sites, and by how much a correction of them lowers the score.

The losses are the competition's weighted log losses; the error of a gain is over
studies, as sites of one study are alike.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from src.classification.calibration import CLASSES, PROBABILITY_COLUMNS, Correction
from src.competition.constants import (
    FAMILIES,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)

MARGIN = 1.0  # standard errors that a gain must exceed to be shown
PRIOR_COLUMNS = [f"prior_{name}" for name in SEVERITIES]


@dataclass(frozen=True, eq=False)
class Gain:
    """How much a weighted mean loss falls.

    deviations: [studies], of each study's share from the mean; the mean is a ratio of
    two sums over studies, linearized here.
    """

    mean: float
    deviations: np.ndarray

    @property
    def standard_error(self) -> float:
        """The standard error of the mean over studies."""
        count = len(self.deviations)
        return float(np.sqrt((self.deviations**2).sum() / (count * max(count - 1, 1))))

    @property
    def is_shown(self) -> bool:
        """Whether the gain exceeds the margin."""
        return self.mean > MARGIN * self.standard_error

    def __add__(self, other: "Gain") -> "Gain":
        """Add the gain of another term over the same studies."""
        return Gain(self.mean + other.mean, self.deviations + other.deviations)


def negative_log(probabilities: np.ndarray) -> np.ndarray:
    """Return -log p, of probabilities kept off 0 as the metric keeps them."""
    return -np.log(np.maximum(probabilities, np.finfo(float).eps))


def weighted_gain(fall: np.ndarray, weights: np.ndarray, studies: np.ndarray) -> Gain:
    """Average the fall of each row's loss [n] by its weight; studies: [n], indices."""
    _, index = np.unique(studies, return_inverse=True)
    total, gained = np.bincount(index, weights), np.bincount(index, weights * fall)
    mean = gained.sum() / total.sum()
    return Gain(float(mean), (gained - mean * total) / total.mean())


@dataclass(frozen=True, eq=False)
class FamilySites:
    """The out-of-fold predictions of a family's n sites.

    probabilities, prior: [n, 3]; levels, classes: [n], indices; studies: [n], their
    indices among the family's studies.
    """

    probabilities: np.ndarray
    prior: np.ndarray
    levels: np.ndarray
    classes: np.ndarray
    studies: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The metric's weight of each site [n]."""
        return np.array(SEVERITY_WEIGHTS, dtype=float)[self.classes]

    def rows(self, own: np.ndarray) -> "FamilySites":
        """Keep the sites of a mask [n]."""
        return FamilySites(*(getattr(self, one.name)[own] for one in fields(self)))

    def corrected(self, correction: Correction) -> np.ndarray:
        """Return the sites' corrected probabilities [n, 3]."""
        return correction.apply(self.probabilities, self.levels, self.prior)

    def loss(self, probabilities: np.ndarray) -> float:
        """Return the family's term of the score, given probabilities [n, 3]."""
        return float(np.average(self.losses(probabilities), weights=self.weights))

    def losses(self, probabilities: np.ndarray) -> np.ndarray:
        """Return -log p of each site's severity [n], given probabilities [n, 3]."""
        return negative_log(self.of_own_class(probabilities))

    def of_own_class(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probability of each site's severity [n], given all [n, 3]."""
        return probabilities[np.arange(len(self.classes)), self.classes]

    def gain(self, before: np.ndarray, after: np.ndarray) -> Gain:
        """Compare two predictions [n, 3] by the family's term of the score."""
        fall = self.losses(before) - self.losses(after)
        return weighted_gain(fall, self.weights, self.studies)

    def spinal_gain(self, before: np.ndarray, after: np.ndarray) -> Gain:
        """Compare two predictions by both terms of the canal, any_severe included."""
        # The metric's own function joins rows by name: too slow for a search.
        studies, index = np.unique(self.studies, return_inverse=True)
        worst = np.zeros(len(studies), int)
        np.maximum.at(worst, index, self.classes)
        weights = np.array(SEVERITY_WEIGHTS, dtype=float)[worst]

        def losses(probabilities: np.ndarray) -> np.ndarray:
            largest = np.zeros(len(studies))
            np.maximum.at(largest, index, probabilities[:, -1])
            is_severe = worst == CLASSES - 1
            return negative_log(np.where(is_severe, largest, 1 - largest))

        any_severe = weighted_gain(losses(before) - losses(after), weights, studies)
        return self.gain(before, after) + any_severe


def families_of(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, FamilySites]]:
    """Return each family that has sites: the mask of its rows, and its sites.

    table: as fit_calibration takes it.
    """
    families = table["condition"].map(FAMILY_OF)
    rows = {family: (families == family).to_numpy() for family in FAMILIES}
    return {
        family: (own, _sites(table, own)) for family, own in rows.items() if own.any()
    }


def _sites(table: pd.DataFrame, own: np.ndarray) -> FamilySites:
    studies = np.unique(table.loc[own, "study_id"], return_inverse=True)[1]
    return FamilySites(
        table.loc[own, PROBABILITY_COLUMNS].to_numpy(float),
        table.loc[own, PRIOR_COLUMNS].to_numpy(float),
        table.loc[own, "level"].map(LEVELS.index).to_numpy(int),
        table.loc[own, "severity"].map(SEVERITIES.index).to_numpy(int),
        studies,
    )

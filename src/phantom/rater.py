"""Narrowing of the sites, the severities a rater assigns, and the ideal observer.

Narrowing runs from 0 (open) to 1 (closed). A rater observes it with Gaussian noise and
applies two thresholds, so the probability of each severity given the narrowing is
known, and with it the best possible prediction.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd

from src.competition.constants import (
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)

THRESHOLDS = (0.40, 0.65)  # normal/mild | moderate | severe
RATER_NOISE = 0.07
# Part of the latent variance shared by a study, and by a level of that study.
STUDY_SHARE, LEVEL_SHARE = 0.35, 0.25

# Percent of sites rated moderate and severe, l1_l2 to l5_s1. Chosen so that all sites
# together have the competition's 16.3 % and 6.3 %, worst at l4_l5 as there.
MODERATE_PERCENT = {
    "spinal": (3, 6, 10, 13, 4),
    "foraminal": (5, 12, 20, 29, 28),
    "subarticular": (8, 15, 21, 27, 19),
}
SEVERE_PERCENT = {
    "spinal": (0.8, 2.5, 6, 11, 2),
    "foraminal": (0.5, 1.2, 3, 6.5, 8.5),
    "subarticular": (1.6, 5.2, 11, 20, 9.5),
}

_NORMAL = NormalDist()


def _observed_normal(family: str, level: int) -> tuple[float, float]:
    """Return mean and std of the observed narrowing that give these percentages."""
    severe = SEVERE_PERCENT[family][level] / 100
    abnormal = severe + MODERATE_PERCENT[family][level] / 100
    low, high = _NORMAL.inv_cdf(1 - abnormal), _NORMAL.inv_cdf(1 - severe)
    std = (THRESHOLDS[1] - THRESHOLDS[0]) / (high - low)
    return THRESHOLDS[0] - low * std, std


def draw_narrowing(rng: np.random.Generator) -> pd.DataFrame:
    """Draw a study's 25 narrowings: columns condition, level, narrowing (0 to 1)."""
    study = rng.normal()
    levels = rng.normal(size=len(LEVELS))
    own_share = 1 - STUDY_SHARE - LEVEL_SHARE
    rows = []
    for condition in CONDITIONS:
        for index, level in enumerate(LEVELS):
            latent = (
                np.sqrt(STUDY_SHARE) * study
                + np.sqrt(LEVEL_SHARE) * levels[index]
                + np.sqrt(own_share) * rng.normal()
            )
            mean, std = _observed_normal(FAMILY_OF[condition], index)
            narrowing = mean + np.sqrt(std**2 - RATER_NOISE**2) * latent
            rows.append((condition, level, float(np.clip(narrowing, 0, 1))))
    return pd.DataFrame(rows, columns=["condition", "level", "narrowing"])


def draw_severity(narrowing: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Draw the severity that a rater assigns to each narrowing [n]."""
    observed = narrowing + rng.normal(0, RATER_NOISE, len(narrowing))
    return [SEVERITIES[grade] for grade in np.digitize(observed, THRESHOLDS)]


def severity_probabilities(narrowing: np.ndarray) -> np.ndarray:
    """Return the probability [n, 3] of each severity, given the narrowing [n]."""
    low, high = (
        np.array([_NORMAL.cdf((edge - value) / RATER_NOISE) for value in narrowing])
        for edge in THRESHOLDS
    )
    return np.stack([low, high - low, 1 - high], axis=1)


def ideal_probabilities(narrowing: np.ndarray) -> np.ndarray:
    """Return the prediction [n, 3] of least expected loss, given the narrowing [n].

    Under weights w the loss sum(w_y * -log p_y) is least where p is probability times
    w, normalized to sum to 1. For the any-severe term this is only nearly optimal.
    """
    weighted = severity_probabilities(narrowing) * SEVERITY_WEIGHTS
    return weighted / weighted.sum(axis=1, keepdims=True)

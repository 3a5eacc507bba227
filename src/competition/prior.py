"""Constant predictions, made without images: the floor to beat, and the fallback.

A prior is a table of 25 rows: condition, level and the three probabilities. Shares
are weighted by the metric's 1, 2, 4, because that constant minimizes the weighted log
loss; unweighted ones score worse than 1/3.
"""

import numpy as np
import pandas as pd

from src.competition.constants import (
    CONDITIONS,
    FAMILIES,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)
from src.competition.metric import Score, score
from src.competition.submission import from_prior
from src.errors import UserError

_THIRDS = np.full(len(SEVERITIES), 1 / len(SEVERITIES))


def uniform() -> pd.DataFrame:
    """Predict 1/3 everywhere, as sample_submission.csv does."""
    return _same_for_all(_THIRDS)


def class_frequencies(labels: pd.DataFrame) -> pd.DataFrame:
    """Predict each severity's share of the labels."""
    counts = _counts(labels).sum(axis=(0, 1))
    return _same_for_all(counts / counts.sum())


def weighted_shares(labels: pd.DataFrame) -> pd.DataFrame:
    """Predict each severity's share of the labels' weight."""
    return _same_for_all(_shares(_weighted(labels).sum(axis=(0, 1))))


def weighted_shares_by_level(
    labels: pd.DataFrame, pseudo_count: float = 0.0
) -> pd.DataFrame:
    """Predict the weighted shares of each condition and level, both sides pooled.

    A condition and level without a label gets the weighted shares of all labels.
    pseudo_count: the weight of these shares that is added to each condition and level,
    and of thirds that is added to all labels, so that no probability is 0.
    """
    weighted = _weighted(labels)
    overall = _shares(weighted.sum(axis=(0, 1)) + pseudo_count * _THIRDS)
    labelled = weighted.sum(axis=-1, keepdims=True) > 0
    shares = _shares(np.where(labelled, weighted + pseudo_count * overall, overall))
    families = list(FAMILIES)
    return _table(np.stack([shares[families.index(FAMILY_OF[c])] for c in CONDITIONS]))


def smoothed_prior(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the prior for studies not in `labels`: by level, with a pseudo-count of 1.

    Without it, a severity that a small cohort happens to lack would cost 36 a row.
    """
    return weighted_shares_by_level(labels, pseudo_count=1.0)


def floor(labels: pd.DataFrame, truth: pd.DataFrame) -> Score:
    """Score the fallback made from `labels` on the labels in `truth`."""
    return _constant(smoothed_prior(labels), truth)


def floors(labels: pd.DataFrame) -> dict[str, Score]:
    """Score each constant on the labels it is made from."""
    priors = {
        "uniform": uniform(),
        "class_frequencies": class_frequencies(labels),
        "weighted_shares": weighted_shares(labels),
        "weighted_shares_by_level": weighted_shares_by_level(labels),
    }
    return {name: _constant(prior, labels) for name, prior in priors.items()}


def _constant(prior: pd.DataFrame, truth: pd.DataFrame) -> Score:
    return score(truth, from_prior(truth["study_id"].unique().tolist(), prior))


def _counts(labels: pd.DataFrame) -> np.ndarray:
    """Count labels as [family, level, severity]."""
    labelled = labels[labels["severity"].notna()]
    if labelled.empty:
        raise UserError("The labels name no severity, so there are no shares of it.")
    counts = np.zeros((len(FAMILIES), len(LEVELS), len(SEVERITIES)))
    family = labelled["condition"].map(FAMILY_OF).map(list(FAMILIES).index)
    level = labelled["level"].map(LEVELS.index)
    severity = labelled["severity"].map(SEVERITIES.index)
    np.add.at(counts, (family.to_numpy(), level.to_numpy(), severity.to_numpy()), 1)
    return counts


def _weighted(labels: pd.DataFrame) -> np.ndarray:
    return _counts(labels) * SEVERITY_WEIGHTS


def _shares(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


def _same_for_all(shares: np.ndarray) -> pd.DataFrame:
    return _table(np.broadcast_to(shares, (len(CONDITIONS), len(LEVELS), len(shares))))


def _table(shares: np.ndarray) -> pd.DataFrame:
    """Turn [condition, level, severity] into a prior's 25 rows."""
    targets = pd.MultiIndex.from_product(
        [CONDITIONS, LEVELS], names=["condition", "level"]
    )
    rows = shares.reshape(len(targets), -1)
    return pd.DataFrame(rows, index=targets, columns=list(SEVERITIES)).reset_index()

"""Calibration of severity runs: a correction a family, a factor for the severe canal.

Applied to the ensemble's probabilities, not to each run's, in this order: a linear map
of the log probabilities, the blend with the prior, then the canal's factor.
calibration_fit.py fits it on out-of-fold predictions.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.classification.ensemble import (
    ENSEMBLE_RULE,
    MIN_PROBABILITY,
    ensemble_tables,
)
from src.competition.constants import FAMILIES, FAMILY_OF, LEVELS, SEVERITIES
from src.competition.tables import SITE
from src.errors import UserError
from src.files import write_json

CALIBRATION_FILE = "calibration.json"
VERSION = 2  # of the file; the first had a temperature a family and no version
METHODS = ("identity", "temperature", "logistic")  # the simplest first
MIN_FACTOR, MAX_FACTOR = 0.01, 100.0  # that a file may hold: of any fit by far
PROBABILITY_COLUMNS = list(SEVERITIES)
CLASSES = len(SEVERITIES)


def _unit_matrix() -> list[list[float]]:
    return np.eye(CLASSES).tolist()


def _no_intercepts() -> dict[str, list[float]]:
    return {level: [0.0] * CLASSES for level in LEVELS}


@dataclass(frozen=True)
class Correction:
    """A family's correction.

    method: of METHODS, that gave matrix and intercepts. matrix: [3][3], multiplies the
    log probabilities; intercepts: [3] by level, added to them; prior_weight: the
    prior's share in the blend of probabilities; gain: the improvement of the family's
    weighted log loss on studies that it was not fitted on, and its standard error.
    """

    method: str = "identity"
    matrix: list[list[float]] = field(default_factory=_unit_matrix)
    intercepts: dict[str, list[float]] = field(default_factory=_no_intercepts)
    prior_weight: float = 0.0
    gain: float = 0.0
    standard_error: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether it leaves probabilities as they are."""
        return self.method == "identity" and self.prior_weight == 0

    @property
    def temperature(self) -> float | None:
        """The divisor of log probabilities; None for another method than that."""
        return 1 / self.matrix[0][0] if self.method == "temperature" else None

    def apply(
        self, probabilities: np.ndarray, levels: np.ndarray, prior: np.ndarray
    ) -> np.ndarray:
        """Correct a family's probabilities [n, 3].

        levels: [n], indices of LEVELS; prior: [n, 3], of the same sites.
        """
        intercepts = np.array([self.intercepts[level] for level in LEVELS])
        logits = log_ratios(probabilities) @ np.array(self.matrix).T
        return blend(softmax(logits + intercepts[levels]), prior, self.prior_weight)


@dataclass(frozen=True)
class Calibration:
    """A correction of probabilities.

    families: each family's correction; any_severe: the factor on the spinal canal's
    probability of severe, before normalizing again; gain: the improvement in score on
    studies that it was not fitted on.
    """

    families: dict[str, Correction]
    any_severe: float = 1.0
    gain: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether it leaves all probabilities as they are."""
        return self.any_severe == 1 and all(
            correction.is_identity for correction in self.families.values()
        )

    @property
    def prior_weights(self) -> dict[str, float]:
        """The prior's share by family, of those that are blended with it."""
        weights = {name: one.prior_weight for name, one in self.families.items()}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def apply(
        self, probabilities: np.ndarray, sites: pd.DataFrame, prior: np.ndarray
    ) -> np.ndarray:
        """Correct the probabilities [n, 3] of sites.

        sites: a row a site, condition and level; prior: [n, 3], the sites' prior.
        """
        families = sites["condition"].map(FAMILY_OF)
        levels = sites["level"].map(LEVELS.index).to_numpy(int)
        out = np.array(probabilities, dtype=float)
        for family, correction in self.families.items():
            own = (families == family).to_numpy()
            out[own] = correction.apply(out[own], levels[own], prior[own])
        spinal = (families == "spinal").to_numpy()
        out[spinal] = raise_severe(out[spinal], self.any_severe)
        return out


IDENTITY = Calibration({family: Correction() for family in FAMILIES})


def log_ratios(probabilities: np.ndarray) -> np.ndarray:
    """Return log probabilities [n, 3] less each row's mean: centred log ratios."""
    logs = np.log(np.clip(probabilities, MIN_PROBABILITY, 1))
    return logs - logs.mean(axis=1, keepdims=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits [n, 3]."""
    out = np.exp(logits - logits.max(axis=1, keepdims=True))
    return out / out.sum(axis=1, keepdims=True)


def blend(probabilities: np.ndarray, prior: np.ndarray, weight: float) -> np.ndarray:
    """Mix probabilities [n, 3] with the prior's, by their arithmetic mean.

    No log-linear correction can bound the loss of a grade that is sure and wrong; this
    one does, by -log(weight x prior).
    """
    return (1 - weight) * probabilities + weight * prior


def raise_severe(probabilities: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the probability of severe [n, 3] by a factor and normalize again."""
    out = probabilities * np.array([1.0] * (CLASSES - 1) + [factor])
    return out / out.sum(axis=1, keepdims=True)


def out_of_fold_probabilities(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Ensemble severity runs' predictions of the sites that they were tested on.

    tables: predictions.csv's columns, class ids of SEVERITIES. Returns SITE, severity
    and PROBABILITY_COLUMNS, a site once.
    """
    columns = {f"p_{name}": name for name in SEVERITIES}
    sites = ensemble_tables(tables, [*SITE, "truth"], list(columns))
    severity = sites.pop("truth").map(lambda index: SEVERITIES[index])
    return sites.rename(columns=columns).assign(severity=severity)


def save_calibration(calibration: Calibration, runs: Path, names: list[str]) -> None:
    """Write a calibration of the named runs into their folder."""
    made_for = {"runs": sorted(names), "ensemble": ENSEMBLE_RULE, "version": VERSION}
    write_json({**asdict(calibration), **made_for}, runs / CALIBRATION_FILE)


_RAISED_BY_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError),
)


def load_calibration(runs: Path, names: list[str]) -> Calibration | None:
    """Read the calibration of these very runs; None where there is none.

    Raises UserError for a file that is damaged, of another version, or was fitted on
    another ensemble rule.
    """
    path = runs / CALIBRATION_FILE
    if not path.is_file():
        return None
    again = "run train.py again on the finished runs to rewrite it"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        fitted_on, version = held.pop("runs"), held.pop("version", 1)
        rule = held.pop("ensemble", None)
        calibration = _parse(held) if version == VERSION else IDENTITY
        if not isinstance(fitted_on, list) or not isinstance(version, int):
            raise ValueError("not a calibration")
    except _RAISED_BY_DAMAGE as error:
        raise UserError(
            f"{path} is damaged; delete it and run train.py again"
        ) from error
    if version != VERSION:
        raise UserError(
            f"{path} is of version {version}, not {VERSION}, as another version of the "
            f"kit wrote it; {again}"
        )
    if rule != ENSEMBLE_RULE:
        raise UserError(
            f"{path} was fitted on the ensemble rule {rule or '(none recorded)'}, not "
            f"on {ENSEMBLE_RULE}; {again}"
        )
    return calibration if fitted_on == sorted(names) else None


def _parse(held: dict[str, Any]) -> Calibration:
    """Read the entries of calibration.json; raises an error of _RAISED_BY_DAMAGE."""
    families = {name: Correction(**one) for name, one in held.pop("families").items()}
    calibration = Calibration(families, **held)
    sound = (
        families.keys() == FAMILIES.keys()
        and all(map(_is_sound, families.values()))
        and MIN_FACTOR <= calibration.any_severe <= MAX_FACTOR
        and np.isfinite(calibration.gain)
    )
    if not sound:
        raise ValueError("not a calibration")
    return calibration


def _is_sound(correction: Correction) -> bool:
    matrix = np.array(correction.matrix)
    intercepts = np.array(list(correction.intercepts.values()))
    return bool(
        correction.method in METHODS
        and correction.intercepts.keys() == set(LEVELS)
        and matrix.shape == (CLASSES, CLASSES)
        and intercepts.shape == (len(LEVELS), CLASSES)
        and (abs(matrix) <= MAX_FACTOR).all()  # and so no NaN
        and (abs(intercepts) <= MAX_FACTOR).all()
        and 0 <= correction.prior_weight <= 1
        and np.isfinite([correction.gain, correction.standard_error]).all()
    )

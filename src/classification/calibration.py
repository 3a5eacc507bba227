"""Calibration of severity runs: a temperature a family, a factor for the severe canal.

Both are fitted on out-of-fold predictions alone: the ensemble's for studies that its
runs were not trained on. Their gain is measured by nested folds, each fold corrected by
a fit on the others; without a gain there, nothing is corrected.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.classification.ensemble import (
    ENSEMBLE_RULE,
    MIN_PROBABILITY,
    ensemble_tables,
)
from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES
from src.competition.metric import score
from src.competition.submission import label_row_ids
from src.errors import UserError
from src.files import write_json

CALIBRATION_FILE = "calibration.json"
TEMPERATURES = np.geomspace(0.5, 4.0, 43)
FACTORS = np.linspace(1.0, 2.0, 21)
MIN_FACTOR, MAX_FACTOR = 0.01, 100.0  # that a file may hold: of any fit by far
PARTS = 5
SITE = ["study_id", "condition", "level"]
PROBABILITY_COLUMNS = list(SEVERITIES)


@dataclass(frozen=True)
class Calibration:
    """A correction of probabilities.

    temperatures: by family, the divisor of log probabilities; any_severe: the factor on
    the spinal canal's probability of severe, before normalizing again; gain: the
    improvement in score on studies that it was not fitted on.
    """

    temperatures: dict[str, float]
    any_severe: float
    gain: float

    def apply(self, probabilities: np.ndarray, conditions: pd.Series) -> np.ndarray:
        """Correct the probabilities [n, 3] of sites, given their conditions [n]."""
        families = conditions.map(FAMILY_OF)
        temperature = families.map(self.temperatures).to_numpy(float)
        factor = np.where(families == "spinal", self.any_severe, 1.0)
        return _corrected(probabilities, temperature, factor)


IDENTITY = Calibration(dict.fromkeys(FAMILIES, 1.0), 1.0, 0.0)


def fit_calibration(table: pd.DataFrame) -> Calibration:
    """Fit a calibration; IDENTITY if nested folds show no gain.

    table: out-of-fold predictions: SITE, severity, PROBABILITY_COLUMNS; a row a site.
    """
    if table["study_id"].nunique() < 2 * PARTS or not _scorable(table):
        return IDENTITY
    nested = cross_fitted_probabilities(table)
    gain = _score(table) - _score(table.assign(**nested))
    return _fitted(table, gain) if gain > 0 else IDENTITY


def cross_fitted_probabilities(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Correct each part of the studies by a fit on the other parts."""
    studies = np.sort(table["study_id"].unique())
    part = np.searchsorted(studies, table["study_id"]) % PARTS
    probabilities = table[PROBABILITY_COLUMNS].to_numpy(float)
    out = probabilities.copy()
    for number in range(PARTS):
        own = part == number
        if _scorable(table[~own]):
            fitted = _fitted(table[~own], 0.0)
            out[own] = fitted.apply(probabilities[own], table.loc[own, "condition"])
    return dict(zip(PROBABILITY_COLUMNS, out.T, strict=True))


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
    made_for = {"runs": sorted(names), "ensemble": ENSEMBLE_RULE}
    write_json({**asdict(calibration), **made_for}, runs / CALIBRATION_FILE)


_RAISED_BY_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError),
)


def load_calibration(runs: Path, names: list[str]) -> Calibration | None:
    """Read the calibration of these very runs; None where there is none.

    Raises UserError for a file that is damaged or was fitted on another ensemble rule.
    """
    path = runs / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        fitted_on = held.pop("runs")
        rule = held.pop("ensemble", None)
        calibration = Calibration(**held)
        numbers = [*calibration.temperatures.values(), calibration.any_severe]
        if (
            calibration.temperatures.keys() != FAMILIES.keys()
            or not all(MIN_FACTOR <= number <= MAX_FACTOR for number in numbers)
            or not np.isfinite(calibration.gain)
            or not isinstance(fitted_on, list)
        ):
            raise ValueError("not a calibration")
    except _RAISED_BY_DAMAGE as error:
        raise UserError(
            f"{path} is damaged; delete it and run train.py again"
        ) from error
    if rule != ENSEMBLE_RULE:
        raise UserError(
            f"{path} was fitted on the ensemble rule {rule or '(none recorded)'}, not "
            f"on {ENSEMBLE_RULE}; run train.py again on the finished runs to rewrite it"
        )
    return calibration if fitted_on == sorted(names) else None


def _fitted(table: pd.DataFrame, gain: float) -> Calibration:
    """Choose each temperature by its family's loss, then the factor by the score."""
    temperatures = {}
    families = table["condition"].map(FAMILY_OF)
    probabilities = table[PROBABILITY_COLUMNS].to_numpy(float)
    for family in FAMILIES:
        own = (families == family).to_numpy()
        losses = [_family_loss(table[own], probabilities[own], t) for t in TEMPERATURES]
        temperatures[family] = round(float(TEMPERATURES[int(np.argmin(losses))]), 4)

    def with_factor(factor: float) -> float:
        candidate = Calibration(temperatures, factor, gain)
        new = candidate.apply(probabilities, table["condition"])
        return _score(
            table.assign(**dict(zip(PROBABILITY_COLUMNS, new.T, strict=True)))
        )

    best = min(FACTORS, key=with_factor)
    return Calibration(temperatures, round(float(best), 4), round(gain, 4))


def _family_loss(
    table: pd.DataFrame, probabilities: np.ndarray, temperature: float
) -> float:
    classes = table["severity"].map(SEVERITIES.index).to_numpy()
    new = _corrected(
        probabilities, np.full(len(table), temperature), np.ones(len(table))
    )
    weights = 2.0**classes  # the metric's 1, 2, 4
    return float(
        np.average(-np.log(new[np.arange(len(new)), classes]), weights=weights)
    )


def _corrected(
    probabilities: np.ndarray, temperature: np.ndarray, severe: np.ndarray
) -> np.ndarray:
    """Divide log probabilities [n, 3] by temperature [n]; scale the last by severe."""
    logs = np.log(np.clip(probabilities, MIN_PROBABILITY, 1)) / temperature[:, None]
    out = np.exp(logs - logs.max(axis=1, keepdims=True))
    out[:, -1] *= severe
    return out / out.sum(axis=1, keepdims=True)


def _score(table: pd.DataFrame) -> float:
    submission = table[PROBABILITY_COLUMNS].copy()
    submission.insert(0, "row_id", label_row_ids(table))
    return score(table[[*SITE, "severity"]], submission).score


def _scorable(table: pd.DataFrame) -> bool:
    return set(table["condition"].map(FAMILY_OF)) == set(FAMILIES)

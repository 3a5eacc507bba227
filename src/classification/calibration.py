"""Making graders' probabilities honest: a temperature a family, a factor for the worst.

Both are fitted on out-of-fold predictions alone: those of studies that a run has not
trained on. What they gain is measured by nested folds, each fold corrected by what the
others say; without a gain there, nothing is corrected.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES
from src.competition.metric import score
from src.competition.submission import label_row_ids
from src.errors import UserError
from src.files import write_json

CALIBRATION_FILE = "calibration.json"
TEMPERATURES = np.geomspace(0.5, 4.0, 43)
FACTORS = np.linspace(1.0, 2.0, 21)
PARTS = 5
MIN_PROBABILITY = 1e-6
SITE = ["study_id", "condition", "level"]
PROBABILITY_COLUMNS = list(SEVERITIES)


@dataclass(frozen=True)
class Calibration:
    """How to correct probabilities.

    temperatures: by family, by which log probabilities are divided; any_severe: by
    which the canal's probability of severe is multiplied, before normalizing again;
    gain: what that takes off the score of studies it was not fitted on.
    """

    temperatures: dict[str, float]
    any_severe: float
    gain: float

    def apply(self, probabilities: np.ndarray, conditions: pd.Series) -> np.ndarray:
        """Correct probabilities [n, 3] of sites of some conditions [n]."""
        families = conditions.map(FAMILY_OF)
        temperature = families.map(self.temperatures).to_numpy(float)
        factor = np.where(families == "spinal", self.any_severe, 1.0)
        return _corrected(probabilities, temperature, factor)


IDENTITY = Calibration(dict.fromkeys(FAMILIES, 1.0), 1.0, 0.0)


def fit_calibration(table: pd.DataFrame) -> Calibration:
    """Fit a calibration, or IDENTITY where nested folds show no gain.

    table: out-of-fold predictions: SITE, severity, PROBABILITY_COLUMNS; a row a site.
    """
    if table["study_id"].nunique() < 2 * PARTS or not _scorable(table):
        return IDENTITY
    nested = cross_fitted_probabilities(table)
    gain = _score(table) - _score(table.assign(**nested))
    return _fitted(table, gain) if gain > 0 else IDENTITY


def cross_fitted_probabilities(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Correct each part of the studies by a fit on the others; parts by study."""
    studies = np.sort(table["study_id"].unique())
    part = np.searchsorted(studies, table["study_id"]) % PARTS
    probabilities = table[PROBABILITY_COLUMNS].to_numpy(float)
    out = probabilities.copy()
    for number in range(PARTS):
        here = part == number
        if _scorable(table[~here]):
            fitted = _fitted(table[~here], 0.0)
            out[here] = fitted.apply(probabilities[here], table.loc[here, "condition"])
    return dict(zip(PROBABILITY_COLUMNS, out.T, strict=True))


def out_of_fold_probabilities(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Average severity runs' predictions of the sites that they were tested on.

    tables: predictions.csv's columns, class ids of SEVERITIES. Returns SITE, severity
    and PROBABILITY_COLUMNS, a site once.
    """
    every = pd.concat(tables, ignore_index=True)
    columns = {f"p_{name}": name for name in SEVERITIES}
    every = every.rename(columns=columns)
    mean = every.groupby([*SITE, "truth"], as_index=False)[PROBABILITY_COLUMNS].mean()
    severity = mean.pop("truth").map(lambda place: SEVERITIES[place])
    return mean.assign(severity=severity)


def save_calibration(calibration: Calibration, runs: Path, names: list[str]) -> None:
    """Leave a calibration of the named runs in their folder."""
    write_json({**asdict(calibration), "runs": sorted(names)}, runs / CALIBRATION_FILE)


def load_calibration(runs: Path, names: list[str]) -> Calibration | None:
    """Read the calibration of these very runs; None where there is none."""
    path = runs / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        of = held.pop("runs")
        calibration = Calibration(**held)
        numbers = [*calibration.temperatures.values(), calibration.any_severe]
        if calibration.temperatures.keys() != FAMILIES.keys() or not all(
            0 < number < np.inf for number in numbers
        ):
            raise ValueError("no calibration")
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} is damaged; delete it and run train.py again"
        ) from error
    return calibration if of == sorted(names) else None


def _fitted(table: pd.DataFrame, gain: float) -> Calibration:
    """Choose each temperature by its family's loss, then the factor by the score."""
    temperatures = {}
    families = table["condition"].map(FAMILY_OF)
    probabilities = table[PROBABILITY_COLUMNS].to_numpy(float)
    for family in FAMILIES:
        here = (families == family).to_numpy()
        losses = [
            _family_loss(table[here], probabilities[here], t) for t in TEMPERATURES
        ]
        temperatures[family] = round(float(TEMPERATURES[int(np.argmin(losses))]), 4)

    def with_factor(factor: float) -> float:
        some = Calibration(temperatures, factor, gain)
        new = some.apply(probabilities, table["condition"])
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

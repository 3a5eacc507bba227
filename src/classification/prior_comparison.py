"""Severity runs beside the prior: what they must beat to be worth their images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from src.classification.calibration import PROBABILITY_COLUMNS
from src.classification.calibration_fit import CalibrationFit, fit_calibration
from src.classification.family_sites import PRIOR_COLUMNS, families_of
from src.competition.submission import from_prior, label_row_ids
from src.metrics_schema import FamilyCalibration
from src.training.run_folder import Run, mean_prior


def tested_prior(runs: list[Run], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Predict each tested study by the prior of the runs that it was held out from."""
    parts = [
        from_prior(tables[run.folder.name]["study_id"].unique(), mean_prior([run]))
        for run in runs
    ]
    return (
        pd.concat(parts).groupby("row_id", as_index=False)[PROBABILITY_COLUMNS].mean()
    )


def fit_beside_prior(sites: pd.DataFrame, prior: pd.DataFrame) -> CalibrationFit:
    """Fit a calibration that may blend with the prior.

    sites: what out_of_fold_probabilities returns; prior: what tested_prior returns.
    """
    return fit_calibration(_with_prior_columns(sites, prior))


def family_calibrations(
    sites: pd.DataFrame, prior: pd.DataFrame, fit: CalibrationFit
) -> dict[str, FamilyCalibration]:
    """Describe each labelled family's correction, and its losses beside the prior's.

    sites, prior: what `fit` was fitted on. The losses are the metric's weighted ones,
    of the graded sites.
    """
    found: dict[str, FamilyCalibration] = {}
    for name, (own, family) in families_of(_with_prior_columns(sites, prior)).items():
        correction = fit.calibration.families[name]
        found[name] = {
            "method": correction.method,
            "temperature": correction.temperature,
            "prior_weight": correction.prior_weight,
            "gain": correction.gain,
            "standard_error": correction.standard_error,
            "loss": family.loss(family.probabilities),
            "calibrated_loss": family.loss(fit.cross_fitted[own]),
            "prior_loss": family.loss(family.prior),
        }
    return found


def prior_warnings(families: Mapping[str, FamilyCalibration]) -> list[str]:
    """Warn of the families whose grades are no better than the prior."""
    return [
        f"Warning: the {name} grades score {one['loss']:.3f}, no better than the "
        f"prior's {one['prior_loss']:.3f} (weighted log loss, studies unseen in "
        f"training); {_remedy(one)}; train on more studies or from pretrained weights "
        "before relying on them"
        for name, one in families.items()
        if one["loss"] >= one["prior_loss"]
    ]


def _remedy(family: FamilyCalibration) -> str:
    """Say what the calibration makes of a family that is no better than the prior."""
    if family["method"] == "identity" and family["prior_weight"] == 0:
        return "no correction brought a gain, so they are used as they are"
    if family["prior_weight"] == 1:
        return "nested folds support no share of them, so the prior is used instead"
    blended = f"blended {family['prior_weight']:.0%} with the prior"
    how = blended if family["prior_weight"] else f"by {family['method']}"
    return f"calibrated, {how}, they score {family['calibrated_loss']:.3f}"


def _with_prior_columns(sites: pd.DataFrame, prior: pd.DataFrame) -> pd.DataFrame:
    rows = prior.set_index("row_id").loc[label_row_ids(sites), PROBABILITY_COLUMNS]
    values: np.ndarray = rows.to_numpy(float)
    return sites.assign(**dict(zip(PRIOR_COLUMNS, values.T, strict=True)))

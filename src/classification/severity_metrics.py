"""What severity runs are worth on studies that they have not seen."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from src.classification.calibration import (
    PROBABILITY_COLUMNS,
    cross_fitted_probabilities,
    fit_calibration,
    out_of_fold_probabilities,
)
from src.competition.constants import SEVERITIES
from src.competition.metric import score
from src.competition.prior import floors
from src.competition.submission import from_prior, label_row_ids
from src.training.run_folder import Run, mean_prior

BINS = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)  # of the probability of severe


def severity_metrics(
    runs: list[Run], tables: Mapping[str, pd.DataFrame], labels: pd.DataFrame
) -> dict[str, Any]:
    """Score the runs together: metrics.json's entry `severity`.

    tables: each run's predictions by its name; labels: the cohort's. All labelled rows
    of the studies that a run tested count; one without a crop is answered by the prior.
    `calibrated` is the score by nested folds, each corrected by what the others say.
    """
    together = out_of_fold_probabilities(list(tables.values()))
    truth = labels[labels["study_id"].isin(together["study_id"])]
    prior = tested_prior(runs, tables)
    parts = score(truth, with_prior(together, prior)).to_dict()
    nested = together.assign(**cross_fitted_probabilities(together))
    return {
        **parts,
        "floor": floors(truth)["weighted_shares_by_level"].score,
        "calibrated": score(truth, with_prior(nested, prior)).to_dict(),
        "calibration": asdict(fit_calibration(together)),
        "studies": int(truth["study_id"].nunique()),
        "rows": int(truth["severity"].notna().sum()),
        "reliability": reliability(together, nested),
        "runs": [_alone(run, tables[run.folder.name], labels) for run in runs],
    }


def tested_prior(runs: list[Run], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Answer each tested study by the prior of the runs that have not seen it."""
    parts = [
        from_prior(tables[run.folder.name]["study_id"].unique(), mean_prior([run]))
        for run in runs
    ]
    return (
        pd.concat(parts).groupby("row_id", as_index=False)[PROBABILITY_COLUMNS].mean()
    )


def with_prior(sites: pd.DataFrame, prior: pd.DataFrame) -> pd.DataFrame:
    """Make a submission of graded sites; what was not graded keeps the prior's row.

    sites: SITE and PROBABILITY_COLUMNS; prior: a submission of the same studies.
    """
    rows = prior.set_index("row_id")
    rows.loc[label_row_ids(sites), PROBABILITY_COLUMNS] = sites[
        PROBABILITY_COLUMNS
    ].to_numpy()
    return rows.reset_index()


def reliability(
    plain: pd.DataFrame, nested: pd.DataFrame
) -> dict[str, list[dict[str, float]]]:
    """Set what was said beside what was so, for the probability of severe.

    For each of BINS that has `sites`: `said`, the mean probability; `so`, the share
    of severe sites, each counting by the metric's weight, as probabilities are meant.
    """
    severe = (plain["severity"] == SEVERITIES[-1]).to_numpy()
    weights = 2.0 ** plain["severity"].map(SEVERITIES.index).to_numpy()
    told = {}
    for name, table in (("as they are", plain), ("calibrated", nested)):
        said = table[SEVERITIES[-1]].to_numpy()
        bins = np.digitize(said, BINS)
        told[name] = [
            {
                "said": float(np.average(said[some], weights=weights[some])),
                "so": float(np.average(severe[some], weights=weights[some])),
                "sites": int(some.sum()),
            }
            for some in (bins == place for place in range(len(BINS) + 1))
            if some.any()
        ]
    return told


def _alone(run: Run, table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Any]:
    sites = out_of_fold_probabilities([table])
    truth = labels[labels["study_id"].isin(sites["study_id"])]
    config = run.config
    return {
        "name": run.folder.name,
        "backbone": config.backbone,
        "slices": config.slices,
        "fold": config.fold,
        "seed": config.hyperparameters["seed"],
        "studies": int(sites["study_id"].nunique()),
        "score": score(
            truth, with_prior(sites, tested_prior([run], {run.folder.name: table}))
        ).score,
    }

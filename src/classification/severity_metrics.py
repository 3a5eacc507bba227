"""Scores of severity runs on studies that they were not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from src.classification.calibration import (
    PROBABILITY_COLUMNS,
    out_of_fold_probabilities,
)
from src.classification.family_sites import negative_log
from src.classification.prior_comparison import (
    family_calibrations,
    fit_beside_prior,
    tested_prior,
)
from src.competition.constants import (
    CONDITIONS,
    FAMILIES,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
)
from src.competition.metric import score
from src.competition.prior import weighted_shares_by_level
from src.competition.submission import from_prior, label_row_ids
from src.competition.tables import SITE
from src.metrics_schema import (
    PartialScore,
    Reliability,
    ReliabilityBin,
    SeverityEntry,
    SeverityRun,
    SiteLosses,
)
from src.training.run_folder import Run

BINS = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)  # of the probability of severe


def severity_metrics(
    runs: list[Run], tables: Mapping[str, pd.DataFrame], labels: pd.DataFrame
) -> SeverityEntry:
    """Score the runs' ensemble: metrics.json's entry `severity`.

    tables: each run's predictions by its name; labels: the cohort's. All labelled rows
    of the studies that a run tested count; one without a crop keeps the prior.
    `calibrated` is the score by nested folds, each corrected by a fit on the others, of
    the families that gain by it; the others keep their probabilities.
    Terms of a family without labels are None, and so are `score` and `floor` then.
    """
    joint = out_of_fold_probabilities(list(tables.values()))
    truth = labels[labels["study_id"].isin(joint["study_id"])]
    prior = tested_prior(runs, tables)
    fit = fit_beside_prior(joint, prior)
    nested = joint.assign(
        **dict(zip(PROBABILITY_COLUMNS, fit.cross_fitted.T, strict=True))
    )
    floor = floor_terms(truth)
    losses = row_losses(truth, with_prior(joint, prior), with_prior(nested, prior))
    return {
        **labelled_score(truth, with_prior(joint, prior)),
        "floor": floor["score"],
        "floor_terms": floor,
        "calibrated": labelled_score(truth, with_prior(nested, prior)),
        "calibration": {
            "families": family_calibrations(joint, prior, fit),
            "any_severe": fit.calibration.any_severe,
            "gain": fit.calibration.gain,
        },
        "by_condition": mean_losses(losses, "condition", CONDITIONS),
        "by_level": mean_losses(losses, "level", LEVELS),
        "studies": int(truth["study_id"].nunique()),
        "rows": int(truth["severity"].notna().sum()),
        "reliability": reliability(joint, nested),
        "runs": [_run_row(run, tables[run.folder.name], labels) for run in runs],
    }


def labelled_score(truth: pd.DataFrame, submission: pd.DataFrame) -> PartialScore:
    """Score the families that have labels; other terms, and then the score, are None.

    submission: all rows of the studies in `truth`.
    """
    missing = _unlabelled_families(truth)
    # The metric refuses labels that lack a family: lend it one row of each, and drop
    # that family's terms. No other term depends on the row.
    study_id = truth["study_id"].iloc[0]
    lent = [
        (study_id, FAMILIES[family][0], LEVELS[0], SEVERITIES[0]) for family in missing
    ]
    rows = pd.DataFrame(lent, columns=[*SITE, "severity"])
    truth = pd.concat([truth, rows], ignore_index=True) if missing else truth
    parts = score(truth, submission)
    return {
        "score": None if missing else parts.score,
        "spinal": None if "spinal" in missing else parts.spinal,
        "foraminal": None if "foraminal" in missing else parts.foraminal,
        "subarticular": None if "subarticular" in missing else parts.subarticular,
        "any_severe": None if "spinal" in missing else parts.any_severe,
    }


def floor_terms(truth: pd.DataFrame) -> PartialScore:
    """Score the weighted prior of these very labels, of the families that have any."""
    studies = truth["study_id"].unique().tolist()
    return labelled_score(truth, from_prior(studies, weighted_shares_by_level(truth)))


def row_losses(
    truth: pd.DataFrame, submission: pd.DataFrame, calibrated: pd.DataFrame
) -> pd.DataFrame:
    """Return -log p of each labelled row's severity: `loss`, `calibrated`, `floor`.

    submission, calibrated: all rows of the studies in `truth`. The rows keep their
    SITE; `weight` is the metric's. The floor is the weighted prior of these labels.
    """
    labelled = truth[truth["severity"].notna()]
    studies = truth["study_id"].unique().tolist()
    floor = from_prior(studies, weighted_shares_by_level(truth))
    classes = labelled["severity"].map(SEVERITIES.index).to_numpy(int)
    ids, chosen = label_row_ids(labelled), np.arange(len(labelled))
    out = labelled[SITE].assign(weight=np.array(SEVERITY_WEIGHTS)[classes])
    tables = {"loss": submission, "calibrated": calibrated, "floor": floor}
    for name, table in tables.items():
        rows = table.set_index("row_id").loc[ids, PROBABILITY_COLUMNS].to_numpy(float)
        out[name] = negative_log(rows[chosen, classes])
    return out


def mean_losses(
    losses: pd.DataFrame, column: str, names: Sequence[str]
) -> dict[str, SiteLosses]:
    """Average row_losses by their weights over the rows of each name in a column."""
    groups = {name: losses[losses[column] == name] for name in names}
    return {
        name: {
            "loss": float(np.average(rows["loss"], weights=rows["weight"])),
            "calibrated": float(np.average(rows["calibrated"], weights=rows["weight"])),
            "floor": float(np.average(rows["floor"], weights=rows["weight"])),
            "rows": len(rows),
        }
        for name, rows in groups.items()
        if len(rows)
    }


def _unlabelled_families(truth: pd.DataFrame) -> list[str]:
    labelled = set(truth.loc[truth["severity"].notna(), "condition"].map(FAMILY_OF))
    return [family for family in FAMILIES if family not in labelled]


def with_prior(sites: pd.DataFrame, prior: pd.DataFrame) -> pd.DataFrame:
    """Make a submission of graded sites; a site without a grade keeps the prior's row.

    sites: SITE and PROBABILITY_COLUMNS; prior: a submission of the same studies.
    """
    rows = prior.set_index("row_id")
    rows.loc[label_row_ids(sites), PROBABILITY_COLUMNS] = sites[
        PROBABILITY_COLUMNS
    ].to_numpy()
    return rows.reset_index()


def reliability(plain: pd.DataFrame, nested: pd.DataFrame) -> Reliability:
    """Compare the predicted probability of severe with the observed share.

    For each of BINS that has `sites`: `predicted`, the mean probability; `observed`,
    the share of severe sites. Each site counts by the metric's weight, under which
    the probabilities are trained.
    """
    return {"uncalibrated": _curve(plain), "calibrated": _curve(nested)}


def _curve(table: pd.DataFrame) -> list[ReliabilityBin]:
    weights = 2.0 ** table["severity"].map(SEVERITIES.index).to_numpy()
    severe = (table["severity"] == SEVERITIES[-1]).to_numpy()
    predicted = table[SEVERITIES[-1]].to_numpy()
    bins = np.digitize(predicted, BINS)
    return [
        {
            "predicted": float(np.average(predicted[here], weights=weights[here])),
            "observed": float(np.average(severe[here], weights=weights[here])),
            "sites": int(here.sum()),
        }
        for here in (bins == number for number in range(len(BINS) + 1))
        if here.any()
    ]


def _run_row(run: Run, table: pd.DataFrame, labels: pd.DataFrame) -> SeverityRun:
    sites = out_of_fold_probabilities([table])
    truth = labels[labels["study_id"].isin(sites["study_id"])]
    config, prior = run.config, tested_prior([run], {run.folder.name: table})
    return {
        "name": run.folder.name,
        "backbone": config.backbone,
        "slices": config.slices,
        "fold": config.fold,
        "seed": config.hyperparameters.seed,
        "studies": int(sites["study_id"].nunique()),
        "score": labelled_score(truth, with_prior(sites, prior))["score"],
    }

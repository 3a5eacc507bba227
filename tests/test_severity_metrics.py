"""Severity metrics: which studies and rows count, with whose prior and weight."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import run_config

from src.classification.calibration import (
    PROBABILITY_COLUMNS,
    out_of_fold_probabilities,
)
from src.classification.calibration_fit import CalibrationFit
from src.classification.prior_comparison import fit_beside_prior
from src.classification.prior_comparison import tested_prior as prior_of
from src.classification.severity_metrics import (
    mean_losses,
    reliability,
    row_losses,
    severity_metrics,
)
from src.competition.constants import (
    CONDITIONS,
    FAMILIES,
    LEVELS,
    SEVERITIES,
    SPINAL,
)
from src.competition.metric import score
from src.competition.prior import uniform, weighted_shares_by_level
from src.competition.submission import from_prior, label_row_ids
from src.training.run_folder import Run

NAMES = [f"p_{name}" for name in SEVERITIES]
PRIORS = {"first": (0.7, 0.2, 0.1), "second": (0.2, 0.3, 0.5)}
TESTED = {"first": range(1, 8), "second": range(7, 13)}  # study 7 by both
UNMARKED = [(name, "l1_l2") for name in CONDITIONS]


def cohort() -> pd.DataFrame:
    """Labels of 20 studies; those that no run tests are all severe, some are blank."""
    keys = pd.MultiIndex.from_product(
        [range(1, 21), CONDITIONS, LEVELS], names=["study_id", "condition", "level"]
    )
    labels = keys.to_frame(index=False)
    grades = np.random.default_rng(0).choice(SEVERITIES, len(labels), p=(0.6, 0.2, 0.2))
    untested = labels["study_id"] > 12
    severity = pd.Series(grades, dtype=object).mask(untested, "severe")
    return labels.assign(severity=severity.mask(labels.index % 17 == 3))


LABELS = cohort()


def run(name: str) -> Run:
    spots = [{"condition": c, "level": level} for c in CONDITIONS for level in LEVELS]
    prior = [
        spot | dict(zip(PROBABILITY_COLUMNS, PRIORS[name], strict=True))
        for spot in spots
    ]
    changes = {"task": "severity", "labels": list(SEVERITIES), "prior": prior}
    seed = list(PRIORS).index(name)
    config = run_config(seed=seed, fold="1", **changes)
    return Run(Path("runs") / name, config)


def predictions(name: str) -> pd.DataFrame:
    """Overconfident predictions of a run's graded sites, none of them at l1_l2."""
    chosen = LABELS["study_id"].isin(TESTED[name]) & LABELS["severity"].notna()
    table = LABELS[chosen & (LABELS["level"] != "l1_l2")].reset_index(drop=True)
    truth = table.pop("severity").map(SEVERITIES.index)
    rng = np.random.default_rng(len(name))
    guess = np.where(
        rng.random(len(table)) < 0.6, truth, rng.integers(0, 3, len(table))
    )
    rows = np.full((len(table), 3), 0.04)
    rows[np.arange(len(table)), guess] = 0.92
    return table.assign(truth=truth, **dict(zip(NAMES, rows.T, strict=True)))


TABLES = {name: predictions(name) for name in TESTED}
RUNS = [run(name) for name in TESTED]


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return severity_metrics(RUNS, TABLES, LABELS)


def submission(names: list[str], sites: pd.DataFrame) -> pd.DataFrame:
    """Write a submission row by row: the sites' rows, else the runs' mean prior."""
    graded = dict(
        zip(label_row_ids(sites), sites[PROBABILITY_COLUMNS].to_numpy(), strict=True)
    )
    rows = {}
    for study in {study for name in names for study in TESTED[name]}:
        priors = [PRIORS[name] for name in names if study in TESTED[name]]
        for condition in CONDITIONS:
            for level in LEVELS:
                row = f"{study}_{condition}_{level}"
                rows[row] = graded.get(row, np.mean(priors, axis=0))
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=PROBABILITY_COLUMNS)
    return frame.rename_axis("row_id").reset_index()


TRUTH = LABELS[LABELS["study_id"] <= 12]


def test_unmarked_rows_keep_the_prior_of_runs_not_trained_on_them(
    metrics: dict[str, Any],
) -> None:
    joint = out_of_fold_probabilities(list(TABLES.values()))
    expected = score(TRUTH, submission(["first", "second"], joint)).to_dict()
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert (metrics["studies"], metrics["rows"]) == (12, TRUTH["severity"].count())


def test_the_calibrated_score_is_of_corrections_by_other_studies(
    metrics: dict[str, Any],
) -> None:
    joint = out_of_fold_probabilities(list(TABLES.values()))
    fit = fit_beside_prior(joint, prior_of(RUNS, TABLES))
    nested = with_probabilities(joint, fit)
    expected = score(TRUTH, submission(["first", "second"], nested)).to_dict()
    assert metrics["calibrated"] == pytest.approx(expected)
    assert metrics["calibrated"]["score"] < metrics["score"] - 0.05
    entry = metrics["calibration"]
    for name, correction in fit.calibration.families.items():
        assert entry["families"][name]["method"] == correction.method
    assert entry["any_severe"] == fit.calibration.any_severe
    assert entry["gain"] == fit.calibration.gain > 0.05
    assert metrics["reliability"] == reliability(joint, nested)


def with_probabilities(sites: pd.DataFrame, fit: CalibrationFit) -> pd.DataFrame:
    sites = sites.copy()
    sites[PROBABILITY_COLUMNS] = fit.cross_fitted
    return sites


def test_the_floor_is_of_the_tested_studies_by_level(metrics: dict[str, Any]) -> None:
    constant = from_prior(range(1, 13), weighted_shares_by_level(TRUTH))
    expected = score(TRUTH, constant)
    assert metrics["floor"] == pytest.approx(expected.score)
    for name in ("spinal", "foraminal", "subarticular", "any_severe"):
        assert metrics["floor_terms"][name] == pytest.approx(getattr(expected, name))


def test_every_run_is_scored_on_its_own_studies(metrics: dict[str, Any]) -> None:
    for row, one in zip(metrics["runs"], RUNS, strict=True):
        name = one.folder.name
        truth = LABELS[LABELS["study_id"].isin(TESTED[name])]
        expected = score(
            truth, submission([name], out_of_fold_probabilities([TABLES[name]]))
        ).score
        assert row["score"] == pytest.approx(expected)
        assert (row["name"], row["studies"]) == (name, len(TESTED[name]))
        assert (row["fold"], row["seed"]) == ("1", one.config.hyperparameters.seed)


def test_reliability_worked_out_by_hand() -> None:
    grades = ["normal_mild", "severe", "severe", "moderate", "normal_mild"]
    plain = pd.DataFrame({"severity": grades, "severe": [0.12, 0.14, 0.6, 0.55, 0.6]})
    nested = plain.assign(severe=[0.01, 0.05, 0.7, 0.7, 0.7])
    curves = reliability(plain, nested)
    low, high = curves["uncalibrated"]
    # Weights 1 and 4; then 4, 2 and 1.
    assert low == pytest.approx(
        {"predicted": (0.12 + 4 * 0.14) / 5, "observed": 4 / 5, "sites": 2}
    )
    assert high == pytest.approx(
        {"predicted": (4 * 0.6 + 2 * 0.55 + 0.6) / 7, "observed": 4 / 7, "sites": 3}
    )
    assert [tuple(one.values()) for one in curves["calibrated"]] == [
        *(pytest.approx((0.01, 0, 1)), pytest.approx((0.05, 1, 1))),
        pytest.approx((0.7, 4 / 7, 3)),
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("blank", [True, False])
def test_a_cohort_without_a_family_is_scored_on_the_others(
    metrics: dict[str, Any], family: str, blank: bool
) -> None:
    lacking = LABELS["condition"].isin(FAMILIES[family])
    labels = LABELS.assign(severity=LABELS["severity"].mask(lacking))
    labels = labels if blank else labels[~lacking].reset_index(drop=True)
    tables = {
        name: table[~table["condition"].isin(FAMILIES[family])]
        for name, table in TABLES.items()
    }
    partial = severity_metrics(RUNS, tables, labels)
    gone = {"score", family} | ({"any_severe"} if family == "spinal" else set())
    for name in ("score", *FAMILIES, "any_severe"):
        expected = None if name in gone else pytest.approx(metrics[name])
        assert partial[name] == expected, name
        expected = None if name in gone else pytest.approx(metrics["calibrated"][name])
        assert partial["calibrated"][name] == expected, name
        expected = None if name in gone else pytest.approx(metrics["floor_terms"][name])
        assert partial["floor_terms"][name] == expected, name
    assert partial["floor"] is None
    assert [run["score"] for run in partial["runs"]] == [None, None]
    families = metrics["calibration"]["families"]
    others = {name: one for name, one in families.items() if name != family}
    assert partial["calibration"]["families"] == others
    assert partial["rows"] == labels.loc[labels["study_id"] <= 12, "severity"].count()


def test_losses_by_condition_and_level_are_weighted_means_of_their_rows() -> None:
    # A severe canal at L1/L2, given .5, and a mild one at L2/L3, given .25.
    truth = pd.DataFrame(
        {
            **{"study_id": 1, "condition": SPINAL, "level": ["l1_l2", "l2_l3"]},
            "severity": ["severe", "normal_mild"],
        }
    )
    given = from_prior([1], uniform()).set_index("row_id")
    given.loc[f"1_{SPINAL}_l1_l2", list(SEVERITIES)] = [0.25, 0.25, 0.5]
    given.loc[f"1_{SPINAL}_l2_l3", list(SEVERITIES)] = [0.25, 0.5, 0.25]
    losses = row_losses(truth, given.reset_index(), from_prior([1], uniform()))
    by_level = mean_losses(losses, "level", LEVELS)
    assert list(by_level) == ["l1_l2", "l2_l3"]
    assert by_level["l1_l2"]["loss"] == pytest.approx(np.log(2))
    assert by_level["l2_l3"]["loss"] == pytest.approx(np.log(4))
    [(name, canal)] = mean_losses(losses, "condition", CONDITIONS).items()
    assert (name, canal["rows"]) == (SPINAL, 2)
    # Severe counts four times.
    assert canal["loss"] == pytest.approx((4 * np.log(2) + np.log(4)) / 5)
    assert canal["calibrated"] == pytest.approx(np.log(3))
    # The prior of these labels: at each level the one grade that is there.
    assert canal["floor"] == pytest.approx(0, abs=1e-6)

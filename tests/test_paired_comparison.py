"""Which entries are compared, on which rows, and by which figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import predicted, run_config, sites

from src.classification.aggregate import RunEvaluation, condition_metrics
from src.classification.calibration import out_of_fold_probabilities
from src.classification.paired_bootstrap import MIN_STUDIES
from src.classification.paired_comparison import (
    compare_conditions,
    compare_severities,
)
from src.classification.severity_metrics import labelled_score, with_prior
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, SPINAL
from src.competition.prior import uniform
from src.competition.submission import from_prior
from src.metrics_schema import PairedComparison
from src.training.run_folder import Run

STUDIES = 20
CROPS = sites(STUDIES)
WRONG = "left_subarticular_stenosis"


def evaluation(
    wrong: list[int], table: pd.DataFrame = CROPS, **changes: Any
) -> RunEvaluation:
    """A run that names these crops wrong; each is of another condition."""
    config = run_config(**changes)
    predictions = predicted(table, dict.fromkeys(wrong, WRONG))
    assert (table.loc[table["crop"].isin(wrong), "condition"] != WRONG).all()
    known = predictions.assign(
        majority_class=0.0, random_side=0.0, nearest_neighbour=0.0, foraminal=False
    )
    return RunEvaluation(config.name, config, known, {})


# Of each study's ten crops the first four are foraminal.
FIRST_CROPS = [10 * study for study in range(STUDIES)]


def test_top1_is_compared_best_first_and_a_planted_difference_is_shown() -> None:
    runs = [
        evaluation(FIRST_CROPS[:16], backbone="vgg11"),
        evaluation([10], backbone="vgg16"),
        evaluation([20], backbone="resnet101"),
    ]
    compared = compare_conditions(runs)
    [group] = compared["groups"]
    assert list(group["figures"].items()) == [
        ("vgg16", pytest.approx(199 / 200)),
        ("resnet101", pytest.approx(199 / 200)),
        ("vgg11", pytest.approx(184 / 200)),
    ]
    assert (group["split"], group["slices"]) == ("study", "neighbours")
    assert (group["folds"], group["studies"]) == (["holdout"], STUDIES)
    pairs = {(p["first"], p["second"]): p for p in group["pairs"]}
    assert len(pairs) == 3
    tie, lead = pairs["vgg16", "resnet101"], pairs["vgg16", "vgg11"]
    assert tie["difference"] == pytest.approx(0)
    assert not tie["shown"]
    assert lead["difference"] == pytest.approx(15 / 200)
    assert lead["shown"]
    assert 0 < lead["low"] < 15 / 200 < lead["high"]
    assert compared["skipped"] == []


def test_the_figures_are_those_of_table_2() -> None:
    runs = [
        evaluation([0, 10, 11], backbone="vgg11"),
        evaluation([0], backbone="vgg11", seed=1),
        evaluation([30], backbone="vgg16"),
    ]
    [group] = compare_conditions(runs)["groups"]
    table = condition_metrics(runs)
    assert group["figures"] == pytest.approx(
        {name: entry["top1"] for name, entry in table.items()}
    )
    assert group["figures"]["vgg11"] == pytest.approx(198 / 200)


HALF = CROPS[CROPS["study_id"] <= STUDIES // 2]


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (HALF, {}),
        (CROPS[CROPS["crop"] != 7], {}),
        (CROPS, {"fold": "1"}),
        (CROPS, {"slices": "repeat"}),
        (CROPS, {"split": "row"}),
    ],
    ids=["studies", "crops", "fold", "slices", "split"],
)
def test_runs_without_common_test_rows_are_skipped(
    table: pd.DataFrame, changes: dict[str, Any]
) -> None:
    other = evaluation([], table, backbone="vgg16", **changes)
    compared = compare_conditions([evaluation([], backbone="vgg11"), other])
    assert compared["groups"] == []
    assert compared["skipped"] == ["vgg11", "vgg16"]


def test_each_group_is_compared_within_itself() -> None:
    runs = [
        evaluation([], table, backbone=backbone, fold=fold)
        for fold, table in (("1", HALF), ("2", CROPS))
        for backbone in ("vgg11", "vgg16")
    ]
    apart = [*runs, evaluation([], backbone="resnet101")]
    compared = compare_conditions([run for run in apart if run.config.fold != "2"])
    assert [group["studies"] for group in compared["groups"]] == [STUDIES // 2]
    assert compared["skipped"] == ["resnet101"]
    pooled = compare_conditions(runs)  # folds 1 and 2 of a variant are one entry
    assert [group["folds"] for group in pooled["groups"]] == [["1", "2"]]


def test_few_studies_show_nothing() -> None:
    few = CROPS[CROPS["study_id"] < MIN_STUDIES]
    worse = [crop for crop in FIRST_CROPS if crop in set(few["crop"])]
    runs = [
        evaluation([], few, backbone="vgg11"),
        evaluation(worse, few, backbone="vgg16"),
    ]
    [group] = compare_conditions(runs)["groups"]
    [pair] = group["pairs"]
    assert (group["studies"], pair["low"] > 0) == (MIN_STUDIES - 1, True)
    assert not pair["shown"]


def severity_run(
    backbone: str, right: float, slices: str = "neighbours"
) -> tuple[Run, pd.DataFrame]:
    """A run that grades every crop with this probability of its severity."""
    changes = {"task": "severity", "labels": list(SEVERITIES), "backbone": backbone}
    config = run_config(**changes, slices=slices)
    run = Run(Path("runs") / f"{backbone}-{slices}", config)
    table = predicted(CROPS).iloc[:, :6].assign(truth=CROPS["crop"] % 3)
    rows = np.full((len(table), 3), (1 - right) / 2)
    rows[np.arange(len(table)), table["truth"]] = right
    columns = [f"p_{name}" for name in SEVERITIES]
    return run, table.assign(**dict(zip(columns, rows.T, strict=True)))


def labels() -> pd.DataFrame:
    """Labels of all crops and, at l1_l2, of sites without one; a study untested."""
    keys = pd.MultiIndex.from_product(
        [range(1, STUDIES + 2), CONDITIONS, LEVELS],
        names=["study_id", "condition", "level"],
    )
    table = keys.to_frame(index=False)
    marked = CROPS[["study_id", "condition", "level", "crop"]]
    crop = table.merge(marked, how="left")["crop"]
    grade = (crop % 3).map(dict(enumerate(SEVERITIES)))
    unmarked = table["level"] == "l1_l2"
    return table.assign(severity=grade.mask(unmarked, "moderate").astype(object))


def compare(*runs: tuple[Run, pd.DataFrame], **changes: Any) -> PairedComparison:
    tables = {run.folder.name: table for run, table in runs}
    truth = changes.get("labels", labels())
    return compare_severities([run for run, _ in runs], tables, truth)


def test_severity_is_compared_by_the_competitions_score() -> None:
    runs = [severity_run("resnet18", 0.6), severity_run("vgg11", 0.8)]
    compared = compare(*runs)
    [group] = compared["groups"]
    truth = labels()
    tested = truth[truth["study_id"] <= STUDIES]
    for run, table in runs:
        prior = from_prior(range(1, STUDIES + 1), uniform())
        submission = with_prior(out_of_fold_probabilities([table]), prior)
        expected = labelled_score(tested, submission)["score"]
        assert group["figures"][run.config.backbone] == pytest.approx(expected)
    assert list(group["figures"]) == ["vgg11", "resnet18"]  # lower is better
    [pair] = group["pairs"]
    assert pair["difference"] == pytest.approx(
        group["figures"]["vgg11"] - group["figures"]["resnet18"]
    )
    assert pair["high"] < 0
    assert pair["shown"]


def test_graders_of_other_slices_are_compared() -> None:
    one = severity_run("resnet18", 0.6)
    other = severity_run("resnet18", 0.8, slices="attention")
    [group] = compare(one, other)["groups"]
    assert group["slices"] == "attention, neighbours"
    assert list(group["figures"]) == ["resnet18 (study, attention)", "resnet18"]


def test_severity_without_labels_of_a_family_is_not_compared() -> None:
    table = labels()
    blank = table.assign(severity=table["severity"].mask(table["condition"] == SPINAL))
    runs = [severity_run("resnet18", 0.6), severity_run("vgg11", 0.8)]
    assert compare(*runs, labels=blank) == {
        "groups": [],
        "skipped": ["resnet18", "vgg11"],
    }

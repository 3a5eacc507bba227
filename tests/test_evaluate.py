"""evaluate.py: each run is evaluated on its own crops, history and labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import description, predicted, write_cache, write_run

from evaluate import (
    evaluation_of,
    predictions_of,
    report_condition,
    report_severity,
)
from src.cache.crop_cache import CropCache, open_cache
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, SPINAL
from src.competition.folds import read_folds, row_splits
from src.competition.prior import uniform
from src.files import write_csv
from src.reporting.html_report import HtmlReport
from src.training.run_folder import Run, read_run

STUDIES = 12


@pytest.fixture
def cache(tmp_path: Path) -> CropCache:
    """A cache of 12 studies that has labels of sites without a crop too."""
    table = write_cache(tmp_path / "cache", STUDIES)
    sites = pd.MultiIndex.from_product(
        [range(1, STUDIES + 1), CONDITIONS, LEVELS],
        names=["study_id", "condition", "level"],
    )
    labels = sites.to_frame(index=False).assign(severity="moderate")
    blank = (labels["level"] == "l5_s1") & (labels["study_id"] == STUDIES)
    labels["severity"] = labels["severity"].mask(blank)
    write_csv(labels, tmp_path / "cache" / "labels.csv")
    assert len(table) == 10 * STUDIES
    return open_cache(tmp_path / "cache")


def folds_of(cache: CropCache) -> pd.DataFrame:
    return read_folds(cache.path / "folds.csv")


def made(cache: CropCache, tested: np.ndarray, **changes: Any) -> Run:
    config = description(**changes)
    runs = cache.path.parent / "runs"
    return read_run(write_run(runs, config, predicted(cache.table[tested])))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"fold": "2"}, 12),
        ({"fold": "holdout"}, 12),
        ({"split": "row", "seed": 5}, 12),
        ({"split": "row", "seed": 5, "limit": 7}, 7),
        ({"fold": "1", "limit": 7}, 7),
    ],
)
def test_a_runs_crops_are_split_as_they_were_in_training(
    cache: CropCache, changes: dict[str, Any], kept: int
) -> None:
    studies, fold = cache.table["study_id"], changes.get("fold")
    if changes.get("split") == "row":
        tested = row_splits(len(studies), changes["seed"]) == "test"
    else:
        in_test = studies > 10 if fold == "holdout" else studies % 5 == int(fold)
        tested = in_test.to_numpy()
    tested = tested & (studies <= kept).to_numpy()
    run = made(cache, tested, **changes)
    table, splits = predictions_of(run, cache, folds_of(cache))
    assert set(table["crop"]) == set(cache.table.loc[tested, "crop"])
    assert ((splits == "test") == tested).all()
    assert (splits.isna() == (studies > kept)).all()
    assert {"train", "test"} <= set(splits.dropna())


def test_a_run_is_evaluated_on_its_own_crops(cache: CropCache) -> None:
    tested = (cache.table["study_id"] % 5 == 3).to_numpy()
    run = made(cache, tested, fold="3")
    evaluation = evaluation_of(run, cache, folds_of(cache))
    assert evaluation.name == run.folder.name
    assert evaluation.config.fold == "3"
    assert evaluation.leakage["studies"]["test"] == 2
    assert evaluation.leakage["studies"]["also_in_train"] == 0
    assert (evaluation.table["truth"] == evaluation.table["predicted"]).all()


def test_every_run_is_plotted_with_its_own_history(
    cache: CropCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for fold in (1, 2, 3):
        tested = (cache.table["study_id"] % 5 == fold).to_numpy()
        run = made(cache, tested, fold=str(fold))
        losses = {"train_loss": fold, "validation_loss": 10 * fold}
        line = json.dumps({"epoch": 1, **losses}) + "\n"
        (run.folder / "history.jsonl").write_text(line)
        runs.append(run)
    shown: list[tuple] = []
    draw = "src.reporting.condition_section.add_condition"
    monkeypatch.setattr(draw, lambda *given: shown.append(given))
    report_condition(runs, cache, folds_of(cache), HtmlReport("a page"), tmp_path)
    [(_, _, metrics, _, histories, _)] = shown
    assert [one["fold"] for one in metrics["vgg11"]["runs"]] == ["1", "2", "3"]
    for one in metrics["vgg11"]["runs"]:
        [row] = histories[one["name"]].to_dict("records")
        fold = int(one["fold"])
        assert (row["train_loss"], row["validation_loss"]) == (fold, 10 * fold)


@pytest.fixture
def severity_runs(cache: CropCache) -> list[Run]:
    """A run of either split, of probability .8 for each crop's severity."""
    changes = {"task": "severity", "labels": list(SEVERITIES)}
    changes["prior"] = uniform().to_dict("records")
    runs = []
    for split in ("row", "study"):
        run = made(cache, np.zeros(120, bool), split=split, **changes)
        tested = cache.table["study_id"] > 10
        if split == "row":
            tested = row_splits(120, 0) == "test"
        table = predicted(cache.table[tested]).iloc[:, :6].assign(truth=1, predicted=1)
        table = table.assign(p_normal_mild=0.1, p_moderate=0.8, p_severe=0.1)
        write_csv(table, run.folder / "predictions.csv")
        runs.append(run)
    return runs


def test_severity_is_scored_for_study_splits_on_all_labelled_rows(
    cache: CropCache, severity_runs: list[Run], tmp_path: Path
) -> None:
    page = HtmlReport("a page")
    report_severity(severity_runs, cache, folds_of(cache), page, tmp_path)
    severity = json.loads((tmp_path / "metrics.json").read_text())["severity"]
    assert [one["name"] for one in severity["runs"]] == [severity_runs[1].folder.name]
    # Of 25 rows a study, ten have a crop; of study 12, five have no label.
    assert (severity["studies"], severity["rows"]) == (2, 45)
    # The canal: of each study two levels have a crop, 0.8; the others have 1/3.
    expected = -(4 * np.log(0.8) + 5 * np.log(1 / 3)) / 9
    assert severity["spinal"] == pytest.approx(expected)
    # Every grade is right, and moderate.
    pictures = {path.name for path in (tmp_path / "figures").glob("severity_[rw]*.png")}
    assert pictures == {"severity_right.png", "severity_reliability.png"}
    assert any("surest right" in str(block.content) for block in page.blocks)


def test_a_cohort_without_a_family_gets_a_dash_for_its_score(
    cache: CropCache,
    severity_runs: list[Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    labels = cache.labels
    labels = labels[labels["condition"] != SPINAL].reset_index(drop=True)
    page, lacking = HtmlReport("a page"), replace(cache, labels=labels)
    report_severity(severity_runs, lacking, folds_of(cache), page, tmp_path)
    severity = json.loads((tmp_path / "metrics.json").read_text())["severity"]
    assert severity["score"] is severity["spinal"] is severity["any_severe"] is None
    assert severity["foraminal"] > 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "prior" in line]
    assert rows[-1].split("│")[2].strip() == "-"


@pytest.mark.parametrize(("moderate", "warned"), [(0.8, 0), (0.2, 3)])
def test_grades_no_better_than_the_prior_are_warned_of(
    cache: CropCache,
    severity_runs: list[Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    moderate: float,
    warned: int,
) -> None:
    path = severity_runs[1].folder / "predictions.csv"
    rest = dict.fromkeys(("p_normal_mild", "p_severe"), (1 - moderate) / 2)
    table = pd.read_csv(path).assign(p_moderate=moderate, **rest)
    write_csv(table.assign(predicted=int(moderate > 0.5)), path)
    page = HtmlReport("a page")
    report_severity(severity_runs, cache, folds_of(cache), page, tmp_path)
    warnings = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("Warning: the ")
    ]
    assert len(warnings) == warned
    # Every grade is moderate: -ln .2 against the uniform prior's -ln 1/3.
    assert all("score 1.609, no better than the prior's 1.099" in w for w in warnings)

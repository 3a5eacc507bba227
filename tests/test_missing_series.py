"""Series taken away from test studies: what is masked, and losses worked by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from view_crops import FOLDS, view_cache, views_config

from benchmarks import missing_series
from benchmarks.missing_series import (
    better_than_prior,
    missing_series_rows,
    predictions_without,
    without_view,
)
from src.cache.crop_cache import LABEL_COLUMNS, CropCache
from src.classification.crop_task import make_crop_task
from src.competition.constants import CONDITIONS, LEVELS
from src.errors import UserError
from src.files import write_csv, write_json
from src.training.config import RunConfig
from src.training.data_loading import BatchKey
from src.training.predictor import Predictor
from src.training.run_folder import Run

T1, T2, AXIAL = 0, 1, 2
# The network's answer to a site whose first present view is T1, T2 or axial.
ANSWERS = ((0.5, 0.25, 0.25), (0.125, 0.75, 0.125), (0.25, 0.25, 0.5))
LN2, LN4_3 = np.log(2), np.log(4 / 3)
PRIOR = [
    {"condition": c, "level": level, "normal_mild": 0.4, "moderate": 0.2, "severe": 0.4}
    for c in CONDITIONS
    for level in LEVELS
]


class FirstView(nn.Module):
    """Grades a site by the first of its views that is not blank."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits for sites [n, views, slices, px, px]."""
        flat = images.flatten(2)
        present = flat.amax(dim=2) > flat.amin(dim=2)
        return torch.tensor(ANSWERS).log()[present.to(torch.uint8).argmax(dim=1)]


@pytest.fixture(autouse=True)
def _first_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "model", lambda run: FirstView().eval())


@pytest.fixture
def cache(tmp_path: Path) -> CropCache:
    """Make a cache; of its test studies, 11 has no T2 but the canal's own, 12 all."""
    whole = view_cache(tmp_path)
    return replace(whole, labels=whole.sites[LABEL_COLUMNS])


def write_run(cache: CropCache, runs: Path, views: str) -> Run:
    """Write a run with its true predictions; one of marked views is always right."""
    config = views_config(prior=PRIOR)
    model = Predictor(FirstView(), 0, torch.device("cpu"))
    table = make_crop_task(cache, FOLDS, config).predict(model)
    if views == "own":
        names = [name for name in table if name.startswith("p_")]
        table[names] = np.eye(3)[table["truth"]] * 0.7 + 0.1
        table["predicted"] = table["truth"]
    config = replace(config, views=views)
    write_csv(table, runs / config.name / "predictions.csv")
    write_json(config.to_dict(), runs / config.name / "config.json")
    return Run(runs / config.name, config)


def rows_of(cache: CropCache, runs: Path, views: str) -> dict[str, dict[str, float]]:
    rows = missing_series_rows([write_run(cache, runs, views)], cache, FOLDS)
    return {str(row["series"]): dict(row) for row in rows}


def test_a_masked_view_is_blank_and_the_others_stay(cache: CropCache) -> None:
    test = make_crop_task(cache, FOLDS, views_config()).test
    every = BatchKey(np.arange(len(test)))
    before = test[every].images
    after = without_view(test, "Axial T2")[every].images
    assert before[:, AXIAL].flatten(1).any(dim=1).all()
    assert not after[:, AXIAL].any()
    assert torch.equal(after[:, :AXIAL], before[:, :AXIAL])
    assert torch.equal(test[every].images, before)  # itself it keeps its views


def test_views_run_scores_the_views_that_are_left(
    cache: CropCache, tmp_path: Path
) -> None:
    rows = rows_of(cache, tmp_path / "runs", "all")
    # The canal: severe, normal in study 11, normal, moderate in 12: weights 4, 1, 1, 2.
    assert rows["all"]["spinal"] == pytest.approx((6 * 2 + 2) * LN2 / 8)
    without = rows["without Sagittal T1"]
    assert without["spinal"] == pytest.approx((6 * 3 * LN2 + 2 * LN4_3) / 8)
    # Foramina: 1, 2, 0, 1 in study 11, by the axial view; 2, 0, 1, 2 in 12, by the T2.
    study_11, study_12 = 5 * 2 * LN2 + 4 * LN2, 9 * 3 * LN2 + 2 * LN4_3
    assert without["foraminal"] == pytest.approx((study_11 + study_12) / 20)
    # The first view is there without the later ones.
    numbers = ["spinal", "foraminal", "subarticular", "any_severe", "score"]
    for name in ("without Sagittal T2/STIR", "without Axial T2"):
        assert [rows[name][n] for n in numbers] == pytest.approx(
            [rows["all"][n] for n in numbers]
        )


def test_the_score_is_the_mean_of_the_four_terms(
    cache: CropCache, tmp_path: Path
) -> None:
    row = rows_of(cache, tmp_path / "runs", "all")["without Sagittal T1"]
    # P(severe) is 1/8 at all canals; study 11 is severe (4), 12 is moderate (2).
    any_severe = (4 * np.log(8) + 2 * np.log(8 / 7)) / 6
    assert row["any_severe"] == pytest.approx(any_severe)
    terms = [row[n] for n in ("spinal", "foraminal", "subarticular")]
    assert row["score"] == pytest.approx(np.mean([*terms, any_severe]))


def test_a_site_whose_only_view_is_taken_keeps_the_prior(
    cache: CropCache, tmp_path: Path
) -> None:
    table = cache.table
    alone = table[(table["study_id"] != 12) | (table["view"] == "own")]
    cache = replace(cache, table=alone)
    row = rows_of(cache, tmp_path / "runs", "all")["without Sagittal T1"]
    # Of study 12's foramina 9 by weight are severe or normal (.4), 2 moderate (.2).
    study_11 = 5 * 2 * LN2 + 4 * LN2
    study_12 = 9 * np.log(2.5) + 2 * np.log(5)
    assert row["foraminal"] == pytest.approx((study_11 + study_12) / 20)


def test_own_view_run_falls_to_the_prior_where_its_series_is_taken(
    cache: CropCache, tmp_path: Path
) -> None:
    rows = rows_of(cache, tmp_path / "runs", "own")
    usual = {
        "without Sagittal T1": "foraminal",
        "without Sagittal T2/STIR": "spinal",
        "without Axial T2": "subarticular",
    }
    # The share of moderate by weight; the recesses are graded like the foramina.
    moderate = {"spinal": 2 / 8, "foraminal": 6 / 20, "subarticular": 6 / 20}
    for name, taken in usual.items():
        for family, share in moderate.items():
            prior = share * np.log(5) + (1 - share) * np.log(2.5)
            expected = prior if family == taken else -np.log(0.8)
            assert rows[name][family] == pytest.approx(expected)
        assert rows[name]["better than the prior"] == f"{taken}: no"
    assert rows["all"]["better than the prior"] == (
        "spinal: yes, foraminal: yes, subarticular: yes"
    )
    assert rows["prior alone"]["spinal"] == rows["without Sagittal T2/STIR"]["spinal"]


def test_runs_of_two_folds_are_pooled_each_with_its_own_prior(
    cache: CropCache, tmp_path: Path
) -> None:
    severe = [
        {**row, "normal_mild": 0.2, "moderate": 0.1, "severe": 0.7} for row in PRIOR
    ]
    runs = []
    for fold, prior in (("1", PRIOR), ("2", severe)):
        config = views_config(prior=prior)
        config = replace(config, views="own", fold=fold)
        task = make_crop_task(cache, FOLDS, config)
        table = cache.sites.set_index("crop").loc[task.test.rows].reset_index()
        keys = ["crop", "study_id", "series_id", "instance_number", "condition"]
        table = table[[*keys, "level"]].assign(truth=task.test.classes)
        table["predicted"] = table["truth"]
        right = np.eye(3)[table["truth"]] * 0.7 + 0.1
        for index, label in enumerate(config.labels):
            table[f"p_{label}"] = right[:, index]
        write_csv(table, tmp_path / config.name / "predictions.csv")
        runs.append(Run(tmp_path / config.name, config))
    rows = {str(r["series"]): r for r in missing_series_rows(runs, cache, FOLDS)}
    labels = cache.sites[cache.sites["condition"] == "spinal_canal_stenosis"]
    costs, weights = [], []
    for row in labels.itertuples():
        fold = row.study_id % 5
        if fold in (1, 2):
            odds = {1: (0.4, 0.2, 0.4), 2: (0.2, 0.1, 0.7)}[fold]
            grade = ("normal_mild", "moderate", "severe").index(row.severity)
            costs.append(-np.log(odds[grade]))
            weights.append(2**grade)
    expected = np.average(costs, weights=weights)
    assert rows["without Sagittal T2/STIR"]["spinal"] == pytest.approx(expected)
    assert rows["without Axial T2"]["spinal"] == pytest.approx(-np.log(0.8))


def test_equal_to_the_prior_is_not_better_and_unlabelled_says_nothing() -> None:
    prior = {"spinal": 1.0, "foraminal": 1.0, "subarticular": None}
    terms = {"spinal": 1.0, "foraminal": 0.9, "subarticular": None}
    said = better_than_prior(terms, prior, terms)
    assert said == "spinal: no, foraminal: yes"
    assert better_than_prior(terms, prior, ["subarticular"]) == "-"


def test_crops_of_another_size_are_refused(cache: CropCache, tmp_path: Path) -> None:
    run = write_run(cache, tmp_path / "runs", "all")
    crop = {**run.config.crop, "field_mm": 60.0}
    other = Run(run.folder, replace(run.config, crop=crop))
    with pytest.raises(UserError, match="name the cache it was trained on"):
        predictions_without(other, pd.DataFrame(), cache, FOLDS)


def command(monkeypatch: pytest.MonkeyPatch, cache: CropCache, folder: Path) -> None:
    monkeypatch.setattr(missing_series, "open_cache", lambda path: cache)
    monkeypatch.setattr(missing_series, "read_folds", lambda path: FOLDS)
    monkeypatch.chdir(folder)
    flags = ["--cache", "cache", "--runs", "runs", "--write"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/missing_series.py", *flags])
    missing_series.main()


def test_every_variant_has_a_table_of_its_own(
    cache: CropCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for views in ("all", "own"):
        write_run(cache, tmp_path / "runs", views)
    command(monkeypatch, cache, tmp_path)
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "## Missing series, resnet10t\n" in text
    assert "## Missing series, resnet10t (study, attention, views all)\n" in text
    assert text.count("| without Axial T2 |") == 2
    assert text.count("Runs pooled: 1.") == 2
    assert text.count("| 0.223 | 0.223 | 0.223 |") == 1  # -ln 0.8: not pooled


def test_runs_of_the_row_split_are_no_runs_to_measure(
    cache: CropCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: RunConfig = replace(views_config(), split="row")
    write_json(config.to_dict(), tmp_path / "runs" / config.name / "config.json")
    with pytest.raises(UserError, match="no severity run of the study split"):
        command(monkeypatch, cache, tmp_path)

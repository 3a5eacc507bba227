"""Accuracy, confusion and intervals, against values computed by hand."""

import numpy as np
import pandas as pd
import pytest

from src.classification.accuracy import RESAMPLES, study_interval, summarise
from src.competition.constants import CONDITIONS


def predictions(truth: list[int], predicted: list[int]) -> pd.DataFrame:
    table = pd.DataFrame({"truth": truth, "predicted": predicted})
    return table.assign(crop=range(len(table)), study_id=np.arange(len(table)) // 2)


# 0 left foraminal, 1 left subarticular, 2 right foraminal, 3 right s., 4 canal
BY_HAND = predictions([0, 0, 2, 2, 1, 3, 4, 4], [0, 2, 2, 0, 1, 4, 4, 4])


def test_accuracy_and_confusion_of_a_table_computed_by_hand() -> None:
    summary = summarise(BY_HAND)
    assert summary["top1"] == 5 / 8
    assert summary["foraminal_side"] == 2 / 4
    assert summary["foraminal_merged"] == 7 / 8
    assert summary["confusion"] == [
        [1, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 2],
    ]
    assert summary["n"] == 8
    assert summary["studies"] == 4


def test_precision_and_recall_of_the_same_table() -> None:
    summary = summarise(BY_HAND)
    precision = dict(zip(CONDITIONS, [1 / 2, 1, 1 / 2, None, 2 / 3], strict=True))
    assert summary["precision"] == pytest.approx(precision)
    recall = dict(zip(CONDITIONS, [1 / 2, 1, 1 / 2, 0, 1], strict=True))
    assert summary["recall"] == pytest.approx(recall)


def test_without_a_foraminal_crop_there_is_no_side() -> None:
    assert summarise(predictions([4, 1], [4, 3]))["foraminal_side"] is None


def random_table(seed: int) -> pd.DataFrame:
    """300 crops of 30 studies, about 7 in 10 predicted correctly."""
    rng = np.random.default_rng(seed)
    truth = np.arange(300) % 5
    predicted = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 5, 300))
    table = pd.DataFrame({"truth": truth, "predicted": predicted})
    return table.assign(crop=range(300), study_id=np.arange(300) // 10)


def test_repeating_predictions_does_not_narrow_the_interval() -> None:
    once = random_table(0)
    thrice = summarise(pd.concat([once] * 3, ignore_index=True))
    alone = summarise(once)
    assert thrice["n"] == alone["n"] == 300
    for key in ("top1", "top1_low", "top1_high", "foraminal_side", "foraminal_merged"):
        assert thrice[key] == pytest.approx(alone[key], abs=1e-9)
    assert np.array(thrice["confusion"]) == pytest.approx(np.array(alone["confusion"]))


def test_seeds_that_differ_share_each_crop_between_them() -> None:
    # Crop 0 is tested by two seeds, one right; crops 1 and 2 by one, wrong and right.
    table = predictions([0, 0, 2, 4], [0, 2, 4, 4]).assign(crop=[0, 0, 1, 2])
    summary = summarise(table)
    assert summary["top1"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert summary["confusion"][0] == [0.5, 0, 0.5, 0, 0]
    assert sum(map(sum, summary["confusion"])) == summary["n"] == 3


def test_the_interval_is_wider_where_a_studys_crops_err_together() -> None:
    rng = np.random.default_rng(0)
    studies = np.repeat(np.arange(60), 20)
    alone = rng.random(1200) < 0.8
    together = np.repeat(rng.random(60) < 0.8, 20)
    widths = []
    for right in (alone, together):
        low, high = study_interval(studies, right, np.ones(1200))
        assert low < right.mean() < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 1200), rel=0.25)
    assert widths[1] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 60), rel=0.25)


def test_the_interval_agrees_with_a_bootstrap_study_by_study() -> None:
    table = random_table(1)
    right = (table["truth"] == table["predicted"]).to_numpy()
    studies = table["study_id"].to_numpy()
    interval = study_interval(studies, right, np.ones(300))
    rng = np.random.default_rng(9)
    draws = [
        np.mean([right[studies == s].mean() for s in rng.integers(0, 30, 30)])
        for _ in range(RESAMPLES)
    ]
    assert interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.01)


def test_a_foramen_predicted_as_canal_does_not_count_for_the_side() -> None:
    summary = summarise(predictions([0, 2, 0, 4], [0, 2, 4, 2]))
    assert summary["foraminal_side"] == 1
    assert summary["foraminal_merged"] == 2 / 4


def test_runs_of_a_crop_share_its_weight_in_every_figure() -> None:
    # Crop 0 is tested by two runs, one on the wrong side; the others by one.
    table = predictions([0, 0, 2, 4], [0, 2, 2, 1]).assign(crop=[0, 0, 1, 2])
    summary = summarise(table)
    assert summary["foraminal_side"] == pytest.approx((1 / 2 + 1) / 2)
    assert summary["foraminal_merged"] == pytest.approx((1 + 1 + 0) / 3)
    assert summary["recall"][CONDITIONS[0]] == pytest.approx(1 / 2)
    assert summary["precision"][CONDITIONS[2]] == pytest.approx(1 / 1.5)


def test_the_interval_counts_a_large_study_by_its_crops() -> None:
    studies = np.repeat(np.arange(400), np.tile([1, 9], 200))
    right = np.repeat(np.tile([False, True], 200), np.tile([1, 9], 200))
    low, high = study_interval(studies, right, np.ones(len(studies)))
    # The delta method for a ratio of means: studies' wrong less .1 of their crops.
    wrong, crops = np.tile([1, 0], 200), np.tile([1, 9], 200)
    deviation = np.std(wrong - 0.1 * crops) / np.mean(crops) / np.sqrt(400)
    assert low < 0.9 < high
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_the_interval_is_of_95_per_cent() -> None:
    right = np.arange(900) % 5 > 0
    low, high = study_interval(np.arange(900), right, np.ones(900))
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 900), rel=0.06)

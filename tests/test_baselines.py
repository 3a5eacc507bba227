"""Baselines that see no pixel, against values worked out by hand."""

import pandas as pd
import pytest
from fake_condition_runs import sites

from src.classification.aggregate import pooled_baselines
from src.classification.baselines import baseline_accuracy, nearest_neighbour

LEFT, RIGHT = "left_neural_foraminal_narrowing", "right_neural_foraminal_narrowing"
CANAL = "spinal_canal_stenosis"


def crop(condition: str, slice_: int, x_mm: float = 0.0, **changes: object) -> dict:
    """A crop of series 5 of study 1, on a sagittal T1."""
    row = {"study_id": 1, "series_id": 5, "series_description": "Sagittal T1"}
    where = {"slice": slice_, "x_mm": x_mm, "y_mm": 0.0, "z_mm": 0.0}
    return {**row, "condition": condition, **where, **changes}


def baseline_rates(train: list[dict], test: list[dict]) -> pd.DataFrame:
    return baseline_accuracy(pd.DataFrame(train), pd.DataFrame(test))


def test_the_nearest_slice_goes_before_the_nearest_point() -> None:
    train = [crop(LEFT, 9, x_mm=4.0), crop(RIGHT, 7, x_mm=0.1)]
    found = nearest_neighbour(
        pd.DataFrame(train), pd.DataFrame([crop(LEFT, 10, x_mm=0.0)])
    )
    assert found.tolist() == [LEFT]


def test_on_one_slice_the_nearest_point_counts() -> None:
    train = [crop(LEFT, 3, x_mm=9.0), crop(RIGHT, 3, x_mm=-2.0)]
    found = nearest_neighbour(
        pd.DataFrame(train), pd.DataFrame([crop(RIGHT, 4, x_mm=0.0)])
    )
    assert found.tolist() == [RIGHT]


@pytest.mark.parametrize("other", [{"study_id": 2}, {"series_id": 6}])
def test_a_neighbour_is_of_the_same_series(other: dict) -> None:
    train = [crop(LEFT, 3, **other), crop(RIGHT, 3, **other), crop(RIGHT, 1, **other)]
    rates = baseline_rates(train, [crop(LEFT, 3)])
    assert rates["nearest_neighbour"].tolist() == [0.5]


def test_the_nearest_neighbour_can_be_wrong() -> None:
    rates = baseline_rates(
        [crop(RIGHT, 4), crop(LEFT, 9)], [crop(LEFT, 5), crop(RIGHT, 5)]
    )
    assert rates["nearest_neighbour"].tolist() == [0, 1]
    assert rates["random_side"].tolist() == [0.5, 0.5]


def test_the_majority_class_is_that_of_the_series_type() -> None:
    train = [crop(LEFT, 1), crop(RIGHT, 9), crop(RIGHT, 9)]
    rates = baseline_rates(train, [crop(LEFT, 1), crop(RIGHT, 9)])
    assert rates["majority_class"].tolist() == [0, 1]


def test_a_crop_on_an_unexpected_series_is_missed() -> None:
    # Real data has canal points on a Sagittal T1.
    rates = baseline_rates([crop(LEFT, 1), crop(RIGHT, 9)], [crop(CANAL, 5)])
    assert rates.loc[
        0, ["majority_class", "random_side", "nearest_neighbour"]
    ].tolist() == [0, 0, 0]
    assert not rates.loc[0, "foraminal"]


def test_an_unknown_series_type_has_the_majority_of_all_training_crops() -> None:
    rates = baseline_rates(
        [crop(LEFT, 1), crop(LEFT, 1), crop(CANAL, 1, series_description="x")],
        [crop(LEFT, 1, series_description=None)],
    )
    assert rates["majority_class"].tolist() == [1]


def test_the_competitions_counts_give_the_known_baselines() -> None:
    # A tenth of the 48,692 points: 60.0 % by majority class, 79.8 % by random side.
    counts = {
        ("Sagittal T1", LEFT): 986,
        ("Sagittal T1", RIGHT): 985,
        ("Sagittal T2/STIR", CANAL): 975,
        ("Axial T2", "right_subarticular_stenosis"): 961,
        ("Axial T2", "left_subarticular_stenosis"): 960,
    }
    test = pd.DataFrame(
        crop(condition, 1, series_description=kind)
        for (kind, condition), count in counts.items()
        for _ in range(count)
    ).assign(crop=range(sum(counts.values())))
    rates = baseline_accuracy(test.assign(study_id=2), test)
    pooled = pooled_baselines(rates.assign(crop=test["crop"]))
    assert pooled["majority_class"] == pytest.approx(0.600, abs=5e-4)
    assert pooled["random_side"] == pytest.approx(0.798, abs=5e-4)


def test_under_a_study_split_there_is_no_neighbour() -> None:
    table = sites(6)
    tested = table["study_id"] > 4
    rates = baseline_accuracy(table[~tested], table[tested])
    assert (rates["nearest_neighbour"] == rates["random_side"]).all()
    assert rates["nearest_neighbour"].mean() == pytest.approx(0.8)
    assert rates["majority_class"].mean() == pytest.approx(0.6)


def test_under_a_row_split_the_other_level_gives_the_side_away() -> None:
    table = sites(6)
    tested = table["level"] == "l3_l4"
    rates = baseline_accuracy(table[~tested], table[tested])
    assert rates["nearest_neighbour"].tolist() == [1] * 30


def test_a_crop_that_several_runs_tested_counts_once() -> None:
    table = pd.DataFrame(
        {
            "crop": [7, 7, 8],
            "majority_class": [1.0, 1.0, 0.0],
            "random_side": [1.0, 1.0, 0.0],
            "nearest_neighbour": [1.0, 0.0, 1.0],
            "foraminal": [True, True, False],
        }
    )
    pooled = pooled_baselines(table)
    assert pooled["majority_class"] == pytest.approx(1 / 2)
    assert pooled["nearest_neighbour"] == pytest.approx(3 / 4)
    assert pooled["nearest_neighbour_side"] == pytest.approx(1 / 2)


def test_a_neighbour_decides_foraminal_sides_alone() -> None:
    axial = {"series_description": "Axial T2"}
    names = [f"{side}_subarticular_stenosis" for side in ("left", "right")]
    train = [crop(names[0], 3, **axial), crop(names[1], 9, **axial)]
    rates = baseline_rates(train, [crop(names[1], 3, **axial)])
    assert rates.loc[0, ["random_side", "nearest_neighbour"]].tolist() == [1, 1]


def test_the_nearest_point_is_nearest_in_3d() -> None:
    train = [
        crop(LEFT, 3, x_mm=6.0, y_mm=-6.0),  # differences that cancel
        crop(RIGHT, 3, x_mm=2.0, y_mm=2.0, z_mm=2.0),
        crop(LEFT, 3, z_mm=7.0),
    ]
    found = nearest_neighbour(pd.DataFrame(train), pd.DataFrame([crop(LEFT, 3)]))
    assert found.tolist() == [RIGHT]


def test_a_foraminal_crop_of_several_runs_counts_once() -> None:
    sure = {"majority_class": 1.0, "random_side": 1.0, "foraminal": True}
    rows = [
        {"crop": 7, "nearest_neighbour": 1.0},
        {"crop": 7, "nearest_neighbour": 0.0},
    ]
    rows.append({"crop": 9, "nearest_neighbour": 1.0})
    pooled = pooled_baselines(pd.DataFrame(rows).assign(**sure))
    assert pooled["nearest_neighbour_side"] == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_without_a_known_series_type_the_commonest_class_is_predicted(
    first: int,
) -> None:
    train = [crop(LEFT, 1), crop(CANAL, 1, series_description="x"), crop(LEFT, 1)]
    train = train[first:] + train[:first]
    rates = baseline_rates(train, [crop(LEFT, 1, series_description="y")])
    assert rates["majority_class"].tolist() == [1]

"""Runs aggregated by variant, over folds and seeds."""

import pandas as pd
import pytest
from fake_condition_runs import CROP, predicted, run_config, sites

from src.classification.aggregate import RunEvaluation, condition_metrics, evaluate_run
from src.classification.variants import name_variants
from src.training.config import RunConfig

TABLE = sites(6)
OTHER_SIDE = "right_neural_foraminal_narrowing"
LEFT = TABLE.index[TABLE["condition"] == "left_neural_foraminal_narrowing"]


def run(test: set[int], wrong: int = 0, **changes: object) -> RunEvaluation:
    """A run on some test studies that gets `wrong` left foramina of them wrong."""
    roles = pd.Series("train", TABLE.index)
    roles = roles.mask(TABLE["study_id"].isin(test), "test")
    own = TABLE[roles == "test"]
    mistaken = dict.fromkeys(LEFT.intersection(own.index)[:wrong], OTHER_SIDE)
    config = run_config(**changes)
    return evaluate_run("a run", config, predicted(own, mistaken), TABLE, roles)


def test_folds_are_pooled_and_their_spread_reported() -> None:
    runs = [run({1, 2}, 1, fold="0"), run({3, 4}, 3, fold="1")]
    metrics = condition_metrics(runs)["vgg11"]
    assert metrics["n"] == 40
    assert metrics["studies"] == 4
    assert metrics["top1"] == pytest.approx(36 / 40)
    assert [r["top1"] for r in metrics["runs"]] == pytest.approx([19 / 20, 17 / 20])
    assert [(r["fold"], r["seed"]) for r in metrics["runs"]] == [("0", 0), ("1", 0)]
    assert metrics["top1_mean"] == pytest.approx(0.9)
    assert metrics["top1_std"] == pytest.approx(0.1 / 2**0.5)
    assert (metrics["top1_min"], metrics["top1_max"]) == pytest.approx((0.85, 0.95))


def test_seeds_test_the_same_crops_once() -> None:
    metrics = condition_metrics([run({1}, 2), run({1}, 0, seed=1)])["vgg11"]
    assert metrics["n"] == 10
    assert metrics["top1"] == pytest.approx(0.9)
    assert metrics["foraminal_side"] == pytest.approx(3 / 4)


def test_a_single_run_has_no_deviation() -> None:
    assert condition_metrics([run({1})])["vgg11"]["top1_std"] is None


def test_baselines_and_leakage_are_reported_with_the_accuracy() -> None:
    metrics = condition_metrics([run({5, 6})])["vgg11"]
    assert metrics["baselines"] == pytest.approx(
        {
            "majority_class": 0.6,
            "random_side": 0.8,
            "nearest_neighbour": 0.8,
            "nearest_neighbour_side": 0.5,
        }
    )
    [leak] = [one["leakage"] for one in metrics["runs"]]
    assert leak["studies"] == {"test": 2, "also_in_train": 0, "share_of_crops": 0}


NATIVE = {**CROP, "field_mm": None}
VARIANTS = {
    "vgg11": {},
    "vgg11 (row, neighbours)": {"split": "row"},
    "vgg11 (study, repeat)": {"slices": "repeat"},
    "vgg11 (row, repeat)": {"split": "row", "slices": "repeat"},
}


def names(*configs: RunConfig) -> list[str]:
    return [name for name, _ in name_variants(configs)]


def test_every_variant_of_a_backbone_has_its_name() -> None:
    assert names(*(run_config(**changes) for changes in VARIANTS.values())) == list(
        VARIANTS
    )


def test_folds_and_seeds_are_one_variant() -> None:
    runs = [run_config(fold="0"), run_config(fold="1"), run_config(seed=3)]
    assert set(names(*runs)) == {"vgg11"}


def test_a_backbones_only_variant_has_its_name() -> None:
    assert names(run_config(split="row"), run_config(backbone="vgg16")) == [
        "vgg11",
        "vgg16",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": NATIVE}, "3 slices of 16 px over native pixels"),
        ({"lr": 0.01}, "lr 0.01"),
        ({"limit": 5}, "limit 5"),
        ({"weights": "a/folder/w.safetensors"}, "weights w.safetensors"),
    ],
)
def test_other_crops_and_hyperparameters_are_another_variant(
    change: dict, words: str
) -> None:
    # Of variants with the same split and slices the one with most runs is standard.
    runs = [run_config(fold="0"), run_config(fold="1"), run_config(**change)]
    assert names(*runs) == ["vgg11", "vgg11", f"vgg11 (study, neighbours, {words})"]


def test_each_folds_own_prior_is_not_a_variant() -> None:
    priors = ([{"severe": 0.1}], [{"severe": 0.2}])
    runs = [run_config(fold=str(k), prior=prior) for k, prior in enumerate(priors)]
    assert names(*runs) == ["vgg11", "vgg11"]


@pytest.mark.parametrize(
    "other", [{"crop": NATIVE}, {"limit": 5}, {"split": "row"}, {"slices": "repeat"}]
)
def test_the_standard_variant_may_have_fewer_runs(other: dict) -> None:
    others = [run_config(fold=str(fold), **other) for fold in range(3)]
    assert names(run_config(), *others)[0] == "vgg11"


def test_baselines_are_joined_to_their_own_crops() -> None:
    own = TABLE[TABLE["study_id"] > 4]
    roles = pd.Series("train", TABLE.index).mask(TABLE["study_id"] > 4, "test")
    shuffled = predicted(own).sample(frac=1, random_state=0, ignore_index=True)
    table = evaluate_run("a run", run_config(), shuffled, TABLE, roles).table
    foramina = table["condition"].str.contains("foraminal")
    assert (table["foraminal"] == foramina).all()
    assert (table["nearest_neighbour"] == foramina.map({True: 0.5, False: 1.0})).all()
    assert table["crop"].tolist() == shuffled["crop"].tolist()


def test_validation_crops_do_not_count_as_training() -> None:
    later, upper = TABLE["study_id"] > 1, TABLE["level"] == "l3_l4"
    roles = pd.Series("train", TABLE.index)
    roles = roles.mask(later & upper, "test").mask(later & ~upper, "validation")
    tested = predicted(TABLE[roles == "test"])
    metrics = evaluate_run("a run", run_config(split="row"), tested, TABLE, roles)
    assert metrics.leakage["studies"] == {
        "test": 5,
        "also_in_train": 0,
        "share_of_crops": 0,
    }
    # Without a neighbour, a foramen's side stays random.
    assert (
        metrics.table.loc[metrics.table["foraminal"], "nearest_neighbour"] == 0.5
    ).all()


def test_a_mean_over_runs_counts_them_alike() -> None:
    metrics = condition_metrics([run({1, 2, 3}, 3, fold="0"), run({4}, 2, fold="1")])
    assert metrics["vgg11"]["top1"] == pytest.approx(35 / 40)
    assert metrics["vgg11"]["top1_mean"] == pytest.approx((27 / 30 + 8 / 10) / 2)

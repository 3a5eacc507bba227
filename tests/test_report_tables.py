"""Every column of the report's tables holds the value that its header names."""

from typing import Any

import numpy as np
import pytest
from report_entries import PRECISION, RECALL, entry, run_row

from src.competition.constants import CONDITIONS, FAMILIES
from src.reporting.paper_results import (
    LEADERBOARD,
    PAPER_BASELINES,
    PAPER_RESULTS,
    SHARED_IMAGES,
    WINNERS_SLICES,
)
from src.reporting.tables import (
    baselines_table,
    leakage_table,
    missing_experiments,
    precision_recall_table,
    recipes_table,
    runs_table,
    shared_settings,
    sort_as_paper,
    spread,
    spread_table,
    table2,
    table2_more,
    table2_paired,
    table2_short,
    two_by_two,
)

# The paper's Table 2, and the confusion matrices in its authors' stored outputs (rows
# true), in each matrix's own order: left and right foraminal, subarticular, spinal.
TABLE_2 = {
    **{"vgg11": 91.4, "vgg16": 93.4, "mnasnet0_75": 87.3},
    **{"mnasnet1_0": 88.2, "resnet101": 94.6, "resnet152": 94.4},
}
SCS, RNFN, LNFN, RSAS, LSAS = "SCS", "RNFN", "LNFN", "RSAS", "LSAS"
STORED = {
    "vgg11": (
        (SCS, RNFN, LNFN, RSAS, LSAS),
        "1946 1 2 1 1  0 1585 387 0 0  0 437 1530 1 4  0 0 0 1922 0  0 2 0 0 1920",
    ),
    "vgg16": (
        (SCS, RNFN, LNFN, RSAS, LSAS),
        "1947 2 2 0 0  0 1647 325 0 0  0 305 1667 0 0  0 1 0 1921 0  0 4 6 1 1911",
    ),
    "mnasnet0_75": (
        (LNFN, LSAS, RNFN, RSAS, SCS),
        "1127 0 370 0 3  0 1426 1 6 0  527 0 949 1 9  1 1 0 1407 0  6 0 0 0 1471",
    ),
    "mnasnet1_0": (
        (LNFN, LSAS, RNFN, RSAS, SCS),
        "1445 1 54 0 0  0 1433 0 0 0  1053 2 431 0 0  7 97 0 1305 0  15 1 2 0 1459",
    ),
    "resnet101": (
        (LNFN, LSAS, RNFN, RSAS, SCS),
        "1317 0 164 0 0  1 1408 1 0 0  210 0 1339 0 0  0 1 0 1444 0  0 0 0 0 1420",
    ),
    "resnet152": (
        (LNFN, LSAS, RNFN, RSAS, SCS),
        "1350 1 130 0 0  1 1408 0 1 0  261 1 1286 0 1  0 1 0 1444 0  1 0 0 0 1419",
    ),
}


@pytest.mark.parametrize("backbone", STORED)
def test_published_accuracies_follow_from_the_papers_own_matrices(
    backbone: str,
) -> None:
    order, numbers = STORED[backbone]
    counts = np.array(numbers.split(), float).reshape(5, 5)
    pair = [order.index(LNFN), order.index(RNFN)]
    block = counts[np.ix_(pair, pair)]
    result = PAPER_RESULTS[backbone]
    off_side = block.sum() - np.trace(block)
    assert result.top1 == pytest.approx(TABLE_2[backbone] / 100)
    assert result.corrected == pytest.approx(np.trace(counts) / counts.sum(), abs=6e-5)
    assert result.side == pytest.approx(np.trace(block) / block.sum(), abs=6e-4)
    merged = (np.trace(counts) + off_side) / counts.sum()
    assert result.merged == pytest.approx(merged, abs=6e-4)


def test_the_papers_baselines_follow_from_the_competitions_counts() -> None:
    foraminal, spinal, subarticular = (9860, 9859), 9753, (9612, 9608)
    points = sum(foraminal) + spinal + sum(subarticular)
    by_type = (max(foraminal) + spinal + max(subarticular)) / points
    coin = (spinal + sum(subarticular) + sum(foraminal) / 2) / points
    assert PAPER_BASELINES["majority_class"] == pytest.approx(by_type, abs=6e-4)
    assert PAPER_BASELINES["random_side"] == pytest.approx(coin, abs=6e-4)
    assert PAPER_BASELINES["nearest_neighbour_side"] == 0.995
    assert SHARED_IMAGES == 0.698


def test_the_leaderboard_has_the_published_scores() -> None:
    assert LEADERBOARD == {
        **{"1st": (0.33, None), "6th": (0.355, 0.401), "7th": (0.34, 0.401)},
        **{"13th": (0.345, 0.412), "14th": (0.35, 0.41), "27th": (0.39, 0.44)},
        "a silver medal": (0.43, 0.49),
    }
    assert WINNERS_SLICES == (0.71, 0.98)


def test_table2_csv_has_each_value_in_its_column() -> None:
    [row] = table2({"mnasnet1_0 (wide)": entry()})
    assert row == {
        **{"backbone": "mnasnet1_0 (wide)", "paper": 0.882, "paper, corrected": 0.8313},
        **{"ours": 0.811, "95 % low": 0.752, "95 % high": 0.883},
        **{"paper's side": 0.629, "our side": 0.633},
        **{"paper, merged": 0.983, "ours, merged": 0.947},
        **{"split": "study", "slices": "neighbours"},
        **{"crops": 1234, "studies": 56, "runs": 2},
        **{"mean": 0.805, "std": 0.021, "min": 0.791, "max": 0.822},
        **{"baseline majority_class": 0.597, "baseline random_side": 0.796},
        **{
            "baseline nearest_neighbour": 0.871,
            "baseline nearest_neighbour_side": 0.985,
        },
    }


PAIRED = {
    "groups": [
        {
            **{"split": "study", "slices": "neighbours", "folds": ["holdout"]},
            **{"studies": 56, "figures": {"b": 0.84, "a": 0.811, "c": 0.8}},
            "pairs": [
                {
                    **{"first": "b", "second": "a", "difference": 0.029},
                    **{"low": 0.004, "high": 0.054, "shown": True},
                },
                {
                    **{"first": "b", "second": "c", "difference": 0.0001},
                    **{"low": -0.01, "high": 0.03, "shown": False},
                },
                {
                    **{"first": "a", "second": "c", "difference": 0.011},
                    **{"low": -0.5, "high": 0.5, "shown": False},
                },
            ],
        }
    ],
    "skipped": ["d"],
}


def test_table_2_has_the_paired_difference_to_the_best_beside() -> None:
    names = ("a", "b", "c", "d")
    rows = table2_paired({name: entry() for name in names}, PAIRED)
    assert [row["behind the best"] for row in rows] == [
        *("-2.9 (-5.4 to -0.4), shown", "is the best"),
        *("+0.0 (-3.0 to +1.0), not shown", "not compared"),
    ]
    assert {row["ours"] for row in rows} == {"81.1"}


def test_the_experiments_stand_in_their_columns_and_missing_ones_are_named() -> None:
    made = {
        "a": entry(top1=0.81),
        "b": entry(top1=0.92, split="row", slices="repeat"),
        "c": entry(top1=0.93, split="row", slices="repeat", differs_by="lr 1"),
        "d": entry(top1=0.74, backbone="convnext", split="row"),
    }
    first, second = two_by_two(made)
    assert first == {
        "backbone": "mnasnet1_0",
        "study split, neighbours": "81.0",
        "study split, repeat": "-",
        "row split (leaks), neighbours": "-",
        "row split (leaks), repeat": "92.0, 93.0",
        "the paper (row split, repeat)": "88.2",
    }
    assert [*second.values()] == ["convnext", "-", "-", "74.0", "-", "-"]
    [missing] = missing_experiments(made)
    assert "--split study --slices repeat`" in missing


def test_settings_that_all_share_are_named_once() -> None:
    entries = {
        "a": entry(recipe={"optimizer": "sgd", "batch_size": 8, "lr": 0.1}),
        "b": entry(recipe={"optimizer": "sgd", "batch_size": 8, "lr": 0.2}),
    }
    assert shared_settings(entries) == (
        "The same for all entries: optimizer sgd, batch size 8."
    )
    assert [row["lr"] for row in recipes_table(entries)] == ["0.1", "0.2"]
    assert not {"optimizer", "batch size"} & {*recipes_table(entries)[0]}


def test_the_rest_of_table_2_has_each_value_in_its_column() -> None:
    [row] = table2_more({"mnasnet1_0": entry()})
    assert row == {
        "entry": "mnasnet1_0",
        **{"side, paper": "62.9", "side, ours": "63.3"},
        **{"merged, paper": "98.3", "merged, ours": "94.7"},
        **{"runs": 2, "mean ± sd": "80.5 ± 2.1", "crops": "1,234", "studies": "56"},
    }


def test_the_short_table_2_has_the_papers_accuracies_and_ours() -> None:
    [row] = table2_short({"mnasnet1_0": entry()})
    shown = [row[name] for name in ("paper", "corrected", "ours", "95 %")]
    assert shown == ["88.2", "83.1", "81.1", "75.2-88.3"]


def test_a_backbone_not_in_the_paper_has_dashes_for_its_values() -> None:
    entries = {"x": entry(backbone="convnext", foraminal_side=None)}
    [short], [row] = table2_short(entries), table2_more(entries)
    assert (short["paper"], short["corrected"]) == ("-", "-")
    names = ("side, paper", "side, ours", "merged, paper")
    assert {row[name] for name in names} == {"-"}
    assert row["merged, ours"] == "94.7"


def test_variants_have_a_column_of_their_differences() -> None:
    plain, apart = table2_short({"a": entry(), "b": entry(differs_by="lr 0.01")})
    assert (plain["differs by"], apart["differs by"]) == ("-", "lr 0.01")


def test_one_run_has_no_spread() -> None:
    assert spread(entry(top1_std=None)) == "-"
    assert spread(entry(top1_mean=1, top1_std=0.0)) == "100.0 ± 0.0"


def test_precision_and_recall_are_under_their_conditions() -> None:
    rows = precision_recall_table({"mnasnet1_0": entry()})
    by_metric = {row.pop(""): [*row.values()] for row in rows}
    for name, shares in (("precision", PRECISION), ("recall", RECALL)):
        assert by_metric[name] == [
            "mnasnet1_0",
            *(f"{100 * share:.1f}" for share in shares),
        ]
    # A heading is a condition's name, its side first.
    sides = [name.split()[0] for name in rows[0] if name != "backbone"]
    assert sides == [name.split("_")[0] for name in CONDITIONS]
    assert CONDITIONS.index(FAMILIES["foraminal"][1]) == 2


def test_entries_are_sorted_as_in_the_paper_study_splits_first() -> None:
    names = ("convnext", "resnet152", "aaa", "vgg16", "vgg11")
    entries = {
        f"{name} {split}": entry(backbone=name, split=split)
        for name in names
        for split in ("row", "study")
    }
    names_sorted = [*sort_as_paper(entries)]
    assert names_sorted[::2] == [
        f"{name} study" for name in ("vgg11", "vgg16", "resnet152", "aaa", "convnext")
    ]
    assert [name.split()[1] for name in names_sorted] == ["study", "row"] * 5


def test_each_baseline_is_under_its_name() -> None:
    ours, real = baselines_table({"mnasnet1_0": entry(split="row")})
    assert ours == {
        **{"split": "row", "tested on": "holdout, seed 3 5", "crops": "1,234"},
        **{"majority class": "59.7", "random side": "79.6"},
        **{"nearest neighbour": "87.1", "neighbour side": "98.5"},
    }
    assert real == {
        **{"split": "row", "tested on": "real crops", "crops": "-"},
        **{"majority class": "60.0", "random side": "79.8"},
        **{"nearest neighbour": "-", "neighbour side": "99.5"},
    }


def test_backbones_with_the_same_test_set_share_a_row_of_baselines() -> None:
    folds = [run_row(fold=2), run_row(fold=0)]
    entries = {"a": entry(), "b": entry(backbone="vgg11"), "c": entry(runs=folds)}
    *ours, _ = baselines_table(entries)
    assert [row["tested on"] for row in ours] == ["holdout", "fold 0 2"]


def test_leakage_counts_shared_and_all_of_the_test_set() -> None:
    row, paper = leakage_table({"mnasnet1_0": entry(split="row", runs=[run_row()])})
    assert row == {
        **{"split": "row", "fold": "holdout", "seed": "3", "studies": "8/9"},
        **{"series": "20/27", "images": "13/40", "crops": "2/91"},
        "shared image": "37.5 %",
    }
    assert (paper["fold"], paper["shared image"]) == ("the paper", "69.8 %")
    study, _ = leakage_table({"mnasnet1_0": entry()})
    assert study["seed"] == "-"


def test_every_run_is_listed_with_its_own_accuracy() -> None:
    rows = runs_table({"mnasnet1_0 (wide)": entry()})
    assert [[*row.values()] for row in rows] == [
        ["mnasnet1_0 (wide)", "holdout", 3, "79.2", "91"],
        ["mnasnet1_0 (wide)", "holdout", 5, "82.3", "90"],
    ]


def test_the_spread_is_of_entries_with_several_runs() -> None:
    single = entry(runs=[run_row()], top1_std=None)
    [row] = spread_table({"single": single, "double": entry()})
    assert row == {
        **{"backbone": "double", "runs": 2, "mean": "80.5", "std": "2.1"},
        **{"min": "79.1", "max": "82.2"},
    }


def test_the_recipes_have_every_setting_of_any_entry_and_no_empty_column() -> None:
    other: dict[str, Any] = {"weights": None, "weight_decay": 0.01, "limit": None}
    runs = [run_row(fold=1, seed=0), run_row(fold=0, seed=7)]
    first, second = recipes_table({"a": entry(), "b": entry(recipe=other, runs=runs)})
    assert first == {
        **{"backbone": "a", "split": "study", "slices": "neighbours"},
        **{"crop": "3 slices of 100 px over 50 mm", "folds": "holdout"},
        **{"seeds": "3 5", "weights": "vgg.pth", "lr": "0.001", "weight decay": "-"},
    }
    assert (second["folds"], second["seeds"]) == ("0 1", "0 7")
    assert [second[name] for name in ("weights", "lr", "weight decay")] == [
        *("-", "-", "0.01")
    ]
    assert "limit" not in {*first, *second}

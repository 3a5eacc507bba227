"""The report's tables: Table 2, baselines, leakage, runs and their settings."""

from pathlib import Path
from typing import Literal

from src.competition.constants import CONDITIONS
from src.metrics_schema import (
    BaselineFigure,
    ConditionEntry,
    ConditionMetrics,
    ConditionRun,
    PairedComparison,
)
from src.reporting.paper_results import PAPER_BASELINES, PAPER_RESULTS, SHARED_IMAGES

Row = dict[str, object]  # of a table, by column
Rows = list[Row]
EMPTY = "-"
SPREAD: dict[str, Literal["top1_mean", "top1_std", "top1_min", "top1_max"]] = {
    **{"mean": "top1_mean", "std": "top1_std"},
    **{"min": "top1_min", "max": "top1_max"},
}
PRECISION_RECALL: tuple[Literal["precision", "recall"], ...] = ("precision", "recall")


def sort_as_paper(condition: ConditionMetrics) -> ConditionMetrics:
    """Sort entries as the paper's Table 2, then others by name; study splits first."""
    rank = {backbone: index for index, backbone in enumerate(PAPER_RESULTS)}

    def sort_key(item: tuple[str, ConditionEntry]) -> tuple[int, str, bool, str]:
        name, metrics = item
        backbone, leaks = metrics["backbone"], metrics["split"] == "row"
        return (rank.get(backbone, len(rank)), backbone, leaks, name)

    return dict(sorted(condition.items(), key=sort_key))


def percent(share: float | None) -> str:
    """Format a share of 1 in percent, None as a dash."""
    return EMPTY if share is None else f"{100 * share:.1f}"


def spread(metrics: ConditionEntry) -> str:
    """Format the mean and standard deviation of the runs' accuracies."""
    if metrics["top1_std"] is None:
        return EMPTY
    return f"{percent(metrics['top1_mean'])} ± {percent(metrics['top1_std'])}"


def table2(condition: ConditionMetrics) -> Rows:
    """Build table2.csv: shares of 1, the paper's and ours; None where unknown.

    The paper's were measured on other data and another split than ours.
    """
    return [_numbers(name, metrics) for name, metrics in condition.items()]


def _numbers(name: str, metrics: ConditionEntry) -> Row:
    paper = PAPER_RESULTS.get(metrics["backbone"])
    baselines = {f"baseline {key}": n for key, n in metrics["baselines"].items()}
    return {
        "backbone": name,
        "paper": paper and paper.top1,
        "paper, corrected": paper and paper.corrected,
        "ours": metrics["top1"],
        "95 % low": metrics["top1_low"],
        "95 % high": metrics["top1_high"],
        "paper's side": paper and paper.side,
        "our side": metrics["foraminal_side"],
        "paper, merged": paper and paper.merged,
        "ours, merged": metrics["foraminal_merged"],
        "split": metrics["split"],
        "slices": metrics["slices"],
        "crops": metrics["n"],
        "studies": metrics["studies"],
        "runs": len(metrics["runs"]),
        **{name: metrics[key] for name, key in SPREAD.items()},
        **baselines,
    }


def table2_short(condition: ConditionMetrics) -> Rows:
    """Build Table 2 in percent, narrow enough for a terminal."""
    several = any(metrics["differs_by"] for metrics in condition.values())
    return [_short(metrics, several) for metrics in condition.values()]


def _short(metrics: ConditionEntry, several: bool) -> Row:
    paper = PAPER_RESULTS.get(metrics["backbone"])
    low, high = percent(metrics["top1_low"]), percent(metrics["top1_high"])
    row: Row = {
        "backbone": metrics["backbone"],
        "split": metrics["split"],
        "slices": metrics["slices"],
        "paper": percent(paper.top1 if paper else None),
        "corrected": percent(paper.corrected if paper else None),
        "ours": percent(metrics["top1"]),
        "95 %": f"{low}-{high}",
    }
    return {**row, "differs by": metrics["differs_by"] or EMPTY} if several else row


def table2_paired(condition: ConditionMetrics, paired: PairedComparison) -> Rows:
    """Build Table 2 in percent, with each entry's paired difference to the best."""
    behind = differences_to_best(paired)
    return [
        {**short, "behind the best": behind.get(name, "not compared")}
        for short, name in zip(table2_short(condition), condition, strict=True)
    ]


def differences_to_best(paired: PairedComparison) -> dict[str, str]:
    """Say of each compared entry how far it is behind the best of its group.

    In percentage points, of accuracies.
    """
    found: dict[str, str] = {}
    for group in paired["groups"]:
        best, *_ = group["figures"]
        found[best] = "is the best"
        for pair in group["pairs"]:
            if pair["first"] == best:
                value, low, high = (
                    _signed(-100 * number)
                    for number in (pair["difference"], pair["high"], pair["low"])
                )
                shown = "shown" if pair["shown"] else "not shown"
                found[pair["second"]] = f"{value} ({low} to {high}), {shown}"
    return found


def _signed(number: float) -> str:
    """Format with a sign and one decimal; 0 is never negative."""
    return f"{round(number, 1) + 0.0:+.1f}"


def table2_more(condition: ConditionMetrics) -> Rows:
    """Tabulate side accuracy, merged foramina and the spread over runs, in percent."""
    return [_more(name, metrics) for name, metrics in condition.items()]


def _more(name: str, metrics: ConditionEntry) -> Row:
    paper = PAPER_RESULTS.get(metrics["backbone"])
    return {
        "entry": name,
        "side, paper": percent(paper.side if paper else None),
        "side, ours": percent(metrics["foraminal_side"]),
        "merged, paper": percent(paper.merged if paper else None),
        "merged, ours": percent(metrics["foraminal_merged"]),
        "runs": len(metrics["runs"]),
        "mean ± sd": spread(metrics),
        "crops": f"{metrics['n']:,}",
        "studies": f"{metrics['studies']:,}",
    }


EXPERIMENTS = [
    (split, slices) for split in ("study", "row") for slices in ("neighbours", "repeat")
]


def two_by_two(condition: ConditionMetrics) -> Rows:
    """Tabulate each backbone's accuracy in % by split and slices, and the paper's."""
    rows: Rows = []
    for backbone in dict.fromkeys(entry["backbone"] for entry in condition.values()):
        row: Row = {"backbone": backbone}
        for split, slices in EXPERIMENTS:
            leaks = " (leaks)" if split == "row" else ""
            own = [
                percent(entry["top1"])
                for entry in condition.values()
                if (entry["backbone"], entry["split"], entry["slices"])
                == (backbone, split, slices)
            ]
            row[f"{split} split{leaks}, {slices}"] = ", ".join(own) or EMPTY
        paper = PAPER_RESULTS.get(backbone)
        row["the paper (row split, repeat)"] = percent(paper.top1 if paper else None)
        rows.append(row)
    return rows


def missing_experiments(condition: ConditionMetrics) -> list[str]:
    """Say which of the four experiments no run was made of, and how to make one."""
    made = {(entry["split"], entry["slices"]) for entry in condition.values()}
    return [
        f"No run of the {split} split with slices {slices}: `train.py --task condition "
        f"--split {split} --slices {slices}` makes one"
        for split, slices in EXPERIMENTS
        if (split, slices) not in made
    ]


def precision_recall_table(condition: ConditionMetrics) -> Rows:
    """Tabulate precision and recall of each condition, in percent."""
    names = {
        name: name.replace("_neural_", " ").replace("_", " ") for name in CONDITIONS
    }
    return [
        {
            "backbone": entry,
            "": part,
            **{names[name]: percent(metrics[part][name]) for name in CONDITIONS},
        }
        for entry, metrics in condition.items()
        for part in PRECISION_RECALL
    ]


BASELINE_NAMES: dict[BaselineFigure, str] = {
    "majority_class": "majority class",
    "random_side": "random side",
    "nearest_neighbour": "nearest neighbour",
    "nearest_neighbour_side": "neighbour side",
}


def baselines_table(condition: ConditionMetrics) -> Rows:
    """Tabulate the baselines of each test set, then those of the real crops.

    Backbones that were tested on the same crops share a row.
    """
    rows: Rows = []
    for metrics in condition.values():
        accuracies = metrics["baselines"]
        row: Row = {
            "split": metrics["split"],
            "tested on": tested_on(metrics),
            "crops": f"{metrics['n']:,}",
            **{name: percent(accuracies[key]) for key, name in BASELINE_NAMES.items()},
        }
        if row not in rows:
            rows.append(row)
    real = {
        name: percent(PAPER_BASELINES.get(key)) for key, name in BASELINE_NAMES.items()
    }
    return [*rows, {"split": "row", "tested on": "real crops", "crops": EMPTY, **real}]


def tested_on(metrics: ConditionEntry) -> str:
    """Name the tested folds, and the seeds where they choose the test crops."""
    folds = _listed({_fold(run["fold"]) for run in metrics["runs"]})
    seeds = _listed({run["seed"] for run in metrics["runs"]})
    return folds if metrics["split"] == "study" else f"{folds}, seed {seeds}"


def _fold(fold: str) -> str:
    return fold if fold == "holdout" else f"fold {fold}"


def leakage_table(condition: ConditionMetrics) -> Rows:
    """Tabulate each test set's overlap with its training set, and the paper's."""
    rows: Rows = []
    for metrics in condition.values():
        for run in metrics["runs"]:
            row = _overlap(metrics["split"], run)
            if row not in rows:
                rows.append(row)
    unknown = dict.fromkeys(("series", "images", "crops"), EMPTY)
    paper = {"split": "row", "fold": "the paper", "seed": EMPTY, "studies": "all"}
    return [*rows, {**paper, **unknown, "shared image": f"{percent(SHARED_IMAGES)} %"}]


def _overlap(split: str, run: ConditionRun) -> Row:
    shared: Row = {
        unit: f"{counts['also_in_train']:,}/{counts['test']:,}"
        for unit, counts in run["leakage"].items()
    }
    share = run["leakage"]["images"]["share_of_crops"]
    seed = EMPTY if split == "study" else str(run["seed"])
    tested = {"split": split, "fold": _fold(run["fold"]), "seed": seed}
    return {**tested, **shared, "shared image": f"{percent(share)} %"}


def runs_table(condition: ConditionMetrics) -> Rows:
    """List each run with its fold, seed and accuracy."""
    return [
        {
            "backbone": name,
            "fold": run["fold"],
            "seed": run["seed"],
            "top-1": percent(run["top1"]),
            "crops": f"{run['n']:,}",
        }
        for name, metrics in condition.items()
        for run in metrics["runs"]
    ]


def spread_table(condition: ConditionMetrics) -> Rows:
    """Tabulate the spread over runs, of entries with several runs."""
    return [
        {
            "backbone": name,
            "runs": len(metrics["runs"]),
            **{name: percent(metrics[key]) for name, key in SPREAD.items()},
        }
        for name, metrics in condition.items()
        if len(metrics["runs"]) > 1
    ]


def shared_settings(condition: ConditionMetrics) -> str:
    """Name the settings that all entries were trained with."""
    recipes = [metrics["recipe"] for metrics in condition.values()]
    shared = [
        f"{key.replace('_', ' ')} {_setting(value)}"
        for key, value in recipes[0].items()
        if value is not None and all(recipe.get(key) == value for recipe in recipes)
    ]
    return f"The same for all entries: {', '.join(shared) or 'none of the settings'}."


def recipes_table(condition: ConditionMetrics) -> Rows:
    """Tabulate how each entry was trained: the settings that differ among them."""
    recipes = [metrics["recipe"] for metrics in condition.values()]
    keys = [
        key
        for key in dict.fromkeys(key for recipe in recipes for key in recipe)
        if len({str(recipe.get(key)) for recipe in recipes}) > 1
    ]
    return [
        {
            "backbone": name,
            "split": metrics["split"],
            "slices": metrics["slices"],
            "crop": metrics["crop"],
            "folds": _listed({run["fold"] for run in metrics["runs"]}),
            "seeds": _listed({run["seed"] for run in metrics["runs"]}),
            **{
                key.replace("_", " "): _setting(metrics["recipe"].get(key))
                for key in keys
            },
        }
        for name, metrics in condition.items()
    ]


def _setting(value: object) -> str:
    """Format a setting; of a path to a weights file, the file's name alone."""
    return EMPTY if value is None else Path(str(value)).name


def _listed(values: set[object]) -> str:
    """Join the sorted values, with `fold` before the first of several only."""
    first, *others = sorted(map(str, values))
    return " ".join([first, *(other.removeprefix("fold ") for other in others)])

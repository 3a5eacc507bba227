"""The report's Table 2: the paper's numbers, its corrected ones, and ours."""

from pathlib import Path
from typing import Any

from src.competition.constants import CONDITIONS
from src.reporting.paper_results import PAPER_BASELINES, PAPER_RESULTS, SHARED_IMAGES

Metrics = dict[str, dict[str, Any]]
Rows = list[dict[str, object]]
EMPTY = "-"


def sort_as_paper(condition: Metrics) -> Metrics:
    """Sort entries as the paper's Table 2, then others by name; honest splits first."""
    places = {backbone: place for place, backbone in enumerate(PAPER_RESULTS)}

    def place(item: tuple[str, dict[str, Any]]) -> tuple[object, ...]:
        name, metrics = item
        backbone, leaks = metrics["backbone"], metrics["split"] == "row"
        return (places.get(backbone, len(places)), backbone, leaks, name)

    return dict(sorted(condition.items(), key=place))


def percent(share: float | None) -> str:
    """Write a share of 1 in percent, as the paper does."""
    return EMPTY if share is None else f"{100 * share:.1f}"


def spread(metrics: dict[str, Any]) -> str:
    """Write the mean and standard deviation of the runs' accuracies; - for one run."""
    if metrics["top1_std"] is None:
        return EMPTY
    return f"{percent(metrics['top1_mean'])} ± {percent(metrics['top1_std'])}"


def table2(condition: Metrics) -> Rows:
    """Lay out table2.csv: shares of 1, the paper's and ours; None where there is none.

    Ours and the paper's differ in data and split; what ours stand on is in each row.
    """
    return [_numbers(name, metrics) for name, metrics in condition.items()]


def _numbers(name: str, metrics: dict[str, Any]) -> dict[str, object]:
    paper = PAPER_RESULTS.get(metrics["backbone"])
    lines = {f"baseline {key}": value for key, value in metrics["baselines"].items()}
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
        **{key: metrics[f"top1_{key}"] for key in ("mean", "std", "min", "max")},
        **lines,
    }


def table2_short(condition: Metrics) -> Rows:
    """Lay out Table 2 in percent, narrow enough for a terminal."""
    several = any(metrics["differs_by"] for metrics in condition.values())
    return [_short(metrics, several) for metrics in condition.values()]


def _short(metrics: dict[str, Any], several: bool) -> dict[str, object]:
    paper = PAPER_RESULTS.get(metrics["backbone"])
    low, high = percent(metrics["top1_low"]), percent(metrics["top1_high"])
    row = {
        "backbone": metrics["backbone"],
        "split": metrics["split"],
        "slices": metrics["slices"],
        "paper": percent(paper and paper.top1),
        "corrected": percent(paper and paper.corrected),
        "ours": percent(metrics["top1"]),
        "95 %": f"{low}-{high}",
    }
    return {**row, "differs_by": metrics["differs_by"] or EMPTY} if several else row


def table2_full(condition: Metrics) -> Rows:
    """Lay out Table 2 in percent with side alone, foramina merged and the spread."""
    rows = []
    for short, metrics in zip(table2_short(condition), condition.values(), strict=True):
        paper = PAPER_RESULTS.get(metrics["backbone"])
        more = {
            "side, paper": percent(paper and paper.side),
            "side, ours": percent(metrics["foraminal_side"]),
            "merged, paper": percent(paper and paper.merged),
            "merged, ours": percent(metrics["foraminal_merged"]),
            "runs": len(metrics["runs"]),
            "mean ± sd": spread(metrics),
            "crops": f"{metrics['n']:,}",
            "studies": f"{metrics['studies']:,}",
        }
        rows.append({**short, **more})
    return rows


def by_class(condition: Metrics) -> Rows:
    """Lay out precision and recall of each condition, in percent."""
    names = {
        name: name.replace("_neural_", " ").replace("_", " ") for name in CONDITIONS
    }
    return [
        {"backbone": entry, "": part}
        | {names[name]: percent(metrics[part][name]) for name in CONDITIONS}
        for entry, metrics in condition.items()
        for part in ("precision", "recall")
    ]


BASELINE_NAMES = {
    "majority_class": "series type",
    "random_side": "side by coin",
    "nearest_neighbour": "side looked up",
    "nearest_neighbour_side": "sides found",
}


def baselines_table(condition: Metrics) -> Rows:
    """Lay out the reference lines of each test set, and those of the real crops.

    Backbones that were tested on the same crops share a line.
    """
    rows = []
    for metrics in condition.values():
        shares = metrics["baselines"]
        row = {
            "split": metrics["split"],
            "tested on": tested_on(metrics),
            "crops": f"{metrics['n']:,}",
            **{words: percent(shares[key]) for key, words in BASELINE_NAMES.items()},
        }
        if row not in rows:
            rows.append(row)
    real = {w: percent(PAPER_BASELINES.get(key)) for key, w in BASELINE_NAMES.items()}
    return [*rows, {"split": "row", "tested on": "real crops", "crops": EMPTY, **real}]


def tested_on(metrics: dict[str, Any]) -> str:
    """Say which folds were tested, and by which seeds where these choose the crops."""
    folds = _listed({_fold(run["fold"]) for run in metrics["runs"]})
    seeds = _listed({run["seed"] for run in metrics["runs"]})
    return folds if metrics["split"] == "study" else f"{folds}, seed {seeds}"


def _fold(fold: str) -> str:
    return fold if fold == "holdout" else f"fold {fold}"


def leakage_table(condition: Metrics) -> Rows:
    """Lay out what test sets share with their training, and what the paper's does."""
    rows = []
    for metrics in condition.values():
        for run in metrics["runs"]:
            row = _leak(metrics["split"], run)
            if row not in rows:
                rows.append(row)
    unknown = dict.fromkeys(("series", "images", "crops"), EMPTY)
    paper = {"split": "row", "fold": "the paper", "seed": EMPTY, "studies": "all"}
    return [*rows, {**paper, **unknown, "image seen": f"{percent(SHARED_IMAGES)} %"}]


def _leak(split: str, run: dict[str, Any]) -> dict[str, object]:
    shared = {
        unit: f"{counts['also_in_train']:,}/{counts['test']:,}"
        for unit, counts in run["leakage"].items()
    }
    share = run["leakage"]["images"]["share_of_crops"]
    seed = EMPTY if split == "study" else str(run["seed"])
    told = {"split": split, "fold": _fold(run["fold"]), "seed": seed}
    return {**told, **shared, "image seen": f"{percent(share)} %"}


def runs_table(condition: Metrics) -> Rows:
    """List every run: its fold, its seed, what it got right."""
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


def spread_table(condition: Metrics) -> Rows:
    """Lay out how much the runs of an entry differ; nothing for a single run."""
    return [
        {
            "backbone": name,
            "runs": len(metrics["runs"]),
            **{
                key: percent(metrics[f"top1_{key}"])
                for key in ("mean", "std", "min", "max")
            },
        }
        for name, metrics in condition.items()
        if len(metrics["runs"]) > 1
    ]


def recipes_table(condition: Metrics) -> Rows:
    """Lay out how each entry was trained: all that its config.json tells."""
    keys = dict.fromkeys(key for m in condition.values() for key in m["recipe"])
    return [
        {
            "backbone": name,
            "split": metrics["split"],
            "slices": metrics["slices"],
            "crop": metrics["crop"],
            "folds": _listed({run["fold"] for run in metrics["runs"]}),
            "seeds": _listed({run["seed"] for run in metrics["runs"]}),
            **{
                key.replace("_", " "): _told(metrics["recipe"].get(key)) for key in keys
            },
        }
        for name, metrics in condition.items()
    ]


def _told(value: object) -> str:
    """Write a setting; of a file of weights the name, not where it lay."""
    return EMPTY if value is None else Path(str(value)).name


def _listed(values: set[object]) -> str:
    """Write a set in order, `fold` before the first of several only."""
    first, *others = sorted(map(str, values))
    return " ".join([first, *(other.removeprefix("fold ") for other in others)])

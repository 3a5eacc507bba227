"""Tables of what accuracies rest on: runs, reference lines, leakage."""

from pathlib import Path
from typing import Any

from src.reporting.published import REFERENCES, SHARED_IMAGES
from src.reporting.tables import EMPTY, Metrics, Rows, percent

REFERENCE_NAMES = {
    "series_type": "series type",
    "side_coin": "side by coin",
    "look_up": "side looked up",
    "look_up_side": "sides found",
}


def references_table(condition: Metrics) -> Rows:
    """Lay out the reference lines of each test set, and those of the real crops.

    Backbones that were tested on the same crops share a line.
    """
    rows = []
    for metrics in condition.values():
        shares = metrics["references"]
        row = {
            "split": metrics["split"],
            "tested on": tested_on(metrics),
            "crops": f"{metrics['n']:,}",
            **{words: percent(shares[key]) for key, words in REFERENCE_NAMES.items()},
        }
        if row not in rows:
            rows.append(row)
    real = {w: percent(REFERENCES.get(key)) for key, w in REFERENCE_NAMES.items()}
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

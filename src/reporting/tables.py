"""The report's Table 2: the paper's numbers, its corrected ones, and ours."""

from typing import Any

from src.competition.vocab import CONDITIONS
from src.reporting.published import PUBLISHED

Metrics = dict[str, dict[str, Any]]
Rows = list[dict[str, object]]
EMPTY = "-"


def in_papers_order(condition: Metrics) -> Metrics:
    """Sort entries as the paper's Table 2, then others by name; honest splits first."""
    places = {backbone: place for place, backbone in enumerate(PUBLISHED)}

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
    paper = PUBLISHED.get(metrics["backbone"])
    lines = {f"reference {key}": value for key, value in metrics["references"].items()}
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


def in_short(condition: Metrics) -> Rows:
    """Lay out Table 2 in percent, narrow enough for a terminal."""
    several = any(metrics["apart"] for metrics in condition.values())
    return [_short(metrics, several) for metrics in condition.values()]


def _short(metrics: dict[str, Any], several: bool) -> dict[str, object]:
    paper = PUBLISHED.get(metrics["backbone"])
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
    return {**row, "apart": metrics["apart"] or EMPTY} if several else row


def in_full(condition: Metrics) -> Rows:
    """Lay out Table 2 in percent with side alone, foramina merged and the spread."""
    rows = []
    for short, metrics in zip(in_short(condition), condition.values(), strict=True):
        paper = PUBLISHED.get(metrics["backbone"])
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

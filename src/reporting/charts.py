"""Figure 3: accuracy beside what it is held against."""

from collections import defaultdict
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes

from src.reporting.figures import LEAKY, OURS, PAPERS, panels
from src.reporting.published import PUBLISHED
from src.reporting.tables import Metrics

# References by key, with the words of the legend and the line they are drawn with.
LINES = {
    "series_type": ("series type alone", ":", "#444444"),
    "side_coin": ("series type, axial side, a coin for the foramen", "--", "black"),
    "look_up": ("the same, foramen looked up in the nearest train slice", "-", "red"),
}


def by_way(condition: Metrics) -> dict[str, Metrics]:
    """Group entries by split and slices, in words, the honest split first."""
    groups: dict[str, Metrics] = defaultdict(dict)
    for name, metrics in condition.items():
        leaks = " (leaks)" if metrics["split"] == "row" else ""
        way = f"{metrics['split']} split{leaks}, slices {metrics['slices']}"
        groups[way][name] = metrics
    return dict(sorted(groups.items(), key=lambda item: "(leaks)" in item[0]))


def accuracies(condition: Metrics, path: Path) -> None:
    """Draw top-1 accuracy, ours with its interval beside the paper's (figure 3).

    A panel for each split and slices; each pair of bars has its own reference lines,
    worked out on its own test crops.
    """
    groups = by_way(condition)
    longest = max(map(len, groups.values()))
    with panels(path, len(groups), 1, (max(7.5, 1.35 * longest + 1.5), 3.6)) as axes:
        for panel, (way, own) in zip(axes, groups.items(), strict=True):
            for place, metrics in enumerate(own.values()):
                _our_bar(panel, place, metrics)
                _papers_bar(panel, place, metrics["backbone"])
                _lines(panel, place, metrics["references"])
            labels = [label_of(metrics) for metrics in own.values()]
            panel.set_xticks(range(len(own)), labels, fontsize=9)
            panel.set_xlim(-0.6, longest - 0.4)
            panel.set_ylim(0, 104)
            panel.set_ylabel("top-1 accuracy, %")
            panel.set_title(way, fontsize=11)
            panel.spines[["top", "right"]].set_visible(False)
        _legend(axes[0], condition)


def _our_bar(axes: Axes, place: int, metrics: dict[str, Any]) -> None:
    top1, low, high = (100 * metrics[key] for key in ("top1", "top1_low", "top1_high"))
    reach = [[max(top1 - low, 0)], [max(high - top1, 0)]]
    colour = LEAKY if metrics["split"] == "row" else OURS
    axes.bar(place - 0.2, top1, 0.38, color=colour, yerr=reach, capsize=4)
    _write_in(axes, place - 0.2, top1, "white")


def _papers_bar(axes: Axes, place: int, backbone: str) -> None:
    if paper := PUBLISHED.get(backbone):
        axes.bar(place + 0.2, 100 * paper.top1, 0.38, color=PAPERS)
        axes.plot(place + 0.2, 100 * paper.corrected, "D", color="black", ms=5)
        _write_in(axes, place + 0.2, 100 * paper.top1, "black")


def _lines(axes: Axes, place: int, references: dict[str, float]) -> None:
    for key, (_, style, colour) in LINES.items():
        height = 100 * references[key]
        # Under a study split the last two are one: the dashes stay on top.
        order = 4 if style == "--" else 3
        axes.hlines(
            height, place - 0.45, place + 0.45, colour, style, lw=1.8, zorder=order
        )


def _write_in(axes: Axes, place: float, height: float, ink: str) -> None:
    axes.text(place, 4, f"{height:.1f}", ha="center", color=ink, fontsize=9)


def label_of(metrics: dict[str, Any]) -> str:
    """Name an entry among those of its split and slices, for axes and legends."""
    return "\n".join(filter(None, (metrics["backbone"], fill(metrics["apart"], 20))))


def _legend(axes: Axes, condition: Metrics) -> None:
    """List what is drawn; a bar of no height stands for each colour."""
    splits = {metrics["split"] for metrics in condition.values()}
    if splits - {"row"}:
        axes.bar(0, 0, color=OURS, label="ours, with 95 % (studies resampled)")
    if "row" in splits:
        axes.bar(0, 0, color=LEAKY, label="ours, row split: leaks")
    if any(metrics["backbone"] in PUBLISHED for metrics in condition.values()):
        axes.bar(0, 0, color=PAPERS, label="the paper's Table 2 (row split: leaks)")
        axes.plot([], [], "D", color="black", ms=5, label="the paper, corrected")
    for words, style, colour in LINES.values():
        axes.plot([], [], style, color=colour, label=words)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)

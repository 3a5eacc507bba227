"""The report's figures: class counts, crops, accuracy, losses, confusion matrices."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.typing import ColorType

from src.cache.mapped_array import MappedArray
from src.competition.constants import (
    CONDITIONS,
    level_name,
)
from src.files import replacing
from src.metrics_schema import Baseline, Baselines, ConditionEntry, ConditionMetrics
from src.reporting.paper_results import PAIRS, PAPER_RESULTS

matplotlib.use("Agg")  # without a window

OURS, PAPERS, LEAKY = "#2a6f97", "#c9c9c9", "#c8702a"
# Two lines, for tick labels: left foraminal, left subarticular, ..., spinal canal.
SHORT = {
    name: "\n".join(name.replace("_neural_", "_").split("_")[:2]) for name in CONDITIONS
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure; number: the paper's, or that after its last."""

    number: int
    title: str
    path: Path

    @property
    def caption(self) -> str:
        """The number and the title."""
        return f"Figure {self.number}. {self.title}"


@contextmanager
def panels(
    path: Path,
    count: int,
    columns: int,
    size: tuple[float, float],
    drawing: bool = False,
) -> Iterator[list[Axes]]:
    """Yield `count` axes of `size` inches in a grid, saved to `path` at the end.

    drawing: of lines and words alone, saved as SVG beside the PNG, for the page.
    """
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        squeeze=False,
        layout="constrained",
    )
    for spare in axes.flat[count:]:
        spare.axis("off")
    yield list(axes.flat[:count])
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    if drawing:
        _save_svg(figure, path.with_suffix(".svg"))
    plt.close(figure)


def _save_svg(figure: plt.Figure, path: Path) -> None:
    # Words stay words, and the same drawing is the same bytes.
    settings = plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"})
    with settings, replacing(path) as temporary:
        figure.savefig(temporary, transparent=True, metadata={"Date": None})


def plot_class_counts(table: pd.DataFrame, path: Path) -> None:
    """Plot the number of crops of each condition (figure 1)."""
    counts = table["condition"].value_counts().reindex(CONDITIONS, fill_value=0)
    with panels(path, 1, 1, (7.5, 3.2), drawing=True) as (axes,):
        names = [name.replace("_", " ") for name in CONDITIONS]
        bars = axes.barh(names, counts, color=OURS)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("crops")
        axes.set_title(f"{len(table):,} crops by condition")
        axes.spines[["top", "right"]].set_visible(False)


def plot_crop_samples(
    crops: MappedArray | np.ndarray, table: pd.DataFrame, path: Path
) -> None:
    """Draw a crop of each condition (figure 2).

    crops: uint8 [n, slices, px, px], of which the middle three slices are drawn, or the
    only one.
    """
    chosen = table.groupby("condition").head(1).to_dict("records")
    samples = {row["condition"]: row for row in chosen}
    present = [name for name in CONDITIONS if name in samples]
    middle = crops.shape[1] // 2
    reach = min(middle, 1)
    names = ("slice before", "labelled slice", "slice after")[1 - reach : 2 + reach]
    count = len(present)
    with panels(path, count * len(names), count, (2.1, 2.2)) as axes:
        for column, name in enumerate(present):
            row = samples[name]
            pixels = crops[row["crop"], middle - reach : middle + reach + 1]
            for panel, image in zip(axes[column::count], pixels, strict=True):
                _show(panel, image)
            level = level_name(row["level"])
            short = SHORT[name].replace("\n", " ")
            axes[column].set_title(f"{short}\n{level}", fontsize=9)
        for panel, name in zip(axes[::count], names, strict=True):
            panel.set_ylabel(name, fontsize=9)


def _show(panel: Axes, image: np.ndarray) -> None:
    panel.imshow(image, cmap="gray", vmin=0, vmax=255)
    panel.set_xticks([])
    panel.set_yticks([])


@dataclass(frozen=True)
class BaselineLine:
    """How a baseline is drawn, and its label in the legend."""

    label: str
    style: Literal[":", "--", "-"]
    colour: str


BASELINES: dict[Baseline, BaselineLine] = {
    "majority_class": BaselineLine("baseline: majority class", ":", "#444444"),
    "random_side": BaselineLine("baseline: random foraminal side", "--", "black"),
    "nearest_neighbour": BaselineLine("baseline: nearest train slice", "-", "red"),
}


def by_variant(condition: ConditionMetrics) -> dict[str, ConditionMetrics]:
    """Group entries by split and slices, spelled out; study splits come first."""
    groups: dict[str, ConditionMetrics] = defaultdict(dict)
    for name, metrics in condition.items():
        leaks = " (leaks)" if metrics["split"] == "row" else ""
        title = f"{metrics['split']} split{leaks}, slices {metrics['slices']}"
        groups[title][name] = metrics
    return dict(sorted(groups.items(), key=lambda item: "(leaks)" in item[0]))


def plot_accuracy(condition: ConditionMetrics, path: Path) -> None:
    """Plot top-1 accuracy, ours with its interval beside the paper's (figure 3).

    A panel for each split and slices; each pair of bars has the baselines of its own
    test crops.
    """
    groups = by_variant(condition)
    longest = max(map(len, groups.values()))
    size = (max(7.5, 1.35 * longest + 1.5), 3.6)
    with panels(path, len(groups), 1, size, drawing=True) as axes:
        for panel, (title, own) in zip(axes, groups.items(), strict=True):
            for x, metrics in enumerate(own.values()):
                _our_bar(panel, x, metrics)
                _papers_bar(panel, x, metrics["backbone"])
                _baseline_lines(panel, x, metrics["baselines"])
            labels = [label_of(metrics) for metrics in own.values()]
            panel.set_xticks(range(len(own)), labels, fontsize=9)
            panel.set_xlim(-0.6, longest - 0.4)
            panel.set_ylim(0, 104)
            panel.set_ylabel("top-1 accuracy, %")
            panel.set_title(title, fontsize=11)
            panel.spines[["top", "right"]].set_visible(False)
        _legend(axes[0], condition)


def _our_bar(axes: Axes, x: int, metrics: ConditionEntry) -> None:
    shares = (metrics["top1"], metrics["top1_low"], metrics["top1_high"])
    top1, low, high = (100 * share for share in shares)
    error = [[max(top1 - low, 0)], [max(high - top1, 0)]]
    colour = LEAKY if metrics["split"] == "row" else OURS
    axes.bar(x - 0.2, top1, 0.38, color=colour, yerr=error, capsize=4)
    _write_in(axes, x - 0.2, top1, "white")


def _papers_bar(axes: Axes, x: int, backbone: str) -> None:
    if paper := PAPER_RESULTS.get(backbone):
        axes.bar(x + 0.2, 100 * paper.top1, 0.38, color=PAPERS)
        axes.plot(x + 0.2, 100 * paper.corrected, "D", color="black", ms=5)
        _write_in(axes, x + 0.2, 100 * paper.top1, "#111111")


def _baseline_lines(axes: Axes, x: int, accuracies: Baselines) -> None:
    for key, line in BASELINES.items():
        height = 100 * accuracies[key]
        # Under a study split the last two coincide: keep the dashes on top.
        order = 4 if line.style == "--" else 3
        axes.hlines(
            height,
            x - 0.45,
            x + 0.45,
            line.colour,
            line.style,
            lw=1.8,
            zorder=order,
        )


def _write_in(axes: Axes, x: float, height: float, ink: str) -> None:
    axes.text(x, 4, f"{height:.1f}", ha="center", color=ink, fontsize=9)


def label_of(metrics: ConditionEntry) -> str:
    """Name an entry among those of its split and slices, for axes and legends."""
    return "\n".join(
        filter(None, (metrics["backbone"], fill(metrics["differs_by"], 20)))
    )


def _legend(axes: Axes, condition: ConditionMetrics) -> None:
    """Add the legend; bars of no height stand for the colours."""
    splits = {metrics["split"] for metrics in condition.values()}
    if splits - {"row"}:
        axes.bar(0, 0, color=OURS, label="ours, with 95 % interval")
    if "row" in splits:
        axes.bar(0, 0, color=LEAKY, label="ours, row split: leaks")
    if any(metrics["backbone"] in PAPER_RESULTS for metrics in condition.values()):
        axes.bar(0, 0, color=PAPERS, label="the paper's Table 2 (row split: leaks)")
        axes.plot([], [], "D", color="black", ms=5, label="the paper, corrected")
    for line in BASELINES.values():
        axes.plot([], [], line.style, color=line.colour, label=line.label)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)


MIN_LOSS = 1e-6  # a log axis has no zero


def plot_losses(
    condition: ConditionMetrics, histories: Mapping[str, pd.DataFrame], path: Path
) -> None:
    """Plot training and validation loss by epoch, all on one scale (figure 4).

    A row of panels for each split and slices, a colour for each backbone, a line for
    each run, a ring at the lowest validation loss.
    """
    groups = by_variant(condition)
    labels = dict.fromkeys(label_of(metrics) for metrics in condition.values())
    names = plt.get_cmap("tab10" if len(labels) <= 10 else "tab20")
    colours = {label: names(i % names.N) for i, label in enumerate(labels)}
    with panels(path, 2 * len(groups), 2, (5.0, 3.5), drawing=True) as axes:
        for row, (title, own) in enumerate(groups.items()):
            pair = axes[2 * row : 2 * row + 2]
            for panel, part in zip(pair, ("training", "validation"), strict=True):
                _loss_axes(panel, axes[0])
                panel.set_title(f"{part}: {title}", fontsize=9)
            for metrics in own.values():
                colour = colours[label_of(metrics)]
                for run in metrics["runs"]:
                    _loss_lines(pair, histories[run["name"]], colour)
        for label, colour in colours.items():
            axes[0].plot([], [], ".-", color=colour, label=label)
        count = min(6, len(labels))
        axes[0].figure.legend(
            loc="outside lower center", ncols=count, fontsize=8, frameon=False
        )


def _loss_axes(panel: Axes, first: Axes) -> None:
    if panel is not first:
        panel.sharey(first)
        panel.sharex(first)
    panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.set_ylabel("mean cross entropy")
    panel.locator_params(axis="x", integer=True)
    panel.grid(alpha=0.3)


def _loss_lines(pair: Sequence[Axes], history: pd.DataFrame, colour: ColorType) -> None:
    epochs = history["epoch"]
    train, validation = (
        np.maximum(history[f"{part}_loss"], MIN_LOSS)
        for part in ("train", "validation")
    )
    for panel, loss in zip(pair, (train, validation), strict=True):
        panel.plot(epochs, loss, ".-", color=colour, lw=1.1, ms=4, alpha=0.85)
    best = validation.argmin()
    pair[1].plot(
        epochs[best], validation[best], "o", color=colour, ms=9, fillstyle="none"
    )


def plot_confusions(condition: ConditionMetrics, folder: Path) -> list[Figure]:
    """Draw a figure for each pair of the paper's and one for all other backbones.

    A pair is drawn side by side, a row for each variant.
    """
    entries = list(condition.values())
    drawn = []
    for number, (pair, backbones) in enumerate(PAIRS.items(), start=5):
        own = [entry for entry in entries if entry["backbone"] in backbones]
        if own:
            path = folder / f"figure{number}_confusion_{pair.lower()}.png"
            title = f"{pair}: true and predicted conditions"
            drawn.append(Figure(number, title, path))
            _draw(_grid(own), len({entry["backbone"] for entry in own}), path)
    paired = {backbone for pair in PAIRS.values() for backbone in pair}
    others = [entry for entry in entries if entry["backbone"] not in paired]
    if others:
        path = folder / "figure8_confusion_others.png"
        drawn.append(Figure(8, "Backbones not in the paper", path))
        _draw(others, 2, path)
    return drawn


def _grid(entries: list[ConditionEntry]) -> list[ConditionEntry | None]:
    """Arrange a column for each backbone, a row for each variant; None if missing."""
    cells = {(_variant(entry), entry["backbone"]): entry for entry in entries}
    variants = dict.fromkeys(variant for variant, _ in cells)
    backbones = dict.fromkeys(backbone for _, backbone in cells)
    return [cells.get((v, backbone)) for v in variants for backbone in backbones]


def _variant(entry: ConditionEntry) -> tuple[str, str, str]:
    return entry["split"], entry["slices"], entry["differs_by"]


def _draw(cells: Sequence[ConditionEntry | None], columns: int, path: Path) -> None:
    with panels(path, len(cells), columns, (4.8, 4.7)) as axes:
        for panel, entry in zip(axes, cells, strict=True):
            if entry is None:
                panel.axis("off")
                continue
            picture = _matrix(panel, np.array(entry["confusion"], dtype=float))
            panel.set_title(_title(entry), fontsize=10)
        axes[0].figure.colorbar(
            picture,
            ax=axes,
            location="bottom",
            shrink=0.6,
            aspect=40,
            pad=0.02,
            label="share of the true condition's crops",
        )


def _title(entry: ConditionEntry) -> str:
    name = ", ".join(filter(None, (entry["backbone"], entry["differs_by"])))
    leaks = " (leaks)" if entry["split"] == "row" else ""
    accuracy = f"{100 * entry['top1']:.1f} % of {entry['n']:,}"
    return (
        f"{name}: {accuracy}\n{entry['split']} split{leaks}, slices {entry['slices']}"
    )


def _matrix(panel: Axes, counts: np.ndarray) -> AxesImage:
    """Draw counts, coloured by their share of the row; rows true, columns predicted."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.5 else "black"
        # A crop that several runs tested may be shared among cells: no whole count.
        text = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
        panel.text(column, row, text, ha="center", va="center", color=ink)
    names = [SHORT[name] for name in CONDITIONS]
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    return picture

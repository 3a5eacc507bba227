"""The report's pictures of its data: figures 1 and 2, and what all figures share."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.competition.constants import CONDITIONS
from src.files import replacing
from src.reporting.paper_results import PAIRS, PAPER_RESULTS
from src.reporting.tables import Metrics

matplotlib.use("Agg")  # no window is opened, none is needed

OURS, PAPERS, LEAKY = "#2a6f97", "#c9c9c9", "#c8702a"
# In two lines, for axes: left foraminal, left subarticular, ..., spinal canal.
SHORT = {
    name: "\n".join(name.replace("_neural_", "_").split("_")[:2]) for name in CONDITIONS
}


@contextmanager
def panels(
    path: Path, count: int, columns: int, size: tuple[float, float]
) -> Iterator[list[Axes]]:
    """Yield `count` axes of `size` inches in a grid, saved to `path` at the end."""
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
    plt.close(figure)


def plot_class_counts(table: pd.DataFrame, path: Path) -> None:
    """Draw how many crops each condition has (figure 1)."""
    counts = table["condition"].value_counts().reindex(CONDITIONS, fill_value=0)
    with panels(path, 1, 1, (7.5, 3.2)) as (axes,):
        names = [name.replace("_", " ") for name in CONDITIONS]
        bars = axes.barh(names, counts, color=OURS)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("crops")
        axes.set_title(f"{len(table):,} crops by condition")
        axes.spines[["top", "right"]].set_visible(False)


def plot_crop_samples(crops: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    """Draw a crop of each condition: slice before, slice itself, slice after (2).

    crops: uint8 [n, slices, px, px], of which the middle three are drawn, or the one.
    """
    chosen = table.groupby("condition").head(1).set_index("condition")
    present = [name for name in CONDITIONS if name in chosen.index]
    middle = crops.shape[1] // 2
    reach = min(middle, 1)
    words = ("slice before", "labelled slice", "slice after")[1 - reach : 2 + reach]
    count = len(present)
    with panels(path, count * len(words), count, (2.1, 2.2)) as axes:
        for column, name in enumerate(present):
            row = chosen.loc[name]
            pixels = crops[row["crop"], middle - reach : middle + reach + 1]
            for panel, image in zip(axes[column::count], pixels, strict=True):
                _show(panel, image)
            level = row["level"].replace("_", "/").upper()
            short = SHORT[name].replace("\n", " ")
            axes[column].set_title(f"{short}\n{level}", fontsize=9)
        for panel, word in zip(axes[::count], words, strict=True):
            panel.set_ylabel(word, fontsize=9)


def _show(panel: Axes, image: np.ndarray) -> None:
    panel.imshow(image, cmap="gray", vmin=0, vmax=255)
    panel.set_xticks([])
    panel.set_yticks([])


# References by key, with the words of the legend and the line they are drawn with.
LINES = {
    "majority_class": ("series type alone", ":", "#444444"),
    "random_side": ("series type, axial side, a coin for the foramen", "--", "black"),
    "nearest_neighbour": (
        "the same, foramen looked up in the nearest train slice",
        "-",
        "red",
    ),
}


def by_variant(condition: Metrics) -> dict[str, Metrics]:
    """Group entries by split and slices, in words, the honest split first."""
    groups: dict[str, Metrics] = defaultdict(dict)
    for name, metrics in condition.items():
        leaks = " (leaks)" if metrics["split"] == "row" else ""
        way = f"{metrics['split']} split{leaks}, slices {metrics['slices']}"
        groups[way][name] = metrics
    return dict(sorted(groups.items(), key=lambda item: "(leaks)" in item[0]))


def plot_accuracy(condition: Metrics, path: Path) -> None:
    """Draw top-1 accuracy, ours with its interval beside the paper's (figure 3).

    A panel for each split and slices; each pair of bars has its own reference lines,
    worked out on its own test crops.
    """
    groups = by_variant(condition)
    longest = max(map(len, groups.values()))
    with panels(path, len(groups), 1, (max(7.5, 1.35 * longest + 1.5), 3.6)) as axes:
        for panel, (way, own) in zip(axes, groups.items(), strict=True):
            for place, metrics in enumerate(own.values()):
                _our_bar(panel, place, metrics)
                _papers_bar(panel, place, metrics["backbone"])
                _lines(panel, place, metrics["baselines"])
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
    if paper := PAPER_RESULTS.get(backbone):
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
    return "\n".join(
        filter(None, (metrics["backbone"], fill(metrics["differs_by"], 20)))
    )


def _legend(axes: Axes, condition: Metrics) -> None:
    """List what is drawn; a bar of no height stands for each colour."""
    splits = {metrics["split"] for metrics in condition.values()}
    if splits - {"row"}:
        axes.bar(0, 0, color=OURS, label="ours, with 95 % (studies resampled)")
    if "row" in splits:
        axes.bar(0, 0, color=LEAKY, label="ours, row split: leaks")
    if any(metrics["backbone"] in PAPER_RESULTS for metrics in condition.values()):
        axes.bar(0, 0, color=PAPERS, label="the paper's Table 2 (row split: leaks)")
        axes.plot([], [], "D", color="black", ms=5, label="the paper, corrected")
    for words, style, colour in LINES.values():
        axes.plot([], [], style, color=colour, label=words)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)


LEAST_LOSS = 1e-6  # a log axis has no zero


def plot_losses(
    condition: Metrics, histories: Mapping[str, pd.DataFrame], path: Path
) -> None:
    """Draw training and validation loss by epoch, all on one scale (figure 4).

    A row of panels for each split and slices, a colour a backbone, a line a run, a
    ring where the validation loss is least.
    """
    groups = by_variant(condition)
    labels = dict.fromkeys(label_of(metrics) for metrics in condition.values())
    names = plt.get_cmap("tab10" if len(labels) <= 10 else "tab20")
    colours = {label: names(i % names.N) for i, label in enumerate(labels)}
    with panels(path, 2 * len(groups), 2, (5.0, 3.5)) as axes:
        for row, (way, own) in enumerate(groups.items()):
            pair = axes[2 * row : 2 * row + 2]
            for panel, part in zip(pair, ("training", "validation"), strict=True):
                _loss_axes(panel, axes[0])
                panel.set_title(f"{part}: {way}", fontsize=9)
            for metrics in own.values():
                colour = colours[label_of(metrics)]
                for run in metrics["runs"]:
                    _loss_lines(pair, histories[run["name"]], colour)
        for label, colour in colours.items():
            axes[0].plot([], [], ".-", color=colour, label=label)
        count = min(6, len(labels))
        axes[0].figure.legend(loc="outside lower center", ncols=count, fontsize=8)


def _loss_axes(panel: Axes, first: Axes) -> None:
    if panel is not first:
        panel.sharey(first)
        panel.sharex(first)
    panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.set_ylabel("mean cross entropy")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)


def _loss_lines(pair: Sequence[Axes], history: pd.DataFrame, colour: Any) -> None:
    epochs = history["epoch"]
    train, validation = (
        np.maximum(history[f"{part}_loss"], LEAST_LOSS)
        for part in ("train", "validation")
    )
    for panel, loss in zip(pair, (train, validation), strict=True):
        panel.plot(epochs, loss, ".-", color=colour, lw=1.1, ms=4, alpha=0.85)
    best = validation.argmin()
    pair[1].plot(
        epochs[best], validation[best], "o", color=colour, ms=9, fillstyle="none"
    )


Entry = dict[str, Any]


def plot_confusions(condition: Metrics, folder: Path) -> dict[str, Path]:
    """Draw a picture a pair of the paper's, and one of all others; by their captions.

    A pair stands side by side, each of its ways in a row.
    """
    entries = list(condition.values())
    drawn = {}
    for number, (pair, backbones) in enumerate(PAIRS.items(), start=5):
        own = [entry for entry in entries if entry["backbone"] in backbones]
        if own:
            path = folder / f"figure{number}_confusion_{pair.lower()}.png"
            drawn[f"Figure {number}. {pair}: true and predicted conditions"] = path
            _draw(_grid(own), len({entry["backbone"] for entry in own}), path)
    paired = {backbone for pair in PAIRS.values() for backbone in pair}
    others = [entry for entry in entries if entry["backbone"] not in paired]
    if others:
        path = folder / "figure8_confusion_others.png"
        drawn["Figure 8. Backbones that the paper has not"] = path
        _draw(others, 2, path)
    return drawn


def _grid(entries: list[Entry]) -> list[Entry | None]:
    """Lay out a column a backbone, a row a way; None where there is no such run."""
    cells = {(_variant(entry), entry["backbone"]): entry for entry in entries}
    ways, backbones = (
        list(dict.fromkeys(key[part] for key in cells)) for part in (0, 1)
    )
    return [cells.get((way, backbone)) for way in ways for backbone in backbones]


def _variant(entry: Entry) -> tuple[str, str, str]:
    return entry["split"], entry["slices"], entry["differs_by"]


def _draw(cells: list[Entry | None], columns: int, path: Path) -> None:
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


def _title(entry: Entry) -> str:
    name = ", ".join(filter(None, (entry["backbone"], entry["differs_by"])))
    leaks = " (leaks)" if entry["split"] == "row" else ""
    right = f"{100 * entry['top1']:.1f} % of {entry['n']:,}"
    return f"{name}: {right}\n{entry['split']} split{leaks}, slices {entry['slices']}"


def _matrix(panel: Axes, counts: np.ndarray) -> Any:
    """Write counts over their row's shares in colour; rows true, columns predicted."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.5 else "black"
        # Crops that several runs tested are shared out: a count may be broken.
        text = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
        panel.text(column, row, text, ha="center", va="center", color=ink)
    names = [SHORT[name] for name in CONDITIONS]
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    return picture

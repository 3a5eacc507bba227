"""The report's pictures, as PNG files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from src.competition.vocab import CONDITIONS
from src.files import replacing
from src.reporting.published import PUBLISHED

matplotlib.use("Agg")  # no window is opened, none is needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

SHORT = {
    name: "".join(word[0].upper() for word in name.split("_")) for name in CONDITIONS
}
SHORT_NOTE = ", ".join(
    f"{short} {name.replace('_', ' ')}" for name, short in SHORT.items()
)
OURS, PAPERS = "#2a6f97", "#c9c9c9"


@contextmanager
def _figure(path: Path, count: int, columns: int, size: float) -> Iterator[list[Axes]]:
    """Yield `count` axes in a grid, saved to `path` at the end."""
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size * columns, size * rows),
        squeeze=False,
        layout="constrained",
    )
    for spare in axes.flat[count:]:
        spare.axis("off")
    yield list(axes.flat[:count])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def class_counts(table: pd.DataFrame, path: Path) -> None:
    """Draw how many crops each condition has (the paper's figure 1)."""
    counts = table["condition"].value_counts().reindex(CONDITIONS, fill_value=0)
    with _figure(path, 1, 1, 5.5) as (axes,):
        names = [name.replace("_", " ") for name in CONDITIONS]
        axes.bar_label(axes.barh(names, counts, color=OURS), padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel("crops")
        axes.set_title("Crops by condition")


def crop_samples(crops: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    """Draw a crop of each condition: the slice before, the slice itself, the next."""
    chosen = table.groupby("condition").head(1).set_index("condition")
    present = [name for name in CONDITIONS if name in chosen.index]
    with _figure(path, 3 * len(present), 3, 2.1) as axes:
        for index, name in enumerate(present):
            row = chosen.loc[name]
            for place in range(3):
                panel = axes[3 * index + place]
                middle = crops.shape[1] // 2 + place - 1
                panel.imshow(crops[row["crop"], middle], cmap="gray", vmin=0, vmax=255)
                panel.set_xticks([])
                panel.set_yticks([])
                if index == 0:
                    panel.set_title(("slice before", "labelled", "slice after")[place])
            side = f"{name.replace('_', ' ')}\n{row['level'].replace('_', '/').upper()}"
            axes[3 * index].set_ylabel(side, fontsize=7)


def accuracies(condition: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw top-1 accuracy, ours with its interval beside the paper's (figure 3)."""
    with _figure(path, 1, 1, 6.5) as (axes,):
        places = np.arange(len(condition))
        ours = np.array([metrics["top1"] for metrics in condition.values()])
        bounds = np.array(
            [(m["top1_low"], m["top1_high"]) for m in condition.values()]
        ).T
        reach = np.maximum(np.abs(bounds - ours), 0)
        axes.bar(
            places - 0.2, ours, 0.4, yerr=reach, color=OURS, label="ours", capsize=3
        )
        papers = [PUBLISHED.get(metrics["backbone"]) for metrics in condition.values()]
        known = [place for place, paper in zip(places, papers, strict=True) if paper]
        heights = [paper.top1 for paper in papers if paper]
        axes.bar(np.array(known) + 0.2, heights, 0.4, color=PAPERS, label="the paper")
        axes.set_xticks(places, list(condition), rotation=20, ha="right")
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("top-1 accuracy")
        axes.set_title("Condition, test crops (bars: 95 %, studies resampled)")
        axes.legend(loc="lower right")


def histories(named: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw training and validation loss by epoch, on one scale (figure 4)."""
    with _figure(path, 2, 2, 5) as axes:
        for name, history in named.items():
            for panel, part in zip(axes, ("train", "validation"), strict=True):
                panel.plot(history["epoch"], history[f"{part}_loss"], ".-", label=name)
                panel.set_title(f"{part} loss")
                panel.set_xlabel("epoch")
        axes[0].set_ylabel("mean cross entropy")
        axes[1].sharey(axes[0])
        axes[0].set_yscale("log")
        axes[1].legend(fontsize=7)


def confusions(condition: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw a confusion matrix a backbone, in counts (figures 5 to 7)."""
    short = [SHORT[name] for name in CONDITIONS]
    with _figure(path, len(condition), 3, 3.6) as axes:
        for panel, (name, metrics) in zip(axes, condition.items(), strict=True):
            counts = np.array(metrics["confusion"])
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (row, column), count in np.ndenumerate(counts):
                ink = "white" if shares[row, column] > 0.5 else "black"
                panel.text(column, row, count, ha="center", va="center", color=ink)
            panel.set_xticks(range(len(short)), short, fontsize=7)
            panel.set_yticks(range(len(short)), short, fontsize=7)
            panel.set_xlabel("predicted")
            panel.set_ylabel("true")
            panel.set_title(name, fontsize=9)

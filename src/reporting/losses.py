"""Figure 4: training and validation loss by epoch, on one scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.reporting.charts import by_way, label_of
from src.reporting.figures import panels, plt
from src.reporting.tables import Metrics

LEAST_LOSS = 1e-6  # a log axis has no zero


def losses(
    condition: Metrics, histories: Mapping[str, pd.DataFrame], path: Path
) -> None:
    """Draw training and validation loss by epoch, all on one scale (figure 4).

    A row of panels for each split and slices, a colour a backbone, a line a run, a
    ring where the validation loss is least.
    """
    groups = by_way(condition)
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

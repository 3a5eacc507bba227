"""The report's pictures of its data: figures 1 and 2, and what all figures share."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from src.competition.vocab import CONDITIONS
from src.files import replacing

matplotlib.use("Agg")  # no window is opened, none is needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

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


def class_counts(table: pd.DataFrame, path: Path) -> None:
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


def crop_samples(crops: np.ndarray, table: pd.DataFrame, path: Path) -> None:
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

"""Figures kept in memory, so that a test can inspect their contents."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure


def keep_figures(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Figure]:
    """Keep figures in place of saving them; return the function path -> figure."""
    kept: list[Figure] = []

    def save(figure: Figure, path: Path, **_: object) -> None:
        kept.append(figure)
        Path(path).write_text(str(len(kept) - 1))

    monkeypatch.setattr(Figure, "savefig", save)
    return lambda path: kept[int(path.read_text())]


def image(axes: Axes) -> np.ndarray:
    """The only image on the axes."""
    [shown] = axes.images
    return np.asarray(shown.get_array())


def columns(axes: Axes) -> int:
    """The number of columns of the grid that the axes are in."""
    return axes.get_subplotspec().get_gridspec().ncols


def texts(axes: Axes) -> dict[tuple[float, float], str]:
    """The texts on the axes, by their position in data coordinates."""
    return {
        getattr(text, "xy", text.get_position()): text.get_text() for text in axes.texts
    }


def points(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """The positions of a marker on the axes, in data coordinates."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def bars(axes: Axes) -> list[tuple[float, float, str]]:
    """Middle, height and colour of each bar that has a height."""
    return [
        (
            bar.get_x() + bar.get_width() / 2,
            bar.get_height(),
            to_hex(bar.get_facecolor()),
        )
        for container in axes.containers
        if isinstance(container, BarContainer)
        for bar in container
        if bar.get_height()
    ]

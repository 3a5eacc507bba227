"""preview.png: marked slices of a study and the crops cut from them."""

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from src.cache.crop_cache import CropCache
from src.competition.constants import SERIES_DESCRIPTIONS, level_name
from src.files import replacing
from src.imaging.dicom import SliceHeader
from src.imaging.grey_levels import intensity_window, to_uint8
from src.imaging.series import read_series

matplotlib.use("Agg")  # without a window

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def draw_preview(cache: CropCache, images: Path, path: Path) -> None:
    """Draw the study with the most crops, a slice of each of its series types.

    Below each slice: the three middle slices of the crop around its ringed point.
    """
    study = cache.sites["study_id"].value_counts().idxmax()
    table = cache.sites[cache.sites["study_id"] == study]
    types = [t for t in SERIES_DESCRIPTIONS if (table["series_description"] == t).any()]
    figure = plt.figure(figsize=(3.6 * len(types), 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 3 * len(types), height_ratios=(3, 1))
    for index, series_type in enumerate(types):
        points = _busiest_slice(table[table["series_description"] == series_type])
        chosen = points.iloc[len(points) // 2]
        columns = slice(3 * index, 3 * index + 3)
        _draw_slice(figure.add_subplot(grid[0, columns]), images, points, chosen)
        first = cache.spec.middle - 1
        for channel, title in enumerate(("slice before", "labelled", "slice after")):
            axes = figure.add_subplot(grid[1, 3 * index + channel])
            crop = cache.crops[chosen["crop"], first + channel]
            axes.imshow(crop, cmap="gray", vmin=0, vmax=255)
            axes.set_title(title, fontsize=7)
            axes.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def _busiest_slice(table: pd.DataFrame) -> pd.DataFrame:
    """Select the points of the slice with the most points."""
    keys = ["series_id", "instance_number"]
    counts = table.groupby(keys)["crop"].transform("size")
    first = table[counts == counts.max()].iloc[0]
    return table[(table[keys] == first[keys]).all(axis=1)]


def _draw_slice(
    axes: Axes, images: Path, points: pd.DataFrame, chosen: pd.Series
) -> None:
    show_slice(axes, images, chosen)
    axes.plot(points["x"], points["y"], "+", color="red", markersize=6)
    axes.plot(chosen["x"], chosen["y"], "o", color="red", fillstyle="none")
    for point in points.to_dict("records"):
        label_point(axes, point["x"], point["y"], level_name(point["level"]))
    axes.set_title(chosen["series_description"], fontsize=9)


def show_slice(axes: Axes, images: Path, point: pd.Series) -> SliceHeader:
    """Show the whole slice that a point of the crop table is marked on."""
    folder = images / str(point["study_id"]) / str(point["series_id"])
    series = read_series(folder)
    index = series.index_of(int(point["instance_number"]))
    pixels = series.pixels(index)
    axes.imshow(
        to_uint8(pixels, *intensity_window(pixels)), cmap="gray", vmin=0, vmax=255
    )
    axes.axis("off")
    return series.headers[index]


def label_point(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write a text to the right of a point of the slice; style: Matplotlib's."""
    usual: dict[str, Any] = {"color": "yellow", "fontsize": 6, "va": "center"}
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", **usual | style)

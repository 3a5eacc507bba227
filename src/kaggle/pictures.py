"""A picture a study: a slice of each series type, and its 25 answers."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from src.competition.tables import images, read_test_series
from src.competition.vocab import CONDITIONS, LEVELS, SERIES_DESCRIPTIONS, SEVERITIES
from src.errors import InputError
from src.imaging.crops import to_grey, window
from src.imaging.series import Series, read_series

COLOURS = dict(zip(SEVERITIES, ("#2a9d8f", "#e9b44c", "#c1292e"), strict=True))
UNREAD = "#e4e4e4"
LETTERS = dict(zip(SEVERITIES, "NMS", strict=True))


def draw_study(data: Path, study: int, findings: pd.DataFrame) -> Figure:
    """Draw a study; sites are marked in the colour of their likeliest severity.

    findings: all of findings.csv. A series that cannot be read says so in its place.
    """
    sites = findings[findings["study_id"] == study]
    series = read_test_series(data)
    series = series[series["study_id"] == study]
    figure, axes = plt.subplots(
        *(1, 4),
        figsize=(15, 4.4),
        width_ratios=(1, 1, 1, 1.35),
        layout="constrained",
    )
    folder = images(data, "test") / str(study)
    for place, description in zip(axes, SERIES_DESCRIPTIONS, strict=False):
        chosen = series[series["series_description"] == description]
        _draw_series(place, folder, chosen["series_id"].tolist(), sites)
        place.set_title(description, fontsize=10)
    _draw_answers(axes[-1], sites)
    counts = sites["source"].value_counts()
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    figure.suptitle(f"Study {study}: {told}", fontsize=12)
    return figure


def _draw_series(
    axes: Axes, folder: Path, known: list[int], sites: pd.DataFrame
) -> None:
    axes.axis("off")
    marked = sites[sites["series_id"].isin(known)]
    try:
        if not known:
            raise InputError("no such series in this study")
        number, series = _readable(folder, known, marked)
        index = _busiest(series, marked[marked["series_id"] == number])
        pixels = series.pixels(index)
    except InputError as error:
        text = str(error).replace(str(folder), "").lstrip("/")
        axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, fontsize=8)
        return
    axes.imshow(to_grey(pixels, *window(pixels)), cmap="gray", vmin=0, vmax=255)
    instance = series.headers[index].instance_number
    here = (marked["series_id"] == number) & (marked["instance_number"] == instance)
    _mark(axes, marked[here])


def _readable(
    folder: Path, known: list[int], marked: pd.DataFrame
) -> tuple[int, Series]:
    """Open the series with most sites; without any, the first that can be read."""
    ranked = marked["series_id"].value_counts().index.astype(int).tolist()
    order = list(dict.fromkeys([*ranked, *known]))
    for number in order[:-1]:
        try:
            return number, read_series(folder / str(number))
        except InputError:
            continue
    return order[-1], read_series(folder / str(order[-1]))


def _busiest(series: Series, marked: pd.DataFrame) -> int:
    """Return the slice with most sites; without any, the middle one."""
    if marked.empty:
        return len(series.headers) // 2
    return series.index_of(int(marked["instance_number"].value_counts().idxmax()))


def _mark(axes: Axes, sites: pd.DataFrame) -> None:
    for site in sites.itertuples():
        colour = COLOURS[likeliest(site)]
        axes.plot(site.x, site.y, "o", ms=9, mew=1.8, color=colour, fillstyle="none")
        axes.annotate(
            site.level.replace("_", "/").upper(),
            (site.x, site.y),
            (7, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _draw_answers(axes: Axes, sites: pd.DataFrame) -> None:
    """Draw the 25 answers as a grid; a cell is deeper where the answer is surer."""
    grid = np.ones((len(CONDITIONS), len(LEVELS), 3))
    for site in sites.itertuples():
        row, column = CONDITIONS.index(site.condition), LEVELS.index(site.level)
        name = likeliest(site)
        chance, prior = getattr(site, name), site.source == "prior"
        colour = to_rgb(UNREAD if prior else COLOURS[name])
        depth = 1 if prior else np.clip(chance, 0.2, 1)
        grid[row, column] = 1 - depth * (1 - np.array(colour))
        text = f"{LETTERS[name]} {chance:.2f}" + ("\nprior" if prior else "")
        ink = "#333333" if prior or depth < 0.6 or name == "moderate" else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    axes.imshow(grid, aspect="auto")
    names = [level.replace("_", "/").upper() for level in LEVELS]
    axes.set_xticks(range(len(LEVELS)), names, fontsize=8)
    names = [name.replace("_", " ") for name in CONDITIONS]
    axes.set_yticks(range(len(CONDITIONS)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.set_title("N normal or mild, M moderate, S severe", fontsize=10)


def likeliest(site: object) -> str:
    """Name the severity with the highest probability."""
    return max(SEVERITIES, key=lambda name: getattr(site, name))

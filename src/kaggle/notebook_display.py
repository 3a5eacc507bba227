"""Tables and pictures of the inference notebook, outside the rerun."""

from collections.abc import Hashable
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from src.competition.constants import (
    CONDITIONS,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SEVERITIES,
    level_name,
)
from src.competition.tables import image_folder, read_test_series
from src.errors import UserError
from src.imaging.grey_levels import intensity_window, to_uint8
from src.imaging.series import Series, read_series
from src.inference.findings import SOURCES, fallback_reasons, keeps_prior, sources
from src.kaggle.run_inference import InferenceResult, in_rerun


def show_result(result: InferenceResult, pictures: int = 3) -> None:
    """Show tables and the first studies; in the rerun, which nobody sees, nothing."""
    if in_rerun():
        return
    _show("Time and memory", cost(result))
    if result.findings is None:
        print("\nNo findings: every prediction is the prior.")
        return
    _show("Sources of the predictions", pd.DataFrame(sources(result.findings)))
    _show("Fallback reasons", pd.DataFrame(fallback_reasons(result.findings)))
    _show("Studies", by_study(result.findings))
    for study in result.studies[:pictures]:
        figure = draw_study(result.data, study, result.findings)
        display(figure)
        plt.close(figure)


def _show(title: str, table: pd.DataFrame) -> None:
    if table.empty:
        print(f"\n{title}: none.")
        return
    styled = (
        table.style.hide(axis="index")
        .set_caption(title)
        .format(precision=2, na_rep="-")
    )
    look = "font-weight: bold; text-align: left"
    display(styled.set_table_styles([{"selector": "caption", "props": look}]))


HIDDEN_STUDIES = 750  # to plan for; the visible test has one


def by_study(findings: pd.DataFrame, count: int = 20) -> pd.DataFrame:
    """List the first studies: sites by source, and the likeliest severe site."""
    rows = []
    for study, sites in islice(findings.groupby("study_id"), count):
        found = sites["source"].value_counts()
        counts = {name: int(found.get(name, 0)) for name in SOURCES}
        rows.append({"study": study, **counts, **_likeliest_severe(sites)})
    return pd.DataFrame(rows)


def _likeliest_severe(sites: pd.DataFrame) -> dict[str, object]:
    """Return it, prior-only sites apart: the prior knows nothing of this study."""
    graded = sites[~keeps_prior(sites)]
    if graded.empty:
        return {"likeliest severe": "no site was graded", "probability": None}
    worst = graded.iloc[int(graded["severe"].argmax())]
    name = site_name(worst["condition"], worst["level"])
    return {"likeliest severe": name, "probability": float(worst["severe"])}


def cost(result: InferenceResult) -> pd.DataFrame:
    """Return the time and memory used, and an estimate for the hidden test.

    All of the time is scaled, start-up too, so the estimate is an upper one.
    """
    each = result.seconds / len(result.studies)
    row = {
        "studies": len(result.studies),
        "seconds": round(result.seconds, 1),
        "seconds a study": round(each, 2),
        f"hours for {HIDDEN_STUDIES}": round(each * HIDDEN_STUDIES / 3600, 2),
        "peak memory, MB": round(result.peak_mb),
    }
    return pd.DataFrame([row])


def site_name(condition: str, level: str) -> str:
    """Return a site's name: `L4/L5 left neural foraminal narrowing`."""
    return f"{level.replace('_', '/').upper()} {condition.replace('_', ' ')}"


COLOURS = dict(zip(SEVERITIES, ("#2a9d8f", "#e9b44c", "#c1292e"), strict=True))
UNREAD = "#e4e4e4"
LETTERS = dict(zip(SEVERITIES, "NMS", strict=True))


def draw_study(data: Path, study: int, findings: pd.DataFrame) -> Figure:
    """Draw a study; sites are marked in the colour of their likeliest severity.

    findings: all of findings.csv. An unreadable series is replaced by its error.
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
    folder = image_folder(data, "test") / str(study)
    for axis, description in zip(axes, SERIES_DESCRIPTIONS, strict=False):
        chosen = series[series["series_description"] == description]
        _draw_series(axis, folder, chosen["series_id"].tolist(), sites)
        axis.set_title(description, fontsize=10)
    _draw_grid(axes[-1], sites)
    counts = sites["source"].value_counts()
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    figure.suptitle(f"Study {study}: {text}", fontsize=12)
    return figure


def _draw_series(
    axes: Axes, folder: Path, known: list[int], sites: pd.DataFrame
) -> None:
    axes.axis("off")
    marked = sites[sites["series_id"].isin(known)]
    try:
        if not known:
            raise UserError("no such series in this study")
        number, series = _readable(folder, known, marked)
        index = _busiest(series, marked[marked["series_id"] == number])
        pixels = series.pixels(index)
    except UserError as error:
        text = str(error).replace(str(folder), "").lstrip("/")
        axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, fontsize=8)
        return
    axes.imshow(
        to_uint8(pixels, *intensity_window(pixels)), cmap="gray", vmin=0, vmax=255
    )
    instance = series.headers[index].instance_number
    here = (marked["series_id"] == number) & (marked["instance_number"] == instance)
    _mark(axes, marked[here])


def _readable(
    folder: Path, known: list[int], marked: pd.DataFrame
) -> tuple[int, Series]:
    """Read the series with most sites; without any, the first readable one."""
    ranked = marked["series_id"].value_counts().index.astype(int).tolist()
    order = list(dict.fromkeys([*ranked, *known]))
    for number in order[:-1]:
        try:
            return number, read_series(folder / str(number))
        except UserError:
            continue
    return order[-1], read_series(folder / str(order[-1]))


def _busiest(series: Series, marked: pd.DataFrame) -> int:
    """Return the slice with most sites; without any, the middle one."""
    if marked.empty:
        return len(series.headers) // 2
    return series.index_of(int(marked["instance_number"].value_counts().index[0]))


def _mark(axes: Axes, sites: pd.DataFrame) -> None:
    for site in sites.to_dict("records"):
        colour, x, y = COLOURS[likeliest(site)], site["x"], site["y"]
        axes.plot(x, y, "o", ms=9, mew=1.8, color=colour, fillstyle="none")
        axes.annotate(
            level_name(site["level"]),
            (x, y),
            (7, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _draw_grid(axes: Axes, sites: pd.DataFrame) -> None:
    """Draw the 25 predictions as a grid; the surer, the deeper the colour."""
    grid = np.ones((len(CONDITIONS), len(LEVELS), 3))
    for site in sites.to_dict("records"):
        row = CONDITIONS.index(site["condition"])
        column = LEVELS.index(site["level"])
        name = likeliest(site)
        probability, prior = site[name], site["source"] == "prior"
        colour = to_rgb(UNREAD if prior else COLOURS[name])
        depth = 1 if prior else np.clip(probability, 0.2, 1)
        grid[row, column] = 1 - depth * (1 - np.array(colour))
        text = f"{LETTERS[name]} {probability:.2f}" + ("\nprior" if prior else "")
        ink = "#333333" if prior or depth < 0.6 or name == "moderate" else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    axes.imshow(grid, aspect="auto")
    names = [level_name(level) for level in LEVELS]
    axes.set_xticks(range(len(LEVELS)), names, fontsize=8)
    names = [name.replace("_", " ") for name in CONDITIONS]
    axes.set_yticks(range(len(CONDITIONS)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.set_title("N normal or mild, M moderate, S severe", fontsize=10)


def likeliest(site: dict[Hashable, Any]) -> str:
    """Return the severity with the highest probability."""
    return max(SEVERITIES, key=lambda name: site[name])

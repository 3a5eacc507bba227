"""The location task's part of the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.cache.overview_cache import OverviewCache
from src.competition.constants import SERIES_DESCRIPTIONS
from src.imaging.overview import Overview
from src.reporting.html_report import HtmlReport
from src.reporting.paper_results import WINNERS_SLICES
from src.reporting.plots import LEAKY, OURS, PAPERS, panels
from src.reporting.tables import Rows, percent

SHARES = {
    "within_5mm": "within 5 mm, %",
    "slice_exact": "slice exact, %",
    "slice_within_one": "slice within one, %",
    "level_right": "level right, %",
    "studies_level_right": "studies with every level right, %",
    "side_right": "side right, %",
    "missed": "missed, %",
    "projected": "projected, %",
}
SHOWN = 4  # worst series drawn of each type


def location_table(metrics: dict[str, dict[str, Any]]) -> Rows:
    """Lay the errors out, a column a series type, shares of all marked sites."""
    columns = {
        description: {
            "median, mm": one["median_mm"],
            "95th percentile, mm": one["p95_mm"],
            **{words: percent(one[name]) for name, words in SHARES.items()},
            "sites": f"{one['sites']:,}",
        }
        for description, one in metrics.items()
    }
    measures = next(iter(columns.values()), {})
    return [
        {"": words} | {name: column[words] for name, column in columns.items()}
        for words in measures
    ]


def add_location(
    page: HtmlReport,
    metrics: dict[str, dict[str, Any]],
    together: dict[str, dict[str, Any]],
    sites: pd.DataFrame,
    overviews: OverviewCache,
    figures: Path,
) -> None:
    """Add the section, and draw its figures.

    together: metrics of all runs of a fold at once, if there are several; sites: those
    drawn, rows of COMPARED_COLUMNS.
    """
    page.heading("Where the sites are: the locator on studies it has not seen")
    exact, within = (percent(share) for share in WINNERS_SLICES)
    page.paragraph(
        "Errors in mm are within the marked slice's plane. Shares are of all marked "
        "sites. A site often lies between two slices, so within one is what counts; "
        f"the competition's winners report {exact} % exact and {within} % within one. "
        "Level and side are right if the nearest marked site is the one asked for; a "
        "canal has no side. Projected: the series did not show the site, which was "
        "projected from another series."
    )
    page.table(location_table(metrics))
    if together:
        page.paragraph(
            "All runs of a fold together, as predict_submission.py uses them; the "
            "figures below are theirs:"
        )
        page.table(location_table(together))
    errors, worst = figures / "location_errors.png", figures / "location_worst.png"
    draw_errors(sites, errors)
    page.picture(errors, "Share of marked sites found within a distance, in plane")
    draw_worst(sites, overviews, worst)
    page.picture(
        worst,
        "The series with the largest errors of each type: rings marked, crosses found, "
        "on the slice of the worst site; a thin cross was found on another slice",
    )


def draw_errors(sites: pd.DataFrame, path: Path) -> None:
    """Draw the share of sites within a distance, a line a series type."""
    with panels(path, 1, 1, (6, 3.4)) as (axes,):
        for description, some in sites.groupby("series_description"):
            errors = np.sort(some["error_mm"].dropna())
            shares = np.arange(1, len(errors) + 1) / len(some)
            axes.step(errors, shares, where="post", label=description)
        axes.axvline(5, color=PAPERS, lw=1)
        axes.set_xlim(0, 15)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("error in plane, mm")
        axes.set_ylabel("share of marked sites")
        axes.legend(frameon=False, loc="lower right")
        axes.grid(alpha=0.3)


def draw_worst(sites: pd.DataFrame, overviews: OverviewCache, path: Path) -> None:
    """Draw the slices with the largest errors, what was marked and what was found."""
    kinds = [k for k in SERIES_DESCRIPTIONS if (sites["series_description"] == k).any()]
    images = {(s, d): overview for s, d, overview in overviews.groups()}
    with panels(path, SHOWN * len(kinds), SHOWN, (3, 3.2)) as axes:
        for row, kind in enumerate(kinds):
            some = sites[sites["series_description"] == kind]
            ranked = some.sort_values("error_mm", ascending=False, na_position="first")
            worst = ranked.drop_duplicates("study_id")[:SHOWN]
            for panel in axes[SHOWN * row : SHOWN * (row + 1)]:
                panel.axis("off")
            for panel, site in zip(
                axes[SHOWN * row :], worst.itertuples(), strict=False
            ):
                _draw_slice(panel, site, some, images[site.study_id, kind])


def _draw_slice(axes: Axes, site: Any, sites: pd.DataFrame, overview: Overview) -> None:
    index = overview.index_of(site.true_series_id, site.true_instance_number)
    axes.imshow(overview.images[index], cmap="gray", vmin=0, vmax=255)
    file = (site.true_series_id, site.true_instance_number)
    marked = sites[["true_series_id", "true_instance_number"]] == file
    for own in sites[marked.all(axis=1)].itertuples():
        x, y = overview.from_image(index, np.array([own.true_x, own.true_y]))
        axes.plot(x, y, "o", color=LEAKY, fillstyle="none", ms=9, mew=1.6)
        there = overview.index_of(own.series_id, own.instance_number)
        if there is not None and own.series_id == site.true_series_id:
            x, y = overview.from_image(there, np.array([own.x, own.y]))
            axes.plot(x, y, "+", color=OURS, ms=9, mew=1.8 if there == index else 0.9)
    told = "missed" if np.isnan(site.error_mm) else f"{site.error_mm:.1f} mm"
    level = site.level.replace("_", "/").upper()
    axes.set_title(f"{site.series_description}, {level}: {told}", fontsize=8)

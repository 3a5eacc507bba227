"""The report's section on the location task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.cache.overview_cache import OverviewCache
from src.competition.constants import (
    SERIES_DESCRIPTIONS,
    level_name,
)
from src.imaging.overview import Overview
from src.localization.location_metrics import ComparedSite, compared_sites
from src.metrics_schema import LocationMetrics
from src.reporting.html_report import HtmlReport
from src.reporting.paper_results import WINNERS_SLICES
from src.reporting.plots import LEAKY, OURS, PAPERS, panels
from src.reporting.tables import Row, Rows, percent

Share = Literal[
    "within_5mm",
    "slice_exact",
    "slice_within_one",
    "level_right",
    "studies_level_right",
    "side_right",
    "missed",
    "projected",
]
SHARES: dict[Share, str] = {
    "within_5mm": "within 5 mm, %",
    "slice_exact": "exact slice, %",
    "slice_within_one": "within one slice, %",
    "level_right": "correct level, %",
    "studies_level_right": "studies with all levels correct, %",
    "side_right": "correct side, %",
    "missed": "missed, %",
    "projected": "projected, %",
}
WORST = 4  # series drawn of each type


def location_table(metrics: LocationMetrics) -> Rows:
    """Tabulate the errors, a column a series type; shares are of all marked sites."""
    columns: dict[str, Row] = {
        series_type: {
            "median, mm": errors["median_mm"],
            "95th percentile, mm": errors["p95_mm"],
            **{label: percent(errors[name]) for name, label in SHARES.items()},
            "sites": f"{errors['sites']:,}",
        }
        for series_type, errors in metrics.items()
    }
    labels = next(iter(columns.values()), {})
    return [
        {"": label} | {name: column[label] for name, column in columns.items()}
        for label in labels
    ]


def add_location(
    page: HtmlReport,
    metrics: LocationMetrics,
    ensemble: LocationMetrics,
    sites: pd.DataFrame,
    overviews: OverviewCache,
    figures: Path,
) -> None:
    """Add the section to the page and draw its figures.

    ensemble: metrics of each fold's runs as an ensemble, empty if no fold has several;
    sites: those to draw, rows of COMPARED_COLUMNS.
    """
    page.heading("Where the sites are: the locator on unseen studies")
    exact, within = (percent(share) for share in WINNERS_SLICES)
    page.paragraph(
        "Errors in mm are within the plane of the marked slice. Shares are of all "
        "marked sites. A site often lies between two slices, so the share within one "
        f"slice matters most; the competition's winners report {exact} % exact and "
        f"{within} % within one. Level and side are correct if the nearest marked site "
        "is the requested one; a canal has no side. Projected: sites that their own "
        "series does not show, projected from another series."
    )
    page.heading("Errors by series type", level=3)
    page.table(location_table(metrics))
    if ensemble:
        page.paragraph(
            "The ensemble of each fold's runs, as `predict_submission.py` uses it; the "
            "figures below are of the ensemble:"
        )
        page.table(location_table(ensemble))
    errors, worst = figures / "location_errors.png", figures / "location_worst.png"
    draw_errors(sites, errors)
    page.picture(errors, "Share of marked sites located within a distance, in plane")
    draw_worst(sites, overviews, worst)
    page.heading("The worst cases of each series type", level=3)
    page.picture(
        worst,
        "The largest errors of each series type, on the slice of the worst site: rings "
        "are marked, crosses located sites; a thin cross lies on another slice",
    )


def draw_errors(sites: pd.DataFrame, path: Path) -> None:
    """Plot the share of sites within a distance, a curve for each series type."""
    with panels(path, 1, 1, (6, 3.4), drawing=True) as (axes,):
        for series_type, some in sites.groupby("series_description"):
            errors = np.sort(some["error_mm"].dropna())
            shares = np.arange(1, len(errors) + 1) / len(some)
            axes.step(errors, shares, where="post", label=series_type)
        axes.axvline(5, color=PAPERS, lw=1)
        axes.set_xlim(0, 15)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("error in plane, mm")
        axes.set_ylabel("share of marked sites")
        axes.legend(frameon=False, loc="lower right")
        axes.grid(alpha=0.3)


def draw_worst(sites: pd.DataFrame, overviews: OverviewCache, path: Path) -> None:
    """Draw the slices with the largest errors, with marked and located sites."""
    types = [t for t in SERIES_DESCRIPTIONS if (sites["series_description"] == t).any()]
    images = {(s, d): overview for s, d, overview in overviews.groups()}
    with panels(path, WORST * len(types), WORST, (3, 3.2)) as axes:
        for row, series_type in enumerate(types):
            some = sites[sites["series_description"] == series_type]
            ranked = some.sort_values("error_mm", ascending=False, na_position="first")
            worst = compared_sites(ranked.drop_duplicates("study_id")[:WORST])
            for panel in axes[WORST * row : WORST * (row + 1)]:
                panel.axis("off")
            for panel, site in zip(axes[WORST * row :], worst, strict=False):
                others = some[some["study_id"] == site.study_id]
                overview = images[site.study_id, series_type]
                _draw_slice(panel, site, compared_sites(others), overview)


def _draw_slice(
    axes: Axes, worst: ComparedSite, sites: Sequence[ComparedSite], overview: Overview
) -> None:
    """Draw the slice of the worst site, with all sites that are marked on it."""
    marked_on = (worst.true_series_id, worst.true_instance_number)
    index = overview.index_of(*marked_on)
    if index is None:
        raise ValueError(f"the overview has no slice {marked_on}")
    axes.imshow(overview.images[index], cmap="gray", vmin=0, vmax=255)
    for site in sites:
        if (site.true_series_id, site.true_instance_number) == marked_on:
            x, y = overview.from_image(index, np.array([site.true_x, site.true_y]))
            axes.plot(x, y, "o", color=LEAKY, fillstyle="none", ms=9, mew=1.6)
            _draw_cross(axes, site, index, overview)
    error = "missed" if worst.error_mm is None else f"{worst.error_mm:.1f} mm"
    level = level_name(worst.level)
    axes.set_title(f"{worst.series_description}, {level}: {error}", fontsize=8)


def _draw_cross(axes: Axes, site: ComparedSite, index: int, overview: Overview) -> None:
    """Mark where a site was located, if in its own series; thin on another slice."""
    if site.series_id != site.true_series_id or site.instance_number is None:
        return
    found = overview.index_of(site.true_series_id, site.instance_number)
    if found is not None:
        x, y = overview.from_image(found, np.array([site.x, site.y]))
        axes.plot(x, y, "+", color=OURS, ms=9, mew=1.8 if found == index else 0.9)

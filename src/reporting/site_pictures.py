"""Pictures of graded sites in all their views: the costly wrong and the sure right."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from src.cache.crop_cache import OWN, CropCache
from src.cache.crop_views import own_types
from src.classification.calibration import (
    PROBABILITY_COLUMNS,
    out_of_fold_probabilities,
)
from src.classification.family_sites import negative_log
from src.competition.constants import (
    FAMILIES,
    FAMILY_OF,
    SERIES_DESCRIPTIONS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
    level_name,
)
from src.competition.tables import SITE
from src.files import replacing
from src.reporting.html_report import HtmlReport
from src.reporting.plots import LEAKY, PAPERS, panels

PER_FAMILY = 3  # sites drawn of each family
MILDEST = SEVERITIES[0]
WIDTH, LEAST_WIDTH = 9.3, 4.2  # of a figure, in inches: the page's width; a title's
LARGEST = 0.75  # side of a slice, in inches
TITLE, NAMES = 0.3, 0.2  # height of a row's title and of its views' names, in inches
GAP = 0.12  # between views, in slices
GREYS = 32  # of a file: the noise of all 256 would make it three times as large
TITLE_SIZE, CHARACTER = 8, 4.4  # height and a character's mean width, in points
LEGEND = (
    "Each view's middle slice, framed, is the marked one or the nearest to the point, "
    "which is at its centre; sagittal slices go from the patient's right to the left, "
    "axial ones from head to foot. Runs of one view are shown the marked one alone. "
    "Probabilities are out of fold and uncalibrated."
)


@dataclass(frozen=True, eq=False)
class SitePicture:
    """What a row of a figure shows.

    views: uint8 [slices, px, px] by series type, None where the site is not shown; own:
    the type that the site is marked on.
    """

    title: str
    views: Mapping[str, np.ndarray | None]
    own: str


def add_site_pictures(
    page: HtmlReport,
    cache: CropCache,
    tables: Mapping[str, pd.DataFrame],
    figures: Path,
) -> None:
    """Add the pictures to the page; draw none where no site is wrong, or right.

    tables: the severity runs' predictions by run, of test studies alone.
    """
    sites = graded_sites(cache, tables)
    for kind, title, chosen in (
        ("wrong", "The most costly wrong grades", most_costly(sites)),
        ("right", "The surest right grades, moderate or severe", surest(sites)),
    ):
        if len(chosen):
            path = figures / f"severity_{kind}.png"
            draw_sites(site_pictures(cache, chosen), path)
            reduce_colours(path)
            page.picture(path, f"{title} of each family. {LEGEND}")


def graded_sites(cache: CropCache, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the ensemble's out-of-fold probabilities to the marked sites.

    Returns `site`, SITE, severity, PROBABILITY_COLUMNS, `predicted` and `loss`:
    -log p of the label times its severity's weight, as the score counts the site.
    """
    graded = out_of_fold_probabilities(list(tables.values()))
    marked = cache.sites.drop_duplicates(SITE)[["site", *SITE]]
    sites = marked.merge(graded, on=SITE)
    probabilities = sites[PROBABILITY_COLUMNS].to_numpy(float)
    classes = sites["severity"].map(SEVERITIES.index).to_numpy(int)
    of_truth = np.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]
    predicted = np.array(SEVERITIES)[probabilities.argmax(axis=1)]
    loss = np.array(SEVERITY_WEIGHTS)[classes] * negative_log(of_truth)
    return sites.assign(predicted=predicted, loss=loss)


def most_costly(sites: pd.DataFrame) -> pd.DataFrame:
    """Select each family's wrong sites of the largest weighted loss."""
    wrong = sites[sites["predicted"] != sites["severity"]]
    return _of_each_family(wrong.sort_values("loss", ascending=False, kind="stable"))


def surest(sites: pd.DataFrame) -> pd.DataFrame:
    """Select each family's right sites that are narrowed, of the largest probability.

    A right and sure normal/mild site says little: most sites are.
    """
    right = sites[sites["predicted"] == sites["severity"]]
    right = right[right["severity"] != MILDEST]
    sure = right[PROBABILITY_COLUMNS].max(axis=1).sort_values(ascending=False)
    return _of_each_family(right.loc[sure.index])


def _of_each_family(ranked: pd.DataFrame) -> pd.DataFrame:
    families = ranked["condition"].map(FAMILY_OF)
    return pd.concat(
        [ranked[families == family].head(PER_FAMILY) for family in FAMILIES]
    )


def site_pictures(cache: CropCache, sites: pd.DataFrame) -> list[SitePicture]:
    """Make the picture of each of graded_sites' rows.

    A cache of marked views alone has no other view to miss.
    """
    only_own = (cache.table["view"] == OWN).all()
    pictures = []
    for row in sites.to_dict("records"):
        crops = cache.table[cache.table["site"] == row["site"]]
        types = own_types(crops)
        of_type = dict(zip(types, crops["crop"], strict=True))
        own = types[crops["view"] == OWN].item()
        shown = [own] if only_own else SERIES_DESCRIPTIONS
        views = {name: _pixels(cache, of_type.get(name)) for name in shown}
        pictures.append(SitePicture(_title(row), views, own))
    return pictures


def _pixels(cache: CropCache, crop: int | None) -> np.ndarray | None:
    return None if crop is None else cache.crops[crop]


def _title(row: Mapping[Any, Any]) -> str:
    """Describe a site: where it is, its label, the grade's probabilities and loss."""
    condition = row["condition"].replace("_", " ").capitalize()
    level = level_name(row["level"])
    grades = ", ".join(f"{_words(name)} {row[name]:.2f}" for name in SEVERITIES)
    return (
        f"{condition} {level}, study {row['study_id']}. "
        f"Label: {_words(row['severity'])}. "
        f"Predicted: {grades}. Weighted loss {row['loss']:.2f}"
    )


def _words(severity: str) -> str:
    return severity.replace("_", "/")


def draw_sites(pictures: list[SitePicture], path: Path) -> None:
    """Draw a row of slices for each site, its views side by side."""
    slices = max(_slice_count(picture) for picture in pictures)
    views = max(len(picture.views) for picture in pictures)
    length = views * slices + (views - 1) * GAP
    side = min(WIDTH / length, LARGEST)
    width = max(side * length, LEAST_WIDTH)
    columns = int(width * 72 / CHARACTER)
    titles = [fill(picture.title, columns) for picture in pictures]
    lines = max(title.count("\n") for title in titles)
    height = side + TITLE + NAMES + lines * 1.4 * TITLE_SIZE / 72
    with panels(path, len(pictures), 1, (width, height)) as axes:
        for panel, title, picture in zip(axes, titles, pictures, strict=True):
            panel.set_title(title, fontsize=TITLE_SIZE, loc="left")
            panel.set_xlim(0, length)
            panel.set_ylim(0, 1)
            _draw_views(panel, picture, slices)


def _slice_count(picture: SitePicture) -> int:
    return max(len(view) for view in picture.views.values() if view is not None)


def _draw_views(axes: Axes, picture: SitePicture, slices: int) -> None:
    """Draw a site's views, each `slices` wide and of height 1."""
    axes.set_aspect("equal", anchor="W")
    axes.spines[:].set_visible(False)
    starts = [number * (slices + GAP) for number in range(len(picture.views))]
    for start, pixels in zip(starts, picture.views.values(), strict=True):
        if pixels is None:
            _draw_missing(axes, start, slices)
        else:
            _draw_slices(axes, start, pixels)
    names = [
        f"{name} (marked)" if name == picture.own else name for name in picture.views
    ]
    axes.set_xticks([start + slices / 2 for start in starts], names, fontsize=7)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=2)
    for label, name in zip(axes.get_xticklabels(), picture.views, strict=True):
        label.set_fontweight("bold" if name == picture.own else "normal")


def _draw_slices(axes: Axes, start: float, pixels: np.ndarray) -> None:
    """Draw a view's slices from left to right and frame the middle one."""
    for number, image in enumerate(pixels):
        left = start + number
        extent = (left, left + 1, 0, 1)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent)
    middle = start + len(pixels) // 2
    axes.add_patch(Rectangle((middle, 0), 1, 1, fill=False, ec=LEAKY, lw=1.5))


def _draw_missing(axes: Axes, start: float, slices: int) -> None:
    """Draw a hatched box in place of a view that does not show the site."""
    box = Rectangle((start, 0), slices, 1, fill=False, ec=PAPERS, hatch="///")
    axes.add_patch(box)
    white = {"facecolor": "white", "edgecolor": "none"}
    middle = (start + slices / 2, 0.5)
    axes.text(*middle, "not shown", ha="center", va="center", fontsize=8, bbox=white)


def reduce_colours(path: Path) -> None:
    """Rewrite a PNG with the nearest of GREYS greys and the frames' colour."""
    greys = np.linspace(0, 1, GREYS)[:, None].repeat(3, axis=1)
    colours = np.vstack([greys, to_rgb(LEAKY)])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * colours).round().astype(np.uint8).tobytes())
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(
            palette=palette, dither=Image.Dither.NONE
        )
    with replacing(path) as temporary:
        reduced.save(temporary, optimize=True)

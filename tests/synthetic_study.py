"""A study without pixels: its sites are known, and so are their heatmaps."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
)
from src.imaging.overview import FIELD_MM, OVERVIEW_PX, SLICE_COLUMNS, Overview
from src.localization.heatmap_peaks import HeatmapGrid
from src.localization.locate import SeriesHeatmaps, targets_on
from src.localization.spine_prior import fit_canal_offsets, fit_level_spacing

CELLS = 56  # of a heatmap's side
BACK_TO_FRONT = ((0, 1, 0), (0, 0, -1))
ACROSS = ((1, 0, 0), (0, 1, 0))
# From the canal of the same level: to the left, to the back, to the head.
AWAY_MM = {"spinal": (0, 0, 0), "foraminal": (16, -8, 5), "subarticular": (9, -3, 0)}


def canal_mm(level: str) -> np.ndarray:
    """Return the canal's point at a level: 30 mm apart, bending back to the feet."""
    number = LEVELS.index(level)
    return np.array([2.0, 10 + number**2, 60 - 30 * number])


def site_mm(condition: str, level: str) -> np.ndarray:
    """Return the point of any site."""
    away = np.array(AWAY_MM[FAMILY_OF[condition]], float)
    if condition.startswith("right"):
        away[0] *= -1
    return canal_mm(level) + away


def leaning_mm(condition: str, level: str) -> np.ndarray:
    """Return a scoliotic patient's site: 4 mm to the left from level to level."""
    return site_mm(condition, level) + np.array([4 * LEVELS.index(level) - 8, 0, 0])


def marked(studies: int = 3) -> pd.DataFrame:
    """The sites of some studies in the columns that offsets are fitted on."""
    rows = [
        (study, condition, level, *site_mm(condition, level))
        for study in range(studies)
        for condition in CONDITIONS
        for level in LEVELS
    ]
    columns = ["study_id", "condition", "level", "x_mm", "y_mm", "z_mm"]
    return pd.DataFrame(rows, columns=columns)


OFFSETS = fit_canal_offsets(marked())
STEPS = fit_level_spacing(marked())


def overview(description: str, series_id: int, heights: Iterable[float]) -> Overview:
    """Make empty slices at heights along x (sagittal) or z (axial), one stack."""
    axial = description == AXIAL_T2
    right, down = np.array(ACROSS if axial else BACK_TO_FRONT, float)
    rows = []
    for index, height in enumerate(heights):
        middle = np.array([0.0, 20, height] if axial else [height, 20, 0])
        corner = middle - 100 * (right + down)
        shape = (201, 201, 1.0, 1.0)
        rows.append((series_id, index + 1, 0, index, 0, *shape, *corner, *right, *down))
    images = np.zeros((len(rows), OVERVIEW_PX, OVERVIEW_PX), np.uint8)
    table = pd.DataFrame(rows, columns=list(SLICE_COLUMNS))
    return Overview(images, table, FIELD_MM[description])


SAGITTAL_MM = np.arange(-26, 27, 4.0)
AXIAL_MM = np.arange(72, -73, -4.0)


def overviews() -> dict[str, Overview]:
    """The three series types of a whole study."""
    return {
        SAGITTAL_T2: overview(SAGITTAL_T2, 1, SAGITTAL_MM),
        SAGITTAL_T1: overview(SAGITTAL_T1, 2, SAGITTAL_MM),
        AXIAL_T2: overview(AXIAL_T2, 3, AXIAL_MM),
    }


Place = Callable[[str, str], np.ndarray]


def seen(
    description: str,
    view: Overview,
    blind: bool = False,
    levels_alike: bool = False,
    place: Place = site_mm,
) -> SeriesHeatmaps:
    """Make heatmaps of the sites, Gaussians of 3 mm; flat ones if blind.

    levels_alike: a target has peaks at every level, as on axial slices; place:
    where a site is shown, by its condition and level.
    """
    space = HeatmapGrid(view, CELLS, CELLS)
    logs = []
    for condition, level in targets_on(description):
        total = np.full(space.points_mm.shape[:3], 1e-9, np.float32)
        for other in LEVELS if levels_alike else [level]:
            off = space.points_mm - place(condition, other)
            total += 0 if blind else np.exp(-(off**2).sum(-1) / 18)
        logs.append(np.log(total / total.sum()))
    return SeriesHeatmaps(view, np.stack(logs))


def mixed(
    first: SeriesHeatmaps, second: SeriesHeatmaps, share: float
) -> SeriesHeatmaps:
    """Mix two heatmaps of each target, the first with a share of the probability."""
    both = share * np.exp(first.log_probs) + (1 - share) * np.exp(second.log_probs)
    return SeriesHeatmaps(first.overview, np.log(both))

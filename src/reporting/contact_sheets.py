"""contact_sheet_*.png: examples of each condition's crops by level and grade."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from src.cache.crop_cache import CropCache
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, level_name
from src.reporting.plots import panels
from src.reporting.site_pictures import reduce_colours

ACROSS, DOWN = 4, 2  # examples of a cell
EXAMPLES = ACROSS * DOWN
LARGEST_PX = 96  # side of an example: larger crops are shrunk to it
SIDE, TITLE = 0.8, 0.24  # of an example and of a cell's title, in inches
UNGRADED = "no grade"  # a column of the crops whose label has no severity


def draw_contact_sheets(cache: CropCache, folder: Path) -> list[Path]:
    """Draw a sheet of each condition with crops; remove those of the others.

    Which crops are shown is decided by the tables; of the pixels only theirs are read.
    """
    drawn = []
    for condition in CONDITIONS:
        path = folder / f"contact_sheet_{condition}.png"
        crops = cache.sites[cache.sites["condition"] == condition]
        path.unlink(missing_ok=True)
        if len(crops):
            labels = cache.labels[cache.labels["condition"] == condition]
            _draw_sheet(cache, by_grade(crops), by_grade(labels), path)
            drawn.append(path)
    return drawn


def by_grade(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `grade`: the severity, or UNGRADED where there is none."""
    return table.assign(grade=table["severity"].fillna(UNGRADED))


def examples(crops: pd.DataFrame, phase: float) -> list[int]:
    """Choose the numbers of at most EXAMPLES crops, evenly over the studies.

    crops: a cell's, with `study_id` and `crop`, of which one a study is taken; phase,
    0 to 1, shifts the choice, so that cells do not all show the same studies.
    """
    ordered = crops.sort_values(["study_id", "crop"]).drop_duplicates("study_id")
    numbers = ordered["crop"].to_numpy()
    if len(numbers) > EXAMPLES:
        places = (np.arange(EXAMPLES) + phase) * len(numbers) / EXAMPLES
        numbers = numbers[places.astype(int)]
    return numbers.tolist()


def cell_title(grade: str, shown: int, crops: int, labels: int) -> str:
    """Count what a cell shows, and the labels that have no crop to show."""
    name = grade.replace("_", "/").capitalize()
    count = f"{shown:,} of {crops:,} crops" if crops else "no crop"
    lacking = labels - crops
    if grade == UNGRADED or lacking <= 0:  # no grade: nothing to learn is lost
        return f"{name}: {count}"
    return f"{name}: {count}; missing: {lacking:,}"


def mosaic(crops: list[np.ndarray]) -> np.ndarray:
    """Lay crops uint8 [px, px] out in ACROSS columns and DOWN rows, on white."""
    px = min(len(crops[0]), LARGEST_PX)
    gap = max(px // 32, 1)
    step = px + gap
    sheet = np.full((DOWN * step - gap, ACROSS * step - gap), 255, np.uint8)
    for number, crop in enumerate(crops):
        top, left = step * (number // ACROSS), step * (number % ACROSS)
        sheet[top : top + px, left : left + px] = _shrunk(crop, px)
    return sheet


def _shrunk(crop: np.ndarray, px: int) -> np.ndarray:
    if len(crop) == px:
        return crop
    return np.asarray(Image.fromarray(crop).resize((px, px), Image.Resampling.BOX))


def _draw_sheet(
    cache: CropCache, crops: pd.DataFrame, labels: pd.DataFrame, path: Path
) -> None:
    grades = [*SEVERITIES, UNGRADED]
    if (crops["grade"] != UNGRADED).all():
        grades.remove(UNGRADED)
    elif (crops["grade"] == UNGRADED).all():
        grades = [UNGRADED]
    cells = {
        (level, grade): place
        for place, (level, grade) in enumerate(
            (level, grade) for level in LEVELS for grade in grades
        )
    }
    size = (ACROSS * SIDE + 0.15, DOWN * SIDE + TITLE)
    of_crops, of_labels = _cells(crops), _cells(labels)
    with panels(path, len(cells), len(grades), size) as axes:
        for (level, grade), place in cells.items():
            own = of_crops.get((level, grade), crops[:0])
            labelled = len(of_labels.get((level, grade), labels[:0]))
            phase = (LEVELS.index(level) + 0.5) / len(LEVELS)
            chosen = examples(own, phase)
            panel = axes[place]
            panel.set_title(
                cell_title(grade, len(chosen), len(own), labelled), fontsize=8
            )
            _draw_cell(panel, [cache.crops[n, cache.spec.middle] for n in chosen])
            if grade == grades[0]:
                panel.set_ylabel(level_name(level), fontsize=10)
        axes[0].figure.suptitle(_title(cache, crops), fontsize=10)
    reduce_colours(path)


def _cells(table: pd.DataFrame) -> Mapping[tuple[str, str], pd.DataFrame]:
    """Split a table by level and grade."""
    return {
        (str(level), str(grade)): rows
        for (level, grade), rows in table.groupby(["level", "grade"])
    }


def _draw_cell(panel: Axes, crops: list[np.ndarray]) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    if crops:
        panel.imshow(mosaic(crops), cmap="gray", vmin=0, vmax=255)
    else:
        panel.text(0.5, 0.5, "none", ha="center", va="center", fontsize=8)


def _title(cache: CropCache, crops: pd.DataFrame) -> str:
    condition = crops["condition"].iloc[0].replace("_", " ").capitalize()
    what = "found sites" if cache.has_found_sites else "marked points"
    studies = crops["study_id"].nunique()
    return (
        f"{condition}: crops at {len(crops):,} {what} of {studies:,} studies\n"
        f"the middle one of {cache.spec}; each of a cell is of another study. "
        "Missing: labels without a crop, see rejects.csv"
    )

"""The contact sheets: which crops are shown where, and what is counted as missing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kept_figures import columns, image, keep_figures
from matplotlib.axes import Axes
from PIL import Image

from src.cache.crop_cache import LABEL_COLUMNS, CropCache
from src.competition.constants import SPINAL
from src.imaging.crops import CropSpec
from src.reporting import contact_sheets
from src.reporting.contact_sheets import draw_contact_sheets, examples, mosaic

LEFT = "left_subarticular_stenosis"
Row = tuple[int, str, str, str | None]  # study, condition, level, severity
# Of 30 studies at L4/L5, whose phase is 3.5 / 5, the crops (k + .7) * 30 / 8 are shown.
MANY: list[Row] = [(100 - n, LEFT, "l4_l5", "moderate") for n in range(30)]
SHOWN = [2, 6, 10, 13, 17, 21, 25, 28]


def cache_of(
    rows: list[Row], labels: list[Row] | None = None, slices: int = 3, px: int = 16
) -> CropCache:
    """Crops whose middle slice has the crop's number for grey, all others white."""
    names = ["study_id", "condition", "level", "severity"]
    table = pd.DataFrame(rows, columns=names).assign(crop=range(len(rows)), view="own")
    pixels = np.full((len(rows), slices, px, px), 255, np.uint8)
    pixels[:, slices // 2] = np.arange(len(rows))[:, None, None]
    empty = pd.DataFrame()
    of_labels = pd.DataFrame(rows if labels is None else labels, columns=LABEL_COLUMNS)
    spec = CropSpec(px, 50.0, slices)
    return CropCache(Path(), pixels, table, of_labels, empty, spec, {})


Draw = Callable[[CropCache], dict[str, list[Axes]]]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw the sheets of a cache; return each condition's cells."""
    kept = keep_figures(monkeypatch)
    monkeypatch.setattr(contact_sheets, "reduce_colours", lambda path: None)

    def draw(cache: CropCache) -> dict[str, list[Axes]]:
        paths = draw_contact_sheets(cache, tmp_path)
        prefix = "contact_sheet_"
        return {path.stem.removeprefix(prefix): kept(path).axes for path in paths}

    return draw


def greys(axes: Axes) -> list[int]:
    """The greys on a cell, without the white around its examples."""
    return sorted({*np.unique(image(axes)).tolist()} - {255}) if axes.images else []


def cells(axes: list[Axes]) -> dict[str, list[int]]:
    """The greys of each cell that has some, by its row and the title's first word."""
    width = columns(axes[0])
    rows = [axes[n - n % width].get_ylabel() for n in range(len(axes))]
    found = {
        f"{row} {cell.get_title().split(':')[0]}": greys(cell)
        for row, cell in zip(rows, axes, strict=True)
    }
    return {name: shown for name, shown in found.items() if shown}


@pytest.mark.parametrize("slices", [3, 5])
def test_crops_are_spread_evenly_over_the_studies(drawn: Draw, slices: int) -> None:
    """Studies fall from crop to crop: of their order the crops are 29 less."""
    [axes] = drawn(cache_of(MANY, slices=slices)).values()
    assert cells(axes) == {"L4/L5 Moderate": sorted(29 - n for n in SHOWN)}


def test_a_study_is_shown_once_in_a_cell() -> None:
    table = pd.DataFrame({"study_id": [3, 1, 1, 2], "crop": [0, 5, 4, 9]})
    assert examples(table, 0.5) == [4, 9, 0]


def test_each_crop_is_at_its_condition_level_and_grade(drawn: Draw) -> None:
    rows: list[Row] = [
        (1, SPINAL, "l1_l2", "severe"),
        (2, SPINAL, "l5_s1", "normal_mild"),
        (1, LEFT, "l1_l2", "moderate"),
        (3, SPINAL, "l1_l2", "severe"),
    ]
    sheets = drawn(cache_of(rows))
    assert {name: cells(axes) for name, axes in sheets.items()} == {
        LEFT: {"L1/L2 Moderate": [2]},
        SPINAL: {"L1/L2 Severe": [0, 3], "L5/S1 Normal/mild": [1]},
    }


def test_titles_count_the_crops_and_what_is_missing(drawn: Draw) -> None:
    more: list[Row] = [
        *((7, LEFT, "l4_l5", "moderate"), (8, LEFT, "l4_l5", "moderate")),
        (9, LEFT, "l1_l2", "severe"),
    ]
    [axes] = drawn(cache_of(MANY, [*MANY, *more])).values()
    assert [cell.get_title() for cell in axes[9:12]] == [
        *("Normal/mild: no crop", "Moderate: 8 of 30 crops; missing: 2"),
        "Severe: no crop",
    ]
    assert axes[2].get_title() == "Severe: no crop; missing: 1"
    assert axes[2].texts[0].get_text() == "none"
    words = axes[0].figure.get_suptitle()
    assert words.startswith("Left subarticular stenosis: crops at 30 marked points of")
    assert "3 slices of 16 px over 50 mm" in words


def test_crops_without_a_grade_have_a_column_where_there_are_some(drawn: Draw) -> None:
    graded: list[Row] = [(1, LEFT, "l1_l2", "severe"), (2, LEFT, "l1_l2", None)]
    [axes] = drawn(cache_of(graded)).values()
    assert columns(axes[0]) == 4
    assert cells(axes) == {"L1/L2 Severe": [0], "L1/L2 No grade": [1]}
    [axes] = drawn(cache_of([(1, LEFT, "l1_l2", None)])).values()
    assert columns(axes[0]) == 1
    assert cells(axes) == {"L1/L2 No grade": [0]}


def test_found_sites_are_named_so(drawn: Draw) -> None:
    cache = cache_of(MANY)
    found = CropCache(**{**vars(cache), "fingerprint": {"sites": "found"}})
    [axes] = drawn(found).values()
    assert "crops at 30 found sites" in axes[0].figure.get_suptitle()


def test_the_sheet_of_a_condition_without_crops_is_removed(tmp_path: Path) -> None:
    old = tmp_path / f"contact_sheet_{SPINAL}.png"
    old.write_text("of an earlier cache")
    [path] = draw_contact_sheets(cache_of(MANY), tmp_path)
    assert sorted(tmp_path.iterdir()) == [path]
    with Image.open(path) as sheet:
        assert sheet.width > 800


@pytest.mark.parametrize("px", [16, 96, 250])
def test_examples_stand_in_order_and_large_ones_are_shrunk(px: int) -> None:
    crops = [np.full((px, px), 20 * n, np.uint8) for n in range(5)]
    sheet = mosaic(crops)
    side, gap = min(px, 96), max(min(px, 96) // 32, 1)
    assert sheet.shape == (2 * side + gap, 4 * side + 3 * gap)
    middle = side // 2
    tops = [sheet[middle, middle + n * (side + gap)] for n in range(4)]
    assert tops == [0, 20, 40, 60]
    below = sheet[middle + side + gap]
    assert (below[middle], below[middle + side + gap]) == (80, 255)

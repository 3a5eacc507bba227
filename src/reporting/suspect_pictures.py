"""suspects.png: points that contradict each other, on their slices."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from src.cache.crop_cache import CropCache
from src.cache.label_checks import (
    DOUBLED,
    ONE_POSITION,
    ONE_SLICE,
    SAME_X,
    SWAPPED_SIDES,
    WRONG_ORDER,
    contradictions,
)
from src.competition.constants import SIDES, level_name
from src.imaging.dicom import SliceHeader
from src.reporting.plots import LEAKY as RING
from src.reporting.plots import panels
from src.reporting.preview import label_point, show_slice
from src.reporting.site_pictures import reduce_colours

SHOWN = 12  # contradictions in the picture
# The most severe first: what a network would learn to be wrong, then what is in doubt.
BY_SEVERITY = (*(SWAPPED_SIDES, WRONG_ORDER, ONE_SLICE, SAME_X, DOUBLED, ONE_POSITION),)
SIZE = (3.2, 3.4)  # of a slice with its title, in inches
TITLE_COLUMNS = 46  # characters of a title's line
MARGIN = 0.12  # of a slice's width, kept around the points where they are enlarged
SIDEWAYS = 0.7  # of a row's direction along the patient's x, from which on it has sides
RULES = (
    "x grows to the patient's left and z to the head, in mm: a left point has the "
    "larger x, a lower level the smaller z"
)


def draw_suspects(cache: CropCache, images: Path, path: Path) -> str:
    """Draw the most severe contradictions, two slices each; return what is shown.

    Without any, remove an earlier picture and return an empty text. A point's partner
    is on the second slice, or beside it where both are on one, enlarged.
    """
    found = contradictions(cache.sites)
    path.unlink(missing_ok=True)
    if found.empty:
        return ""
    chosen = most_severe(found, SHOWN)
    sites = cache.sites.set_index("crop", drop=False)
    with panels(path, 2 * len(chosen), 4, SIZE) as axes:
        for number, case in enumerate(chosen.to_dict("records")):
            both = [case["crop"], case["against"]]
            points = sites.loc[[crop for crop in both if not pd.isna(crop)]]
            _draw_case(axes[2 * number : 2 * number + 2], images, case, points)
        axes[0].figure.suptitle(
            f"{summary(found, chosen).capitalize()}\n{RULES}", fontsize=10
        )
    reduce_colours(path)
    return summary(found, chosen)


def most_severe(found: pd.DataFrame, count: int) -> pd.DataFrame:
    """Select `count` contradictions: of every reason the largest, then its next.

    Returns them by reason, as BY_SEVERITY has them, the largest first.
    """
    kind = found["reason"].map(BY_SEVERITY.index)
    ranked = found.assign(kind=kind).sort_values(
        ["kind", "by_mm", "crop"], ascending=[True, False, True]
    )
    ranked = ranked.assign(rank=ranked.groupby("kind").cumcount())
    chosen = ranked.sort_values(["rank", "kind"]).head(count)
    return chosen.sort_values(["kind", "rank"], ignore_index=True)


def summary(found: pd.DataFrame, chosen: pd.DataFrame) -> str:
    """Count the contradictions that are shown."""
    text = f"contradictions shown: {len(chosen):,} of {len(found):,}"
    if len(found) == len(chosen):
        return text
    return f"{text}, the most severe of each reason"


def _draw_case(
    axes: list[Axes], images: Path, case: Mapping[Any, Any], points: pd.DataFrame
) -> None:
    """Draw a contradiction's points on one or two slices."""
    first, last = points.iloc[0], points.iloc[-1]
    where = ["series_id", "instance_number"]
    same = bool((first[where] == last[where]).all())
    of_slices = (points, points) if same else (points.iloc[:1], points.iloc[1:])
    for panel, shown in zip(axes, of_slices, strict=True):
        _mark_sides(panel, show_slice(panel, images, shown.iloc[0]))
        panel.plot(shown["x"], shown["y"], "o", color=RING, fillstyle="none")
        if panel is axes[1] or not same:  # there is no room for it beside two rings
            _write_positions(panel, shown, case["reason"])
    axes[0].set_title(_case_title(case, first), fontsize=8, loc="left")
    if same:
        _enlarge(axes[1], points)
    words = "the same slice, enlarged" if same else _slice_title(last)
    axes[1].set_title(words, fontsize=8, loc="left")


def _case_title(case: Mapping[Any, Any], point: pd.Series) -> str:
    reason = case["reason"]
    by = "" if pd.isna(case["by_mm"]) else f" by {case['by_mm']:.1f} mm"
    if reason == DOUBLED:
        by = "" if not by else f", {case['by_mm']:.1f} mm apart"
    text = f"{level_name(point['level'])}: {reason.split(':')[0]}{by}"
    return f"{fill(text, TITLE_COLUMNS)}\n{_slice_title(point)}"


def _slice_title(point: pd.Series) -> str:
    return f"study {point['study_id']}, file {point['instance_number']}.dcm"


def _mark_sides(axes: Axes, header: SliceHeader) -> None:
    """Write the patient's right and left to a slice's edges, if it shows both."""
    across = header.geometry.right[0]
    if abs(across) > SIDEWAYS:
        for x, name in zip((0.03, 0.97), "RL" if across > 0 else "LR", strict=True):
            where = axes.transAxes
            axes.text(x, 0.5, name, color="white", ha="center", transform=where)


def _write_positions(axes: Axes, points: pd.DataFrame, reason: str) -> None:
    """Write each point's side or level, and its position along what contradicts."""
    axis = "z_mm" if reason == WRONG_ORDER else "x_mm"
    box = {"facecolor": "black", "alpha": 0.5, "pad": 1.5, "edgecolor": "none"}
    style = {"color": "white", "fontsize": 8, "bbox": box}
    for row in points.to_dict("records"):
        side = row["condition"].split("_")[0]
        name = side if side in SIDES else level_name(row["level"])
        position = f"{name}\n{axis[0]} {row[axis]:.1f} mm"
        label_point(axes, row["x"], row["y"], position, **style)


def _enlarge(axes: Axes, points: pd.DataFrame) -> None:
    """Show the square around the points, and no more of the slice."""
    left, right = axes.get_xlim()
    reach = max(
        points["x"].max() - points["x"].min(), points["y"].max() - points["y"].min()
    )
    half = reach / 2 + MARGIN * (right - left)
    x, y = (points[name].agg(["min", "max"]).mean() for name in ("x", "y"))
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y + half, y - half)

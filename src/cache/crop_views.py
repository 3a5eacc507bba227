"""Views of the marked sites: where to look for each, and which of them to keep.

Once the crops at the marked points are cut, each site has a point in the patient. Every
series of the study's other types is asked for it; of several series of one type the one
whose slice lies nearest is kept.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from src.cache.crop_cache import OWN
from src.cache.crop_shards import POINT_MM, PatientPoint, SeriesCropTask
from src.cache.label_checks import lacks_positions
from src.competition.constants import FAMILY_OF, SERIES_DESCRIPTIONS, SERIES_OF
from src.imaging.crops import CropSpec
from src.imaging.views import Target, order_of_views, point_to_view

KEY = ["row", "view"]
UNPLACED = "its own series has one position for its slices: its point is not known"


def view_tasks(
    sites: pd.DataFrame,
    series: pd.DataFrame,
    images: Path,
    parts: Path,
    spec: CropSpec,
) -> list[SeriesCropTask]:
    """Make a task for each series that may show sites marked on another series type.

    sites: indexed by row, of the crops at the marked points: study_id, condition,
    level, series_description, POINT_MM and note.
    """
    placed = sites[~lacks_positions(sites)]
    of_study = dict(iter(placed.groupby("study_id")))
    here = series["series_description"].isin(SERIES_DESCRIPTIONS)
    here &= series["study_id"].isin(of_study.keys())
    columns = ("study_id", "series_id", "series_description")
    typed = series[here].sort_values(list(columns[:2]))
    tasks = []
    for study_id, series_id, view in zip(
        *(typed[name].tolist() for name in columns), strict=True
    ):
        if points := tuple(_points_in(view, of_study[study_id])):
            folder = images / str(study_id) / str(series_id)
            shard = parts / f"{study_id}_{series_id}_views.safetensors"
            tasks.append(SeriesCropTask(folder, shard, spec, points, series_id, view))
    return tasks


def _points_in(view: str, sites: pd.DataFrame) -> Iterator[PatientPoint]:
    """Yield the points of a study's sites to look for in a series of another type."""
    rows = sites.index.tolist()
    targets = list(zip(sites["condition"], sites["level"], strict=True))
    points_mm = sites[POINT_MM].to_numpy()
    marked: dict[Target, np.ndarray] = {}
    for target, point_mm in zip(targets, points_mm, strict=True):
        marked.setdefault(target, point_mm)
    types = own_types(sites)
    for row, target, point_mm, own in zip(rows, targets, points_mm, types, strict=True):
        if own != view:
            sought = point_to_view(target, view, {**marked, target: point_mm})
            x, y, z = sought.tolist()
            yield PatientPoint(row, (x, y, z))


def best_views(kept: pd.DataFrame) -> pd.DataFrame:
    """Keep one crop a site and series type, that of the nearest slice.

    kept: as read_outcomes has it, the crops at the marked points too, which are not
    among the result. Adds series_description.
    """
    table = kept[kept["view"] != OWN]
    order = order_of_views(table["distance_mm"], table["series_id"])
    nearest = table.iloc[order].drop_duplicates(KEY)
    return nearest.assign(series_description=nearest["view"])


def missing_views(
    sites: pd.DataFrame, found: pd.DataFrame, rejected: pd.DataFrame
) -> pd.DataFrame:
    """List the views that no series shows: row, view and the reason.

    sites: as view_tasks takes them; found: as best_views gives them; rejected: as
    read_outcomes has it.
    """
    own = pd.DataFrame({"row": sites.index, "own": own_types(sites).array})
    pairs = own.merge(pd.DataFrame({"view": SERIES_DESCRIPTIONS}), how="cross")
    wanted = pairs.loc[pairs["own"] != pairs["view"], KEY]
    shown = pd.MultiIndex.from_frame(found[KEY])
    lacking = wanted[~pd.MultiIndex.from_frame(wanted).isin(shown)]
    tried = rejected.sort_values([*KEY, "series_id"]).groupby(KEY)["reason"]
    table = lacking.merge(tried.agg(" ".join).reset_index(), "left", KEY)
    absent = "the study has no " + table["view"] + " series"
    unplaced = table["row"].map(lacks_positions(sites))
    reason = table["reason"].fillna(absent).mask(unplaced.astype(bool), UNPLACED)
    return table.assign(reason=reason)


def own_types(sites: pd.DataFrame) -> pd.Series:
    """Return each crop's series type; its condition's usual one if its row has none."""
    usual = sites["condition"].map(FAMILY_OF).map(SERIES_OF)
    return sites["series_description"].fillna(usual)

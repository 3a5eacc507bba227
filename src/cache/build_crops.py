"""From points and DICOM folders to a crop cache: shards.py's pipeline, with tables."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from src.cache.crop_cache import (
    CROP_COLUMNS,
    KEY_FILE,
    OWN,
    REJECT_COLUMNS,
    VIEWS,
    open_cache,
)
from src.cache.crop_shards import POINT_MM, SeriesCropTask, SitePoint, read_outcomes
from src.cache.crop_views import best_views, missing_views, view_tasks
from src.cache.fingerprint import (
    PARTS,
    Sites,
    Views,
    crop_fingerprint,
    read_fingerprint,
    require_same_fingerprint,
)
from src.cache.shards import ShardedCache, ShardTask, read_shard, write_array
from src.competition.constants import FAMILY_OF, SERIES_OF
from src.errors import UserError
from src.files import write_csv
from src.imaging.crops import CropSpec
from src.workers import Progress

REPEATED = "repeats an earlier row of the same point, slice, x and y"
POINT_ORDER = ["study_id", "condition", "level", "series_id", "instance_number"]
# The columns that a view's crop has of its own, beside what it repeats of its site.
VIEW_COLUMNS = (
    *("view", "series_id", "instance_number", "x", "y", "series_description"),
    *("slice", *POINT_MM, "note", "shard"),
)


@dataclass(frozen=True)
class CacheSummary:
    """A cache's counts, and whether it was reused.

    crops, rejects: of the marked points; views, missing_views: of these points on other
    series types.
    """

    crops: int
    rejects: int
    views: int
    missing_views: int
    seconds: float
    reused: bool


@dataclass(frozen=True, eq=False)
class _Tables:
    """The marked points as from sorted_points, and the competition's tables."""

    points: pd.DataFrame
    labels: pd.DataFrame
    series: pd.DataFrame

    @cached_property
    def described(self) -> pd.DataFrame:
        """The points with severity, series_description and remark, in their order."""
        site, series_key = ["study_id", "condition", "level"], ["study_id", "series_id"]
        severities = self.labels[[*site, "severity"]]
        descriptions = self.series[[*series_key, "series_description"]]
        table = self.points.merge(severities, "left", site, validate="m:1")
        table = table.merge(descriptions, "left", series_key, validate="m:1")
        expected = table["condition"].map(FAMILY_OF).map(SERIES_OF)
        unexpected = table["series_description"] != expected
        remark = "on " + table["series_description"] + ", not " + expected
        return table.assign(remark=remark.where(unexpected, "").fillna(""))


def build_cache(
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    images: Path,
    cache: Path,
    spec: CropSpec,
    executor: Executor | None = None,
    progress: Progress | None = None,
    views: Views = "own",
    beside: Sequence[ShardTask] = (),
    sites: Sites = "marked",
) -> CacheSummary:
    """Cut a crop at each point that has an image, into the folder `cache`.

    images: the folder of `<study_id>/<series_id>/<instance_number>.dcm`; executor:
    where series are cut, here if None; progress: called with (done, total) series;
    views: `all` cuts each point where the study's other series types show it, too;
    beside: claim_overviews', to draw from the same reading of the files; sites: what
    the points are.
    Raises UserError if `cache` holds other crops, the disk is full, or no point can
    be cut.
    """
    if points.empty:
        raise UserError("There is no point to cut at; check the coordinates' table.")
    start = time.perf_counter()
    key = crop_fingerprint(points, labels, series, spec, views, sites)
    tables = _Tables(sorted_points(points), labels, series)

    def require_same(path: Path) -> None:
        require_same_fingerprint(read_fingerprint(path), key, cache)

    def other_views(tasks: Sequence[SeriesCropTask]) -> list[SeriesCropTask]:
        cut = _sites(tables, read_outcomes(tasks)[0])
        return view_tasks(cut, series, images, cache / PARTS, spec)

    reused = ShardedCache(cache, KEY_FILE, PARTS, key, require_same).build(
        lambda parts: _tasks(tables.points, images, parts, spec),
        lambda tasks: _write_cache(cache, tables, tasks, views),
        executor,
        progress,
        other_views if views == "all" else None,
        beside,
    )
    held = open_cache(cache).fingerprint
    return CacheSummary(
        crops=held["crops"],
        rejects=held["rejects"],
        views=held["views_cut"],
        missing_views=held["views_missing"],
        seconds=time.perf_counter() - start,
        reused=reused,
    )


def sorted_points(points: pd.DataFrame) -> pd.DataFrame:
    """Sort points into the cache's order; a point's row number is its index here."""
    return points.sort_values([*POINT_ORDER, "x", "y"], ignore_index=True)


def _tasks(
    ordered: pd.DataFrame, images: Path, parts: Path, spec: CropSpec
) -> list[SeriesCropTask]:
    """Make one task a series from the sorted points; a repeated row is cut once."""
    single = ordered[~_is_repeat(ordered)]
    return [
        SeriesCropTask(
            folder=images / str(study_id) / str(series_id),
            shard=parts / f"{study_id}_{series_id}.safetensors",
            spec=spec,
            points=_site_points(rows),
            series_id=int(rows["series_id"].iloc[0]),
        )
        for (study_id, series_id), rows in single.groupby(["study_id", "series_id"])
    ]


def _is_repeat(ordered: pd.DataFrame) -> pd.Series:
    """Mark the rows that repeat an earlier one: it would count twice in training."""
    return ordered.duplicated([*POINT_ORDER, "x", "y"])


def _site_points(rows: pd.DataFrame) -> tuple[SitePoint, ...]:
    columns = (rows[name].tolist() for name in ("instance_number", "x", "y"))
    return tuple(map(SitePoint, rows.index.tolist(), *columns))


def _write_cache(
    cache: Path, tables: _Tables, tasks: Sequence[SeriesCropTask], views: Views
) -> dict[str, int]:
    """Write the cache's array and tables from all shards, and count them.

    Raises UserError if there is no crop at all.
    """
    kept, rejected = read_outcomes(tasks)
    sites, found = _sites(tables, kept), best_views(kept)
    asked = sites if views == "all" else sites[:0]
    missing = missing_views(asked, found, rejected)
    rejects = _rejects(tables, rejected, missing)
    write_csv(rejects[list(REJECT_COLUMNS)], cache / "rejects.csv")
    if sites.empty:
        raise UserError(
            f"None of {len(tables.points)} points could be cropped; the first reason: "
            f"{rejects['reason'].iloc[0]}"
        )
    table = _with_views(sites, found)
    spec = tasks[0].spec
    shape = (len(table), spec.slices, spec.crop_px, spec.crop_px)
    write_array(cache / "crops.npy", shape, _crops_by_number(table))
    write_csv(table[list(CROP_COLUMNS)], cache / "crops.csv")
    write_csv(tables.labels, cache / "labels.csv")
    write_csv(tables.series, cache / "series.csv")
    counts = {"crops": len(sites), "rejects": len(rejects) - len(missing)}
    return {**counts, "views_cut": len(found), "views_missing": len(missing)}


def _sites(tables: _Tables, kept: pd.DataFrame) -> pd.DataFrame:
    """Describe the crops at the marked points, indexed by their row.

    kept: of all tasks, as read_outcomes has it.
    """
    own = kept[kept["view"] == OWN].set_index("row")
    columns = ["slice", *POINT_MM, "note", "shard"]
    table = tables.described.join(own[columns], how="inner")
    note = table["remark"].str.cat(table["note"], sep="; ").str.strip("; ")
    return table.assign(site=range(len(table)), view=OWN, note=note)


def _with_views(sites: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Number all crops, each site's own first and then its views."""
    repeated = sites.loc[found["row"]]
    views = repeated.assign(**{name: found[name].array for name in VIEW_COLUMNS})
    table = pd.concat([sites, views])
    order = np.lexsort([table["view"].map(VIEWS.index), table["site"]])
    return table.iloc[order].assign(crop=range(len(table)))


def _rejects(
    tables: _Tables, rejected: pd.DataFrame, missing: pd.DataFrame
) -> pd.DataFrame:
    """List the points without a crop, and the views that no series shows."""
    repeated = tables.points.index[_is_repeat(tables.points)]
    repeats = pd.DataFrame({"row": repeated, "view": OWN, "reason": REPEATED})
    own = rejected[rejected["view"] == OWN]
    table = pd.concat([own, repeats, missing])[["row", "view", "reason"]]
    order = np.lexsort([table["view"].map(VIEWS.index), table["row"]])
    return tables.described.join(table.iloc[order].set_index("row"), how="inner")


def _crops_by_number(table: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each crop with its number, one shard in memory at a time."""
    for path, chosen in table.groupby("shard"):
        shard = read_shard(Path(str(path)), ("rows", "crops"))
        index_of = {row: index for index, row in enumerate(shard["rows"].tolist())}
        for row, crop in chosen["crop"].items():
            yield int(crop), shard["crops"][index_of[row]]

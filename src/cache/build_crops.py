"""From points and DICOM folders to a crop cache: shards.py's pipeline, with tables."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.cache.crop_cache import CROP_COLUMNS, KEY_FILE, REJECT_COLUMNS, open_cache
from src.cache.crop_shards import SeriesCropTask, SitePoint
from src.cache.fingerprint import (
    PARTS,
    crop_fingerprint,
    read_fingerprint,
    require_same_fingerprint,
)
from src.cache.shards import ShardedCache, read_shard, write_array
from src.competition.constants import FAMILY_OF, SERIES_OF
from src.errors import UserError
from src.files import write_csv
from src.imaging.crops import CropSpec
from src.workers import Progress

REPEATED = "repeats an earlier row of the same point, slice, x and y"
# A shard's arrays but for its crops, which are too large to hold all at once.
OUTCOMES = ("rows", "slices", "points_mm", "notes", "rejected_rows", "reasons")
POINT_ORDER = ["study_id", "condition", "level", "series_id", "instance_number"]


@dataclass(frozen=True)
class CacheSummary:
    """A cache's counts of crops and rejects, and whether it was reused."""

    crops: int
    rejects: int
    seconds: float
    reused: bool


def build_cache(
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    images: Path,
    cache: Path,
    spec: CropSpec,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> CacheSummary:
    """Cut a crop at each point that has an image, into the folder `cache`.

    images: the folder of `<study_id>/<series_id>/<instance_number>.dcm`; executor:
    where series are cut, here if None; progress: called with (done, total) series.
    Raises UserError if `cache` holds other crops, the disk is full, or no point can
    be cut.
    """
    if points.empty:
        raise UserError("There is no point to cut at; check the coordinates' table.")
    start = time.perf_counter()
    key = crop_fingerprint(points, labels, series, spec)
    ordered = sorted_points(points)

    def require_same(path: Path) -> None:
        require_same_fingerprint(read_fingerprint(path), key, cache)

    reused = ShardedCache(cache, KEY_FILE, PARTS, key, require_same).build(
        lambda parts: _tasks(ordered, images, parts, spec),
        lambda tasks: _write_cache(cache, ordered, labels, series, tasks),
        executor,
        progress,
    )
    counts = open_cache(cache).fingerprint
    seconds = time.perf_counter() - start
    return CacheSummary(counts["crops"], counts["rejects"], seconds, reused)


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
            shard=parts / f"{study_id}_{series_id}.npz",
            spec=spec,
            points=_site_points(rows),
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
    cache: Path,
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    tasks: Sequence[SeriesCropTask],
) -> dict[str, int]:
    """Write the cache's array and tables from all shards, and count them.

    points: as from sorted_points. Raises UserError if there is no crop at all.
    """
    described = _described(points, labels, series)
    kept, rejected = _outcomes(tasks)
    repeats = pd.DataFrame({"reason": REPEATED}, points.index[_is_repeat(points)])
    rejects = described.join(pd.concat([rejected, repeats]).sort_index(), how="inner")
    write_csv(rejects[list(REJECT_COLUMNS)], cache / "rejects.csv")
    if kept.empty:
        raise UserError(
            f"None of {len(points)} points could be cropped; the first reason: "
            f"{rejects['reason'].iloc[0]}"
        )
    table = described.join(kept, how="inner")
    table.insert(0, "crop", range(len(table)))
    table["note"] = table["remark"].str.cat(table["note"], sep="; ").str.strip("; ")
    spec = tasks[0].spec
    shape = (len(table), spec.slices, spec.crop_px, spec.crop_px)
    write_array(cache / "crops.npy", shape, _crops_by_number(table["crop"], tasks))
    write_csv(table[list(CROP_COLUMNS)], cache / "crops.csv")
    write_csv(labels, cache / "labels.csv")
    write_csv(series, cache / "series.csv")
    return {"crops": len(table), "rejects": len(rejects)}


def _crops_by_number(
    crop_of: pd.Series, tasks: Sequence[SeriesCropTask]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each crop with its number, one shard in memory at a time.

    crop_of: crop number by row.
    """
    for task in tasks:
        shard = read_shard(task.shard, ("rows", "crops"))
        for row, crop in zip(shard["rows"].tolist(), shard["crops"], strict=True):
            yield int(crop_of[row]), crop


def _described(
    points: pd.DataFrame, labels: pd.DataFrame, series: pd.DataFrame
) -> pd.DataFrame:
    """Add severity, series_description and remark to the points, in their order."""
    site, series_key = ["study_id", "condition", "level"], ["study_id", "series_id"]
    severities = labels[[*site, "severity"]]
    descriptions = series[[*series_key, "series_description"]]
    table = points.merge(severities, "left", site, validate="m:1")
    table = table.merge(descriptions, "left", series_key, validate="m:1")
    expected = table["condition"].map(FAMILY_OF).map(SERIES_OF)
    unexpected = table["series_description"] != expected
    remark = "on " + table["series_description"] + ", not " + expected
    return table.assign(remark=remark.where(unexpected, "").fillna(""))


def _outcomes(tasks: Sequence[SeriesCropTask]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather each row's outcome: the crops' columns, and the reasons of rejects."""
    parts = [read_shard(task.shard, OUTCOMES) for task in tasks]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in OUTCOMES}
    x_mm, y_mm, z_mm = joined["points_mm"].T.round(3)
    columns = {"slice": joined["slices"], "x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm}
    kept = pd.DataFrame({**columns, "note": joined["notes"]}, joined["rows"])
    rejected = pd.DataFrame({"reason": joined["reasons"]}, joined["rejected_rows"])
    return kept, rejected

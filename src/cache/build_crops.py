"""From points and DICOM folders to a crop cache: one task a series, then one file.

Killed at any time, it resumes: a series' shard is whole or not there, and
the key that declares the cache finished is written last.
"""

import errno
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.cache.crop_cache import (
    CROP_COLUMNS,
    KEY_FILE,
    PARTS,
    REJECT_COLUMNS,
    open_cache,
)
from src.cache.fingerprint import (
    Fingerprint,
    crop_fingerprint,
    read_fingerprint,
    require_same_fingerprint,
)
from src.cache.shards import SeriesTask, Shard, SitePoint, cut_series, read_shard
from src.competition.constants import FAMILY_OF, SERIES_OF
from src.errors import UserError
from src.files import replacing, write_csv, write_json
from src.imaging.crops import CropSpec
from src.workers import Progress, run_all


@dataclass(frozen=True)
class CacheSummary:
    """How many crops and rejects a cache holds, and whether it already was there."""

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
    """Cut a crop for every point that has an image, into the folder `cache`.

    images: the folder of `<study_id>/<series_id>/<instance_number>.dcm`; executor:
    where series are cut, here if None; progress: called with series done and in all.
    Raises UserError if `cache` holds other crops, the disk is full, or no point can
    be cut.
    """
    if points.empty:
        raise UserError("There is no point to cut at; check the coordinates' table.")
    start = time.perf_counter()
    key = crop_fingerprint(points, labels, series, spec)
    with translate_disk_errors(cache):
        reused = _is_finished(cache, key)
        if not reused:
            ordered = sorted_points(points)
            tasks = _tasks(ordered, images, _claim_parts(cache, key), spec)
            run_all(cut_series, tasks, executor, progress)
            counts = write_cache(cache, ordered, labels, series, tasks)
            write_json({**key, **counts}, cache / KEY_FILE)
        shutil.rmtree(cache / PARTS, ignore_errors=True)
    counts = open_cache(cache).fingerprint
    seconds = time.perf_counter() - start
    return CacheSummary(counts["crops"], counts["rejects"], seconds, reused)


def _is_finished(cache: Path, key: Fingerprint) -> bool:
    """Say whether the cache is whole; raises UserError if it holds other crops."""
    path = cache / KEY_FILE
    if path.exists():
        require_same_fingerprint(read_fingerprint(path), key, cache)
    return path.exists()


def _claim_parts(cache: Path, key: Fingerprint) -> Path:
    """Return the folder of the shards, new or left by a run with the same key."""
    for half_written in cache.glob(".*.tmp.*"):
        half_written.unlink()
    path = cache / PARTS / KEY_FILE
    if path.exists():
        require_same_fingerprint(read_fingerprint(path), key, cache)
    else:
        write_json(key, path)
    return path.parent


def _tasks(
    ordered: pd.DataFrame, images: Path, parts: Path, spec: CropSpec
) -> list[SeriesTask]:
    """Make one task a series from the sorted points."""
    return [
        SeriesTask(
            folder=images / str(study_id) / str(series_id),
            shard=parts / f"{study_id}_{series_id}.npz",
            spec=spec,
            points=tuple(
                SitePoint(point.Index, point.instance_number, point.x, point.y)
                for point in some.itertuples()
            ),
        )
        for (study_id, series_id), some in ordered.groupby(["study_id", "series_id"])
    ]


@contextmanager
def translate_disk_errors(cache: Path) -> Iterator[None]:
    """Turn what a disk refuses to a cache into one sentence."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{cache} cannot be written ({error.strerror}); choose another --cache."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"The disk of {cache} is full; make room and run again, and it goes on "
            "where it was."
        ) from error


POINT_ORDER = ["study_id", "condition", "level", "series_id", "instance_number"]


def sorted_points(points: pd.DataFrame) -> pd.DataFrame:
    """Put points in the cache's order; a point's row number is its index here."""
    return points.sort_values([*POINT_ORDER, "x", "y"], ignore_index=True)


def write_cache(
    cache: Path,
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    tasks: Sequence[SeriesTask],
) -> dict[str, int]:
    """Write the cache's array and tables from every task's shard, and count them.

    points: as from sorted_points. Raises UserError if there is no crop at all.
    """
    described = _described(points, labels, series)
    kept, rejected = _outcomes(tasks)
    rejects = described.join(rejected, how="inner")
    write_csv(rejects[list(REJECT_COLUMNS)], cache / "rejects.csv")
    if kept.empty:
        raise UserError(
            f"None of {len(points)} points gave a crop, and the first says: "
            f"{rejects['reason'].iloc[0]}"
        )
    table = described.join(kept, how="inner")
    table.insert(0, "crop", range(len(table)))
    table["note"] = table["remark"].str.cat(table["note"], sep="; ").str.strip("; ")
    write_crops(cache / "crops.npy", table["crop"], tasks)
    write_csv(table[list(CROP_COLUMNS)], cache / "crops.csv")
    write_csv(labels, cache / "labels.csv")
    write_csv(series, cache / "series.csv")
    return {"crops": len(table), "rejects": len(rejects)}


def write_crops(path: Path, crop_of: pd.Series, tasks: Sequence[SeriesTask]) -> None:
    """Write shards' crops, one shard in memory at a time, to their numbers' places.

    crop_of: crop number by row. By plain writes, because on a full disk a memory map
    ends the process where a write raises.
    """
    spec = tasks[0].spec
    shape = (len(crop_of), spec.slices, spec.crop_px, spec.crop_px)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for shard in _shards(tasks):
            for row, crop in zip(shard.rows, shard.crops, strict=True):
                file.seek(start + int(crop_of[row]) * crop.nbytes)
                file.write(crop.tobytes())


def _shards(tasks: Sequence[SeriesTask]) -> Iterator[Shard]:
    return (read_shard(task.shard) for task in tasks)


def _described(
    points: pd.DataFrame, labels: pd.DataFrame, series: pd.DataFrame
) -> pd.DataFrame:
    """Add severity, series_description and remark to the points, in their order."""
    site, place = ["study_id", "condition", "level"], ["study_id", "series_id"]
    severities = labels[[*site, "severity"]]
    descriptions = series[[*place, "series_description"]]
    table = points.merge(severities, "left", site, validate="m:1")
    table = table.merge(descriptions, "left", place, validate="m:1")
    expected = table["condition"].map(FAMILY_OF).map(SERIES_OF)
    unexpected = table["series_description"] != expected
    remark = "on " + table["series_description"] + ", not " + expected
    return table.assign(remark=remark.where(unexpected, "").fillna(""))


def _outcomes(tasks: Sequence[SeriesTask]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather what became of each row: crops' columns, and reasons for rejects."""
    kept, rejected = [], []
    for shard in _shards(tasks):
        x_mm, y_mm, z_mm = shard.points_mm.T.round(3)
        columns = {"slice": shard.slices, "x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm}
        kept.append(pd.DataFrame({**columns, "note": shard.notes}, shard.rows))
        rejected.append(pd.DataFrame({"reason": shard.reasons}, shard.rejected_rows))
    return pd.concat(kept), pd.concat(rejected)

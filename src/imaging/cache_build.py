"""From points and DICOM folders to a crop cache: one task a series, then one file.

Killed at any time, it goes on where it was: a series' shard is whole or not there, and
the key that declares the cache finished is written last.
"""

import errno
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.errors import InputError
from src.files import write_json
from src.imaging.cache import KEY_FILE, PARTS, open_cache
from src.imaging.cache_key import Key, cache_key, read_key, require_same_key
from src.imaging.cache_tables import sorted_points, write_cache
from src.imaging.crop_spec import CropSpec
from src.imaging.shards import SeriesTask, SitePoint, cut_series
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
    Raises InputError if `cache` holds other crops, the disk is full, or no point can
    be cut.
    """
    if points.empty:
        raise InputError("There is no point to cut at; check the coordinates' table.")
    start = time.perf_counter()
    key = cache_key(points, labels, series, spec)
    with disk_troubles_told(cache):
        reused = _is_finished(cache, key)
        if not reused:
            ordered = sorted_points(points)
            tasks = _tasks(ordered, images, _claim_parts(cache, key), spec)
            run_all(cut_series, tasks, executor, progress)
            counts = write_cache(cache, ordered, labels, series, tasks)
            write_json({**key, **counts}, cache / KEY_FILE)
        shutil.rmtree(cache / PARTS, ignore_errors=True)
    counts = open_cache(cache).key
    seconds = time.perf_counter() - start
    return CacheSummary(counts["crops"], counts["rejects"], seconds, reused)


def _is_finished(cache: Path, key: Key) -> bool:
    """Say whether the cache is whole; raises InputError if it holds other crops."""
    path = cache / KEY_FILE
    if path.exists():
        require_same_key(read_key(path), key, cache)
    return path.exists()


def _claim_parts(cache: Path, key: Key) -> Path:
    """Return the folder of the shards, new or left by a run with the same key."""
    for half_written in cache.glob(".*.tmp.*"):
        half_written.unlink()
    path = cache / PARTS / KEY_FILE
    if path.exists():
        require_same_key(read_key(path), key, cache)
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
def disk_troubles_told(cache: Path) -> Iterator[None]:
    """Turn what a disk refuses to a cache into one sentence."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{cache} cannot be written ({error.strerror}); choose another --cache."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"The disk of {cache} is full; make room and run again, and it goes on "
            "where it was."
        ) from error

"""The overviews of all series in one array, so that a locator trains without decoding.

    cache/overviews.npy          uint8 [slices, px, px]
    cache/overviews.csv          one row a slice: where it is from and where it lies
    cache/overview-rejects.csv   what could not be read, and why

If interrupted, it resumes: a series' shard is whole or not there, and the key that
declares the array finished is written last.
"""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.cache.build_crops import translate_disk_errors
from src.cache.fingerprint import table_hash
from src.cache.shards import UNREADABLE
from src.errors import UserError
from src.files import replacing, write_csv, write_json
from src.imaging.overview import (
    FIELD_MM,
    OVERVIEW_PX,
    SLICE_COLUMNS,
    Overview,
    overview_of,
)
from src.imaging.series import read_series
from src.workers import Progress, run_all

KEY_FILE = "overviews.json"
PARTS = "overview-parts"
SERIES = ["study_id", "series_description", "series_id"]
# Raise it when the same files would give other overviews.
DRAWN_VERSION = 1


@dataclass(frozen=True)
class OverviewTask:
    """A series to draw, and the shard to leave it in."""

    folder: Path
    shard: Path
    series_id: int
    description: str


@dataclass(frozen=True, eq=False)
class OverviewCache:
    """An opened cache of overviews.

    images: uint8 [n, px, px], read-only on the disk; slices: [n] rows of SERIES and
    SLICE_COLUMNS, a study's series of one type together.
    """

    images: np.ndarray
    slices: pd.DataFrame

    def groups(self) -> Iterator[tuple[int, str, Overview]]:
        """Yield study, series type and the overview of all its series of that type."""
        by_type = self.slices.groupby(SERIES[:2], sort=True)
        for (study_id, description), rows in by_type.indices.items():
            images = self.images[rows[0] : rows[-1] + 1]
            slices = self.slices.iloc[rows].reset_index(drop=True)
            yield study_id, description, Overview(images, slices, FIELD_MM[description])


def build_overviews(
    series: pd.DataFrame,
    images: Path,
    cache: Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Draw every series' overview into the folder `cache`; count slices and rejects.

    series: study_id, series_id, series_description. Raises UserError if `cache` holds
    the overviews of other series, or the disk is full.
    """
    key = {"drawn": DRAWN_VERSION, "px": OVERVIEW_PX, "series": table_hash(series)}
    path = cache / KEY_FILE
    if path.is_file():
        held = _read_key(path)
        if {name: held.get(name) for name in key} != key:
            raise UserError(
                f"{cache} holds the overviews of other series; delete it or choose "
                "another --cache"
            )
        return held
    with translate_disk_errors(cache):
        ordered = series.sort_values(SERIES, ignore_index=True)
        tasks = [
            OverviewTask(
                images / str(row.study_id) / str(row.series_id),
                cache / PARTS / f"{row.study_id}_{row.series_id}.npz",
                row.series_id,
                row.series_description,
            )
            for row in ordered.itertuples()
        ]
        run_all(draw_series, tasks, executor, progress)
        counts = _assemble(ordered, tasks, cache)
        write_json({**key, **counts}, path)
        shutil.rmtree(cache / PARTS, ignore_errors=True)
    return counts


def draw_series(task: OverviewTask) -> None:
    """Draw one series into its shard, unless it is there without rejects."""
    try:
        if not len(_read_shard(task.shard)["rejected"]):
            return
    except UNREADABLE:
        pass
    try:
        series = read_series(task.folder)
        overview, rejected = overview_of(series, task.series_id, task.description)
        images, slices = overview.images, overview.slices.to_numpy(float)
    except UserError as error:
        rejected = {"": str(error)}
        images = np.empty((0, OVERVIEW_PX, OVERVIEW_PX), np.uint8)
        slices = np.empty((0, len(SLICE_COLUMNS)))
    told = np.array(list(rejected.items()), str).reshape(-1, 2)
    with replacing(task.shard) as temporary:
        np.savez(temporary, images=images, slices=slices, rejected=told)


def open_overviews(cache: Path) -> OverviewCache:
    """Open what build_overviews made; raises UserError if it is not whole."""
    if not (cache / KEY_FILE).is_file():
        raise UserError(
            f"{cache} holds no overviews to find sites in; run input_prep.py again, "
            "without --no-overviews"
        )
    _read_key(cache / KEY_FILE)
    try:
        images = np.load(cache / "overviews.npy", mmap_mode="r", allow_pickle=False)
        slices = pd.read_csv(cache / "overviews.csv", keep_default_na=False)
        whole = slices.columns.tolist() == [*SERIES[:2], *SLICE_COLUMNS]
    except (OSError, ValueError, EOFError):
        whole = False
    if not whole or images.shape != (len(slices), OVERVIEW_PX, OVERVIEW_PX):
        raise UserError(
            f"The overviews in {cache} are damaged; delete {KEY_FILE} there and run "
            "input_prep.py again"
        )
    return OverviewCache(images, slices)


def _assemble(
    ordered: pd.DataFrame, tasks: list[OverviewTask], cache: Path
) -> dict[str, int]:
    """Put the shards together, one in memory at a time, by plain writes."""
    tables, rejects = [], []
    for series, task in zip(ordered.itertuples(), tasks, strict=True):
        shard = _read_shard(task.shard)
        table = pd.DataFrame(shard["slices"], columns=list(SLICE_COLUMNS))
        table["series_id"] = series.series_id  # whole, where a float may round
        table.insert(0, "study_id", series.study_id)
        table.insert(1, "series_description", series.series_description)
        tables.append(table)
        where = (series.study_id, series.series_id)
        rejects += [(*where, name, reason) for name, reason in shard["rejected"]]
    slices = pd.concat(tables, ignore_index=True)
    whole = ["series_id", "instance_number", "stack", "place", "rows", "columns"]
    slices = slices.astype(dict.fromkeys(whole, "int64"))
    shape = (len(slices), OVERVIEW_PX, OVERVIEW_PX)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    path = cache / "overviews.npy"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for task in tasks:
            file.write(_read_shard(task.shard)["images"].tobytes())
    write_csv(slices, cache / "overviews.csv")
    columns = ["study_id", "series_id", "file", "reason"]
    write_csv(pd.DataFrame(rejects, columns=columns), cache / "overview-rejects.csv")
    return {"slices": len(slices), "rejects": len(rejects)}


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_key(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path} is damaged; delete it and try again") from error

"""The overviews of all series in one array, for training a locator without decoding.

cache/overviews.npy          uint8 [slices, px, px]
cache/overviews.csv          one row a slice: its file and its geometry
cache/overview-rejects.csv   unreadable files and series, with the reason
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from src.cache.fingerprint import PARTS, Fingerprint, read_key, table_hash
from src.cache.mapped_array import MappedArray
from src.cache.shards import (
    Arrays,
    ReadSeries,
    ShardedCache,
    read_shard,
    write_array,
)
from src.errors import UserError, shown_name
from src.files import write_csv
from src.imaging.overview import (
    FIELD_MM,
    OVERVIEW_PX,
    SLICE_COLUMNS,
    Overview,
    overview_of,
)
from src.imaging.series_type import require_type
from src.workers import Progress

KEY_FILE = "overviews.json"
KEY_PARTS = ("drawn", "px", "series")
SERIES = ["study_id", "series_description", "series_id"]
# Raise it when the same files would give other overviews.
DRAWN_VERSION = 2


@dataclass(frozen=True)
class OverviewTask:
    """A series to draw, as ShardTask has it."""

    folder: Path
    shard: Path
    series_id: int
    description: str

    def is_complete(self, arrays: Arrays) -> bool:
        """Return whether all files were drawn; others may have been fixed since."""
        return not len(arrays["rejected"])

    def extract(self, read: ReadSeries) -> Arrays:
        """Draw the series: images, slices, and rejected, pairs of file and reason."""
        try:
            series = read(self.folder)
            require_type(series, self.folder, self.description)
            overview, rejected = overview_of(
                series, self.series_id, self.description, keep_pixels=False
            )
            images, slices = overview.images, overview.slices.to_numpy(float)
        except UserError as error:
            rejected = {"": str(error)}
            images = np.empty((0, OVERVIEW_PX, OVERVIEW_PX), np.uint8)
            slices = np.empty((0, len(SLICE_COLUMNS)))
        named = [
            (name and shown_name(name), reason) for name, reason in rejected.items()
        ]
        pairs = np.array(named, str).reshape(-1, 2)
        return {"images": images, "slices": slices, "rejected": pairs}


@dataclass(frozen=True, eq=False)
class OverviewCache:
    """An opened cache of overviews.

    images: uint8 [n, px, px], read-only on the disk; slices: [n] rows of SERIES and
    SLICE_COLUMNS, a study's series of one type together.
    """

    images: MappedArray
    slices: pd.DataFrame

    def groups(self) -> Iterator[tuple[int, str, Overview]]:
        """Yield study, series type and the overview of all its series of that type."""
        for _, table in self.slices.groupby(SERIES[:2]):
            study_id, description = table[SERIES[:2]].iloc[0]
            rows = table.index
            images = self.images.window(rows[0], rows[-1] + 1)
            slices = table.reset_index(drop=True)
            yield study_id, description, Overview(images, slices, FIELD_MM[description])


def build_overviews(
    series: pd.DataFrame,
    images: Path,
    cache: Path,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Draw all series' overviews into the folder `cache`; count slices and rejects.

    series: study_id, series_id, series_description. Raises UserError if `cache` holds
    the overviews of other series, or the disk is full.
    """
    ordered = _ordered(series)
    _sharded(series, cache).build(
        lambda parts: _tasks(ordered, images, parts),
        lambda tasks: _write_overviews(cache, ordered, tasks),
        executor,
        progress,
    )
    held = _read_key(cache / KEY_FILE)
    return {count: held[count] for count in ("slices", "rejects")}


def claim_overviews(
    series: pd.DataFrame, images: Path, cache: Path
) -> Sequence[OverviewTask]:
    """Return the tasks for build_cache to do beside its own; none if all are drawn.

    build_overviews then finds their shards. Raises UserError as it does.
    """
    return _sharded(series, cache).claim(
        lambda parts: _tasks(_ordered(series), images, parts)
    )


def _ordered(series: pd.DataFrame) -> pd.DataFrame:
    return series.sort_values(SERIES, ignore_index=True)


def _sharded(series: pd.DataFrame, cache: Path) -> ShardedCache:
    key = {"drawn": DRAWN_VERSION, "px": OVERVIEW_PX, "series": table_hash(series)}

    def require_same(path: Path) -> None:
        found = _read_key(path)
        _require_this_version(found, cache)
        if any(found[part] != key[part] for part in KEY_PARTS):
            raise UserError(
                f"{cache} holds the overviews of other series; delete it or choose "
                "another --cache"
            )

    return ShardedCache(cache, KEY_FILE, f"overview-{PARTS}", key, require_same)


def _tasks(ordered: pd.DataFrame, images: Path, parts: Path) -> list[OverviewTask]:
    """Make one task a series."""
    columns = ("study_id", "series_id", "series_description")
    return [
        OverviewTask(
            images / str(study_id) / str(series_id),
            parts / f"{study_id}_{series_id}.safetensors",
            series_id,
            description,
        )
        for study_id, series_id, description in zip(
            *(ordered[name].tolist() for name in columns), strict=True
        )
    ]


def open_overviews(cache: Path) -> OverviewCache:
    """Open what build_overviews made; raises UserError if it is not whole."""
    if not (cache / KEY_FILE).is_file():
        raise UserError(
            f"{cache} holds no overviews to find sites in; run input_prep.py again, "
            "without --no-overviews"
        )
    _require_this_version(_read_key(cache / KEY_FILE), cache)
    try:
        images = MappedArray(cache / "overviews.npy")
        slices = pd.read_csv(cache / "overviews.csv", keep_default_na=False)
        whole = images.dtype == np.uint8 and _is_whole(slices)
    except (OSError, ValueError, EOFError):
        whole = False
    if not whole or images.shape != (len(slices), OVERVIEW_PX, OVERVIEW_PX):
        raise UserError(
            f"The overviews in {cache} are damaged; delete {KEY_FILE} there and run "
            "input_prep.py again"
        )
    return OverviewCache(images, slices)


def _is_whole(slices: pd.DataFrame) -> bool:
    columns = [*SERIES[:2], *SLICE_COLUMNS]
    return slices.columns.tolist() == columns and all(
        slices[name].isin(FIELD_MM).all()
        if name == "series_description"
        else is_numeric_dtype(slices[name])
        for name in columns
    )


def _write_overviews(
    cache: Path, ordered: pd.DataFrame, tasks: Sequence[OverviewTask]
) -> dict[str, int]:
    """Write the cache's array and tables from every task's shard, and count them."""
    tables, rejects = [], []
    for study_id, task in zip(ordered["study_id"].tolist(), tasks, strict=True):
        shard = read_shard(task.shard, ("slices", "rejected"))
        table = pd.DataFrame(shard["slices"], columns=list(SLICE_COLUMNS))
        table["series_id"] = task.series_id  # exact, where a float may round
        table.insert(0, "study_id", study_id)
        table.insert(1, "series_description", task.description)
        tables.append(table)
        series = (study_id, task.series_id)
        rejects += [(*series, name, reason) for name, reason in shard["rejected"]]
    slices = pd.concat(tables, ignore_index=True)
    integers = ["series_id", "instance_number", "stack", "place", "contrast"]
    integers += ["rows", "columns"]
    slices = slices.astype(dict.fromkeys(integers, "int64"))
    shape = (len(slices), OVERVIEW_PX, OVERVIEW_PX)
    write_array(cache / "overviews.npy", shape, _images_by_slice(tasks))
    write_csv(slices, cache / "overviews.csv")
    columns = ["study_id", "series_id", "file", "reason"]
    write_csv(pd.DataFrame(rejects, columns=columns), cache / "overview-rejects.csv")
    return {"slices": len(slices), "rejects": len(rejects)}


def _images_by_slice(
    tasks: Sequence[OverviewTask],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the images of each series with the index of their first slice."""
    first = 0
    for task in tasks:
        images = read_shard(task.shard, ["images"])["images"]
        yield first, images
        first += len(images)


def _read_key(path: Path) -> Fingerprint:
    return read_key(path, KEY_PARTS)


def _require_this_version(key: Fingerprint, cache: Path) -> None:
    if key["drawn"] != DRAWN_VERSION:
        raise UserError(
            f"The overviews in {cache} were drawn by version {key['drawn']} of the "
            f"code and this is version {DRAWN_VERSION}; delete {cache} and run "
            "input_prep.py again."
        )

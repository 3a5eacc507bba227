"""One series' crops: cut in a worker, kept in a file until the cache is assembled."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.errors import UserError
from src.files import replacing
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.series import Series, read_series

# What numpy and zipfile raise on a file that is missing, cut short or overwritten.
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class SitePoint:
    """A labelled point of a series; row is its place in the sorted points table."""

    row: int
    instance_number: int
    x: float
    y: float


@dataclass(frozen=True)
class SeriesTask:
    """All that a worker needs to cut a series: small, and it pickles."""

    folder: Path
    shard: Path
    spec: CropSpec
    points: tuple[SitePoint, ...]


@dataclass(frozen=True, eq=False)
class Shard:
    """What became of a series' points.

    rows, slices: [n] of the crops; points_mm: [n, 3]; notes: [n]; crops: uint8
    [n, slices, px, px]. rejected_rows, reasons: of the points that gave no crop.
    """

    rows: np.ndarray
    slices: np.ndarray
    points_mm: np.ndarray
    notes: np.ndarray
    crops: np.ndarray
    rejected_rows: np.ndarray
    reasons: np.ndarray


class _CutPoint(NamedTuple):
    row: int
    index: int
    point_mm: np.ndarray
    note: str
    pixels: np.ndarray


def cut_series(task: SeriesTask) -> None:
    """Cut a series' crops into its shard, unless they already are there.

    A shard with rejects is cut again: their files may have been mended since.
    """
    if not _is_finished(task):
        shard = _cut_points(task)
        with replacing(task.shard) as temporary:
            np.savez(temporary, **vars(shard))


def read_shard(path: Path) -> Shard:
    """Read a shard whole, checksums included."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Shard(**arrays)


def _is_finished(task: SeriesTask) -> bool:
    try:
        shard = read_shard(task.shard)
    except UNREADABLE:
        return False
    return sorted(shard.rows) == [point.row for point in task.points]


def _cut_points(task: SeriesTask) -> Shard:
    """Cut every point; one that cannot be is rejected, with the reason."""
    kept, rejected = [], {}
    try:
        series = read_series(task.folder)
    except UserError as error:
        return _shard([], {point.row: str(error) for point in task.points}, task.spec)
    for point in task.points:
        try:
            kept.append(_cut_point(series, point, task.spec))
        except UserError as error:
            rejected[point.row] = str(error)
    return _shard(kept, rejected, task.spec)


def _cut_point(series: Series, point: SitePoint, spec: CropSpec) -> _CutPoint:
    index = series.index_of(point.instance_number)
    crop = extract_crop(series, index, point.x, point.y, spec)
    point_mm = series.headers[index].geometry.to_patient([point.x, point.y])
    return _CutPoint(point.row, index, point_mm, "; ".join(crop.notes), crop.pixels)


def _shard(kept: list[_CutPoint], rejected: dict[int, str], spec: CropSpec) -> Shard:
    # The types and shapes are told for when there is nothing to tell them by.
    crop_shape = (spec.slices, spec.crop_px, spec.crop_px)
    return Shard(
        rows=np.array([one.row for one in kept], np.int64),
        slices=np.array([one.index for one in kept], np.int64),
        points_mm=np.array([one.point_mm for one in kept], float).reshape(-1, 3),
        notes=np.array([one.note for one in kept], str),
        crops=np.array([one.pixels for one in kept], np.uint8).reshape(-1, *crop_shape),
        rejected_rows=np.array(list(rejected), np.int64),
        reasons=np.array(list(rejected.values()), str),
    )

"""One series' crops: extracted in a worker, and read back for the cache."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.cache.shards import Arrays
from src.errors import UserError
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom_errors import quiet
from src.imaging.series import Series, read_series


@dataclass(frozen=True)
class SitePoint:
    """A labelled point of a series; row is its index in the sorted points table."""

    row: int
    instance_number: int
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class CropShard:
    """The outcome of each of a series' points.

    rows, slices: [n] of the crops; points_mm: [n, 3]; notes: [n]; crops: uint8
    [n, slices, px, px]. rejected_rows, reasons: of the points without a crop.
    """

    rows: np.ndarray
    slices: np.ndarray
    points_mm: np.ndarray
    notes: np.ndarray
    crops: np.ndarray
    rejected_rows: np.ndarray
    reasons: np.ndarray


@dataclass(frozen=True)
class SeriesCropTask:
    """A series to crop, as ShardTask has it."""

    folder: Path
    shard: Path
    spec: CropSpec
    points: tuple[SitePoint, ...]

    def is_complete(self, arrays: Arrays) -> bool:
        """Return whether a shard has a crop of each point.

        One with rejects is cut again: their files may have been fixed since.
        """
        shard = CropShard(**arrays)
        return sorted(shard.rows) == [point.row for point in self.points]

    def extract(self) -> Arrays:
        """Cut all points; one that cannot be cut is rejected, with the reason."""
        with quiet():
            return self._extract()

    def _extract(self) -> Arrays:
        kept: list[_CutPoint] = []
        rejected: dict[int, str] = {}
        try:
            series = read_series(self.folder)
        except UserError as error:
            return self._arrays([], {point.row: str(error) for point in self.points})
        for point in self.points:
            try:
                kept.append(_cut_point(series, point, self.spec))
            except UserError as error:
                rejected[point.row] = str(error)
        return self._arrays(kept, rejected)

    def _arrays(self, kept: "list[_CutPoint]", rejected: dict[int, str]) -> Arrays:
        # Types and shapes are explicit, for a shard without crops or rejects.
        crops = np.array([cut.pixels for cut in kept], np.uint8)
        crop_shape = (self.spec.slices, self.spec.crop_px, self.spec.crop_px)
        shard = CropShard(
            rows=np.array([cut.row for cut in kept], np.int64),
            slices=np.array([cut.slice_index for cut in kept], np.int64),
            points_mm=np.array([cut.point_mm for cut in kept], float).reshape(-1, 3),
            notes=np.array([cut.note for cut in kept], str),
            crops=crops.reshape(-1, *crop_shape),
            rejected_rows=np.array(list(rejected), np.int64),
            reasons=np.array(list(rejected.values()), str),
        )
        return vars(shard)


@dataclass(frozen=True, eq=False)
class _CutPoint:
    row: int
    slice_index: int
    point_mm: np.ndarray
    note: str
    pixels: np.ndarray


def _cut_point(series: Series, point: SitePoint, spec: CropSpec) -> _CutPoint:
    index = series.index_of(point.instance_number)
    crop = extract_crop(series, index, point.x, point.y, spec)
    point_mm = series.headers[index].geometry.to_patient([point.x, point.y])
    return _CutPoint(point.row, index, point_mm, "; ".join(crop.notes), crop.pixels)

"""One series' crops: extracted in a worker, and read back for the cache."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from src.cache.crop_cache import OWN
from src.cache.shards import Arrays, ReadSeries, read_shard
from src.errors import UserError
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.series_type import require_type
from src.imaging.views import NotShownError, View, ViewFinder

# A shard's arrays but for its crops, which are too large to hold all at once.
KEPT = ("rows", "instances", "slices", "xy", "points_mm", "distances_mm", "notes")
REJECTED = ("rejected_rows", "reasons")
POINT_MM = ["x_mm", "y_mm", "z_mm"]


class CropPoint(Protocol):
    """A point to cut at; row is its site's index in the sorted points table."""

    @property
    def row(self) -> int:
        """The site."""
        ...

    def find(self, finder: ViewFinder) -> View:
        """Find it in a finder's series; raises UserError if it is not there."""
        ...


@dataclass(frozen=True)
class SitePoint:
    """A point that is marked on a slice of the series."""

    row: int
    instance_number: int
    x: float
    y: float

    def find(self, finder: ViewFinder) -> View:
        """Look up its slice."""
        index = finder.series.index_of(self.instance_number)
        return View(index, self.x, self.y, 0.0)


@dataclass(frozen=True)
class PatientPoint:
    """A point of the patient that is marked on another series."""

    row: int
    point_mm: tuple[float, float, float]

    def find(self, finder: ViewFinder) -> View:
        """Project it onto the nearest slice, to the decimals that crops.csv has."""
        view = finder.find(np.array(self.point_mm))
        return replace(view, x=round(view.x, 4), y=round(view.y, 4))


@dataclass(frozen=True, eq=False)
class CropShard:
    """The outcome of each of a series' points.

    rows, instances, slices: [n] of the crops, instances being the files' numbers;
    xy: [n, 2] stored pixels; points_mm: [n, 3] of these; distances_mm: [n] from the
    point to its slice; notes: [n]; crops: uint8 [n, slices, px, px]. rejected_rows,
    reasons: of the points without a crop; final: [rejects] bool, those that the
    geometry of whole files rules out.
    """

    rows: np.ndarray
    instances: np.ndarray
    slices: np.ndarray
    xy: np.ndarray
    points_mm: np.ndarray
    distances_mm: np.ndarray
    notes: np.ndarray
    crops: np.ndarray
    rejected_rows: np.ndarray
    reasons: np.ndarray
    final: np.ndarray


@dataclass(frozen=True)
class SeriesCropTask:
    """A series to crop, as ShardTask has it.

    points: by row; view: OWN for the points that are marked on the series, else the
    type that the series must be to show sites marked on other types.
    """

    folder: Path
    shard: Path
    spec: CropSpec
    points: tuple[CropPoint, ...]
    series_id: int
    view: str = OWN

    def is_complete(self, arrays: Arrays) -> bool:
        """Return whether a shard has what there is of each point.

        One with rejects is cut again, unless they are final: their files may have been
        fixed since.
        """
        shard = CropShard(**arrays)
        settled = [*shard.rows, *shard.rejected_rows[shard.final]]
        return sorted(settled) == [point.row for point in self.points]

    def extract(self, read: ReadSeries) -> Arrays:
        """Cut all points; one that cannot be cut is rejected, with the reason."""
        kept: list[_CutPoint] = []
        rejected: dict[int, UserError] = {}
        try:
            series = read(self.folder)
            if self.view != OWN:
                require_type(series, self.folder, self.view)
        except UserError as error:
            return self._arrays([], {point.row: error for point in self.points}, False)
        finder = ViewFinder(series)
        for point in self.points:
            try:
                kept.append(_cut_point(finder, point, self.spec))
            except UserError as error:
                rejected[point.row] = error
        return self._arrays(kept, rejected, whole=not series.rejected)

    def _arrays(
        self, kept: "list[_CutPoint]", rejected: dict[int, UserError], whole: bool
    ) -> Arrays:
        # Types and shapes are explicit, for a shard without crops or rejects.
        crops = np.array([cut.pixels for cut in kept], np.uint8)
        crop_shape = (self.spec.slices, self.spec.crop_px, self.spec.crop_px)
        views = [cut.view for cut in kept]
        xy = [(view.x, view.y) for view in views]
        final = [whole and isinstance(e, NotShownError) for e in rejected.values()]
        shard = CropShard(
            rows=np.array([cut.row for cut in kept], np.int64),
            instances=np.array([cut.instance_number for cut in kept], np.int64),
            slices=np.array([view.index for view in views], np.int64),
            xy=np.array(xy, float).reshape(-1, 2),
            points_mm=np.array([cut.point_mm for cut in kept], float).reshape(-1, 3),
            distances_mm=np.array([view.distance_mm for view in views], float),
            notes=np.array([cut.note for cut in kept], str),
            crops=crops.reshape(-1, *crop_shape),
            rejected_rows=np.array(list(rejected), np.int64),
            reasons=np.array([str(error) for error in rejected.values()], str),
            final=np.array(final, bool),
        )
        return vars(shard)


@dataclass(frozen=True, eq=False)
class _CutPoint:
    row: int
    view: View
    instance_number: int
    point_mm: np.ndarray
    note: str
    pixels: np.ndarray


def _cut_point(finder: ViewFinder, point: CropPoint, spec: CropSpec) -> _CutPoint:
    series, view = finder.series, point.find(finder)
    crop = extract_crop(series, view.index, view.x, view.y, spec)
    header = series.headers[view.index]
    point_mm = header.geometry.to_patient([view.x, view.y])
    note = "; ".join(crop.notes)
    number = header.instance_number
    return _CutPoint(point.row, view, number, point_mm, note, crop.pixels)


def read_outcomes(tasks: Sequence[SeriesCropTask]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather all shards: a row a crop, and a row a reject.

    Both have `row` and, of the task, series_id, view and the path of its shard; crops
    also instance_number, x, y, slice, POINT_MM, distance_mm and note, rejects a reason.
    """
    shards = [read_shard(task.shard, (*KEPT, *REJECTED)) for task in tasks]
    held = {
        name: np.concatenate([shard[name] for shard in shards])
        for name in (*KEPT, *REJECTED)
    }
    crops = {
        "row": held["rows"],
        **_of_tasks(tasks, [len(shard["rows"]) for shard in shards]),
        "instance_number": held["instances"],
        **dict(zip("xy", held["xy"].T, strict=True)),
        "slice": held["slices"],
        **dict(zip(POINT_MM, held["points_mm"].T.round(3), strict=True)),
        "distance_mm": held["distances_mm"],
        "note": held["notes"],
    }
    rejects = {
        "row": held["rejected_rows"],
        **_of_tasks(tasks, [len(shard["rejected_rows"]) for shard in shards]),
        "reason": held["reasons"],
    }
    return pd.DataFrame(crops), pd.DataFrame(rejects)


def _of_tasks(
    tasks: Sequence[SeriesCropTask], counts: Sequence[int]
) -> dict[str, np.ndarray]:
    """Repeat what each task tells of its outcomes, `counts` of them each."""
    return {
        "series_id": np.repeat([task.series_id for task in tasks], counts),
        "view": np.repeat([task.view for task in tasks], counts),
        "shard": np.repeat([str(task.shard) for task in tasks], counts),
    }

"""Views: where a series shows a point of the patient that was marked on another.

A point is projected along the normal of the slice nearest to it, of all stacks whose
image contains it. Preparing a cache and predicting a study use this one code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from src.competition.constants import AXIAL_T2, FAMILIES, SPINAL
from src.errors import UserError
from src.imaging.geometry import SliceGeometry
from src.imaging.series import Series
from src.imaging.slice_order import SAME_POSITION_MM

# A slice this far from a point still shows it: about the thickness of a slice. In a
# stack of wider steps half a step counts, so that no point between its slices is lost.
REACH_MM = 5.0
# The recesses' middle and the canal of one level are not farther apart than this, or
# one of the three is marked wrongly.
SAME_MIDLINE_MM = 10.0
Target = tuple[str, str]  # condition, level


class NotShownError(UserError):
    """The reason why a series does not show a point, by the geometry of its slices."""


@dataclass(frozen=True)
class View:
    """A slice that shows a point.

    index: of the slice in its series; x, y: pixels of the stored image; distance_mm:
    of the slice from the point, along its normal.
    """

    index: int
    x: float
    y: float
    distance_mm: float


@dataclass(frozen=True, eq=False)
class ViewFinder:
    """Finds where a series shows points; prepares its planes once for all of them."""

    series: Series

    def find(self, point_mm: np.ndarray) -> View:
        """Find the slice that shows a patient point [3], and where on it.

        Raises NotShownError if no slice shows it.
        """
        usable, planes, reach_mm = self._usable, self._planes, self._reach_mm
        distances_mm = np.abs([plane.distance_mm(point_mm) for plane in planes])
        near = np.flatnonzero(distances_mm <= reach_mm)
        for nearest in near[np.argsort(distances_mm[near], kind="stable")]:
            x, y = planes[nearest].to_pixel(point_mm).tolist()
            if self.series.headers[usable[nearest]].contains(x, y):
                return View(int(usable[nearest]), x, y, float(distances_mm[nearest]))
        if len(near):
            reason = "has slices there, but the point is outside their images"
            raise NotShownError(f"{self._folder} {reason}.")
        raise NotShownError(
            f"{self._folder} has no slice within {reach_mm.max():g} mm of the point: "
            f"the nearest is {distances_mm.min():.1f} mm away."
        )

    @cached_property
    def _usable(self) -> np.ndarray:
        """The indices of the slices whose positions are known.

        Raises NotShownError if the series has none.
        """
        series = self.series
        usable = np.flatnonzero(~np.isin(series.stacks, list(series.warnings)))
        if not len(usable):
            raise NotShownError(f"{self._folder} has one position for all its slices.")
        return usable

    @cached_property
    def _planes(self) -> list[SliceGeometry]:
        """The planes of the usable slices."""
        return [self.series.headers[index].geometry for index in self._usable]

    @cached_property
    def _reach_mm(self) -> np.ndarray:
        """How far from a point each usable slice may lie and still show it."""
        return _reach_mm(self.series)[self._usable]

    @property
    def _folder(self) -> Path:
        return self.series.headers[0].path.parent


def order_of_views(distances_mm: ArrayLike, series_ids: ArrayLike) -> np.ndarray:
    """Return the order [n] in which to prefer views [n] of a point in several series.

    The nearest slice first; of equally near ones that of the lowest series_id.
    """
    return np.lexsort((np.asarray(series_ids), np.asarray(distances_mm)))


def point_to_view(
    target: Target, description: str, points_mm: Mapping[Target, np.ndarray]
) -> np.ndarray:
    """Return the patient point [3] at which to look for a target in a series type.

    points_mm: of the study's targets, each as precise as its own slices. It is the
    target's own point, but for a canal on axial slices: its sagittal slice tells x to
    half a slice step only, and the recesses of its level tell it to a fraction of a
    pixel, since it lies between them.
    """
    condition, level = target
    own_mm = points_mm[target]
    recesses = [(name, level) for name in FAMILIES["subarticular"]]
    if (condition, description) != (SPINAL, AXIAL_T2) or not all(
        recess in points_mm for recess in recesses
    ):
        return own_mm
    middle_x = np.mean([points_mm[recess][0] for recess in recesses])
    if abs(middle_x - own_mm[0]) > SAME_MIDLINE_MM:
        return own_mm
    return np.array([middle_x, own_mm[1], own_mm[2]])


def _reach_mm(series: Series) -> np.ndarray:
    """Return how far [slices] from a point each slice may lie and still show it."""
    reach_mm = np.full(len(series), REACH_MM)
    for stack in np.unique(series.stacks):
        members = np.flatnonzero(series.stacks == stack)
        first = series.headers[members[0]].geometry
        centres_mm = np.stack([series.headers[index].centre_mm for index in members])
        steps_mm = np.diff(np.sort(first.distance_mm(centres_mm)))
        steps_mm = steps_mm[steps_mm > SAME_POSITION_MM]
        if len(steps_mm):
            reach_mm[members] = max(REACH_MM, float(np.median(steps_mm)) / 2)
    return reach_mm

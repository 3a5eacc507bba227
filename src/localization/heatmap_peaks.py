"""Peaks of a target's heatmaps, on the grid of an overview's slices."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.imaging.overview import OVERVIEW_PX, Overview

NEAR_MM = 10.0  # probabilities within this of a peak belong to the same site
REACH_MM = 8.0  # a slice farther from a point than this does not show it
MAX_PEAKS = 4  # candidates of a target


@dataclass(frozen=True, eq=False)
class Peak:
    """A peak: a slice of the overview, its pixels [2], its patient point [3].

    mass: the sum of the target's probabilities around the peak.
    """

    slice: int
    xy: np.ndarray
    point_mm: np.ndarray
    mass: float


@dataclass(frozen=True, eq=False)
class HeatmapGrid:
    """The heatmap cells of an overview's slices, in patient coordinates."""

    overview: Overview
    height: int
    width: int

    @cached_property
    def cells_px(self) -> np.ndarray:
        """The cell centers [h, w, 2] in pixels of the overview."""
        x = (np.arange(self.width) + 0.5) * OVERVIEW_PX / self.width - 0.5
        y = (np.arange(self.height) + 0.5) * OVERVIEW_PX / self.height - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1)

    @cached_property
    def points_mm(self) -> np.ndarray:
        """The cell centers [slices, h, w, 3] in patient coordinates."""
        planes = self.overview.planes
        cells = [plane.to_patient(self.cells_px) for plane in planes]
        return np.stack(cells).astype(np.float32)

    @cached_property
    def _axes_mm(self) -> np.ndarray:
        """points_mm as [3, slices, h, w], contiguous."""
        return np.ascontiguousarray(np.moveaxis(self.points_mm, -1, 0))

    def find_peaks(self, probabilities: np.ndarray, count: int) -> list[Peak]:
        """Find the highest peaks of [slices, h, w], best first, NEAR_MM apart."""
        remaining, peaks = probabilities.copy(), []
        for _ in range(count):
            best = np.unravel_index(remaining.argmax(), remaining.shape)
            if remaining[best] <= 0:
                break
            near = self.near(self.points_mm[best])
            peaks.append(self._refine(np.where(near, remaining, 0)))
            remaining[near] = 0
        return peaks

    def near(self, point_mm: np.ndarray) -> np.ndarray:
        """Mark the cells [slices, h, w] that belong to a site at a point [3]."""
        return np.asarray(self._squares(point_mm) < NEAR_MM**2)

    def gaussian_prior(
        self, point_mm: np.ndarray, sd_mm: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a Gaussian's weights [slices, h, w] around a point, and their log."""
        logs = -0.5 * self._squares(point_mm.astype(np.float32), sd_mm)
        return np.exp(logs), logs

    def nearest(self, point_mm: np.ndarray) -> Peak | None:
        """Project a point onto the nearest slice; None if no slice shows it."""
        planes = self.overview.planes
        distance_mm = np.array([abs(plane.distance_mm(point_mm)) for plane in planes])
        for index in np.argsort(distance_mm)[:3]:
            xy = planes[index].to_pixel(point_mm)
            inside = ((xy >= 0) & (xy <= OVERVIEW_PX - 1)).all()
            if inside and distance_mm[index] <= REACH_MM:
                return Peak(int(index), xy, point_mm, 0.0)
        return None

    def _squares(
        self, point_mm: np.ndarray, unit_mm: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the squared distance [slices, h, w] of the cells from a point.

        unit_mm: [3], what counts as 1 along each axis.
        """
        total = 0.0  # axis by axis: numpy is slow in sums over an axis of three
        for axis in range(3):
            away = self._axes_mm[axis] - point_mm[axis]
            total = total + (away if unit_mm is None else away / unit_mm[axis]) ** 2
        return np.asarray(total)

    def _refine(self, probabilities: np.ndarray) -> Peak:
        """Take a peak's most probable slice, and the mean position on it."""
        by_slice = probabilities.sum(axis=(1, 2))
        index = int(by_slice.argmax())
        xy = np.tensordot(probabilities[index], self.cells_px, 2) / by_slice[index]
        point_mm = self.overview.planes[index].to_patient(xy)
        return Peak(index, xy, point_mm, float(by_slice.sum()))

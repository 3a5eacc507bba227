"""Looking a target up among the probabilities that a locator gives to every place."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.imaging.overview import OVERVIEW_PX, Overview

NEAR_MM = 10.0  # probabilities within this of a peak are for the same site
REACH_MM = 8.0  # a slice farther from a point than this does not show it
MAX_PEAKS = 4  # peaks a target may choose from


@dataclass(frozen=True, eq=False)
class Peak:
    """A peak: a slice of the overview, its pixels [2], its patient point [3].

    share: of the target's probabilities, what lies around the peak.
    """

    slice: int
    xy: np.ndarray
    point_mm: np.ndarray
    mass: float


@dataclass(frozen=True, eq=False)
class HeatmapGrid:
    """The cells of the heatmaps of an overview's slices, in the patient."""

    overview: Overview
    height: int
    width: int

    @cached_property
    def cells_px(self) -> np.ndarray:
        """The cells' middles [h, w, 2] in pixels of the overview."""
        x = (np.arange(self.width) + 0.5) * OVERVIEW_PX / self.width - 0.5
        y = (np.arange(self.height) + 0.5) * OVERVIEW_PX / self.height - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1)

    @cached_property
    def points_mm(self) -> np.ndarray:
        """The cells' middles [slices, h, w, 3] in the patient."""
        planes = self.overview.planes
        cells = [plane.to_patient(self.cells_px) for plane in planes]
        return np.stack(cells).astype(np.float32)

    def find_peaks(self, probabilities: np.ndarray, count: int) -> list[Peak]:
        """Find the highest peaks of [slices, h, w], best first, well apart."""
        left, found = probabilities.copy(), []
        for _ in range(count):
            best = np.unravel_index(left.argmax(), left.shape)
            if left[best] <= 0:
                break
            away = self.points_mm - self.points_mm[best]
            near = (away**2).sum(axis=-1) < NEAR_MM**2
            found.append(self._refined(np.where(near, left, 0)))
            left[near] = 0
        return found

    def gaussian_prior(
        self, point_mm: np.ndarray, sd_mm: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weigh the cells [slices, h, w] by a Gaussian around a patient point.

        Also returns the logarithm of the weights.
        """
        off = (self.points_mm - point_mm.astype(np.float32)) / sd_mm
        logs = -0.5 * (off**2).sum(axis=-1)
        return np.exp(logs), logs

    def nearest(self, point_mm: np.ndarray) -> Peak | None:
        """Drop a patient point onto the nearest slice; None if none is near it."""
        planes = self.overview.planes
        distance_mm = np.array([abs(plane.distance_mm(point_mm)) for plane in planes])
        for index in np.argsort(distance_mm)[:3]:
            xy = planes[index].to_pixel(point_mm)
            inside = ((xy >= 0) & (xy <= OVERVIEW_PX - 1)).all()
            if inside and distance_mm[index] <= REACH_MM:
                return Peak(int(index), xy, point_mm, 0.0)
        return None

    def _refined(self, probabilities: np.ndarray) -> Peak:
        """Take the likeliest slice of a peak, and the mean place on it."""
        by_slice = probabilities.sum(axis=(1, 2))
        index = int(by_slice.argmax())
        xy = np.tensordot(probabilities[index], self.cells_px, 2) / by_slice[index]
        point_mm = self.overview.planes[index].to_patient(xy)
        return Peak(index, xy, point_mm, float(by_slice.sum()))

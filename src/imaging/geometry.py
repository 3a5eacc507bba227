"""The plane of a slice: pixel coordinates to patient coordinates and back.

Patient coordinates are DICOM's, in millimetres: x grows to the patient's left, y to
the back, z to the head. Pixel coordinates are (x, y) = (column, row), with (0, 0) in
the middle of the first pixel, as the competition's points have them.
Source: DICOM PS3.3 C.7.6.2, equation C.7.6.2.1-1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class SliceGeometry:
    """The plane of one slice.

    position_mm: [3], the middle of the first pixel; right, down: [3] unit vectors of
    growing column and row; spacing_mm: between neighbouring (columns, rows).
    """

    position_mm: np.ndarray
    right: np.ndarray
    down: np.ndarray
    spacing_mm: tuple[float, float]

    @cached_property
    def axes(self) -> np.ndarray:
        """The unit vectors right and down [2, 3]."""
        return np.stack([self.right, self.down])

    @cached_property
    def normal(self) -> np.ndarray:
        """The [3] unit vector across the slice, right x down."""
        (a, b, c), (d, e, f) = self.right.tolist(), self.down.tolist()
        return np.array([b * f - c * e, c * d - a * f, a * e - b * d])

    def to_patient(self, xy: ArrayLike) -> np.ndarray:
        """Map pixel coordinates [..., 2] to patient millimetres [..., 3]."""
        steps = np.asarray(xy, dtype=float) * self.spacing_mm
        return self.position_mm + steps @ self.axes

    def to_pixel(self, points_mm: ArrayLike) -> np.ndarray:
        """Map patient points [..., 3], projected onto the plane, to pixels [..., 2]."""
        offset = np.asarray(points_mm, dtype=float) - self.position_mm
        return offset @ self.axes.T / self.spacing_mm

    def distance_mm(self, points_mm: ArrayLike) -> np.ndarray:
        """Return the signed distance [...] of patient points along the normal."""
        return (np.asarray(points_mm, dtype=float) - self.position_mm) @ self.normal

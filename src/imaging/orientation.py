"""Canonical orientation: stored images turned to fixed patient axes.

Some exports count columns or rows the other way, or store an image turned by 90
degrees. Crops and overviews show every image alike:

axial      columns to the patient's left, rows to the back
sagittal   columns to the back, rows to the feet
coronal    columns to the left, rows to the feet

An oblique image is turned to the nearest of these by its own axes: pixels change their
order and are never resampled for it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from src.imaging.geometry import SliceGeometry

_SAGITTAL_AXES = np.array([(0.0, 1, 0), (0, 0, -1)])
# Between axial and coronal, and nearer to axial: the slices through L5/S1 lean that
# far, with the back of the image towards the head, that halfway they would be flipped.
_LEAN = np.radians(22.5)
_OTHER_AXES = np.array([(1.0, 0, 0), (0, np.cos(_LEAN), -np.sin(_LEAN))])


@dataclass(frozen=True)
class Reorientation:
    """A transposition, then flips, of one stored image.

    columns, rows: of the stored image; flipped: its columns and rows, counted after the
    transposition.
    """

    columns: int
    rows: int
    transposed: bool
    flipped: tuple[bool, bool]

    def image(self, stored: np.ndarray) -> np.ndarray:
        """Turn stored pixels [rows, columns]; a view if nothing turns."""
        steps = [-1 if flip else 1 for flip in self.flipped]
        turned = stored.T if self.transposed else stored
        return np.ascontiguousarray(turned[:: steps[1], :: steps[0]])

    def from_stored(self, xy: ArrayLike) -> np.ndarray:
        """Map pixel coordinates [..., 2] of the stored image to the turned one."""
        points = np.asarray(xy, dtype=float)
        return self._flip(points[..., ::-1] if self.transposed else points)

    def to_stored(self, xy: ArrayLike) -> np.ndarray:
        """Map pixel coordinates [..., 2] of the turned image to the stored one."""
        points = self._flip(np.asarray(xy, dtype=float))
        return points[..., ::-1] if self.transposed else points

    def plane(self, stored: SliceGeometry) -> SliceGeometry:
        """Return the turned image's plane; the stored one itself if nothing turns."""
        if not (self.transposed or any(self.flipped)):
            return stored
        axes, spacing_mm = np.stack([stored.right, stored.down]), stored.spacing_mm
        if self.transposed:
            axes, spacing_mm = axes[::-1], spacing_mm[::-1]
        right, down = np.where(np.array(self.flipped)[:, None], -axes, axes)
        first_mm = stored.to_patient(self.to_stored((0, 0)))
        return SliceGeometry(first_mm, right, down, spacing_mm)

    def _flip(self, points: np.ndarray) -> np.ndarray:
        shape = (self.columns, self.rows)
        last = np.array(shape[::-1] if self.transposed else shape) - 1
        return np.where(self.flipped, last - points, points)


def to_canonical(plane: SliceGeometry, columns: int, rows: int) -> Reorientation:
    """Find how to turn a stored image to the fixed axes nearest to its own."""
    sagittal = np.abs(plane.normal).argmax() == 0
    wanted = _SAGITTAL_AXES if sagittal else _OTHER_AXES
    agreement = np.stack([plane.right, plane.down]) @ wanted.T
    straight = np.abs(agreement).trace()
    transposed = bool(np.abs(agreement[::-1]).trace() > straight)
    along = np.diag(agreement[::-1] if transposed else agreement)
    flipped = (bool(along[0] < 0), bool(along[1] < 0))
    return Reorientation(columns, rows, transposed, flipped)

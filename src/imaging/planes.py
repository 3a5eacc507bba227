"""The anatomical plane of slices by their normals."""

from collections import Counter
from typing import Literal

import numpy as np

from src.imaging.series_words import Plane

NORMAL_OF: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # x, y, z
# Axial slices follow a disc, which leans by up to 45 degrees at L5/S1. Beyond this the
# normal says nothing, and the words count.
SURE_DEGREES = 40.0


def plane_of_normals(
    normals: np.ndarray,
) -> Plane | Literal["several planes"] | None:
    """Return the plane of most slices by their normals [n, 3]; None between two.

    "several planes": no plane has more than half of the slices.
    """
    lengths = np.abs(np.asarray(normals, float).reshape(-1, 3))
    sure = lengths.max(axis=1, initial=0) >= np.cos(np.radians(SURE_DEGREES))
    names = list(NORMAL_OF)
    counts = Counter(names[axis] for axis in lengths.argmax(axis=1)[sure])
    if not counts:
        return None
    plane, count = counts.most_common(1)[0]
    if 2 * count > len(lengths):
        return plane
    return "several planes" if len(counts) > 1 else None

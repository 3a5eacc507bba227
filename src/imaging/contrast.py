"""Telling the contrasts of a series apart, where several images share a position.

A series can hold several images of one position: echoes, Dixon images, time points,
magnitude and phase, two acquisitions or stations. The neighbours of a slice must be of
its own contrast. Headers vary in more than that, so a property counts as contrast only
if it differs at one position and is carried on from one position to the next.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np

from src.imaging.dicom import SliceHeader
from src.imaging.geometry import SliceGeometry
from src.imaging.slice_order import linked_groups

STATION_MM = 30.0  # images of one position farther apart show other parts of the body
UNPLACED_FILES = 3  # so many images alike at the only position: it cannot be true


class Placed(Protocol):
    """An image whose place is known."""

    @property
    def geometry(self) -> SliceGeometry:
        """Its plane."""

    @property
    def centre_mm(self) -> np.ndarray:
        """The [3] patient position of its middle."""


def contrast_numbers(stack: Sequence[SliceHeader], positions: np.ndarray) -> np.ndarray:
    """Number the contrasts [slices] of a stack from 0; all 0 if no position is shared.

    positions: [slices], as from slice_positions.
    """
    if len(np.unique(positions)) == len(stack):
        return np.zeros(len(stack), int)
    properties = list(zip(*map(_properties, stack), strict=True))
    properties.append(tuple(stations(stack).tolist()))
    telling = [values for values in properties if tells_apart(values, positions)]
    keys = list(zip(*telling, strict=True)) or [()] * len(stack)
    number = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys])


def lacks_positions(stack: Sequence[SliceHeader], positions: np.ndarray) -> bool:
    """Return whether a stack's slices have one position that cannot be that of all.

    Images of several contrasts share a position rightly; UNPLACED_FILES alike do not.
    """
    if positions[-1] > 0:
        return False
    copies = Counter(map(_properties, stack))
    return max(copies.values()) >= UNPLACED_FILES


def in_file_order(
    stack: Sequence[SliceHeader],
) -> tuple[list[SliceHeader], np.ndarray]:
    """Sort a stack without usable positions by its files, each contrast from 0.

    Returns it with its positions [slices]; images of several contrasts share them.
    """
    count: Counter[Hashable] = Counter()
    positions = []
    for properties in map(_properties, stack):
        positions.append(count[properties])
        count[properties] += 1
    order = np.argsort(positions, kind="stable")
    return [stack[i] for i in order], np.array(positions)[order]


def _properties(header: SliceHeader) -> tuple[Hashable, ...]:
    size = (header.rows, header.columns, *header.geometry.spacing_mm)
    return *header.contrast_tags, size


def stations(stack: Sequence[Placed]) -> np.ndarray:
    """Number the stations [slices]: images that lie together, seen along the normal."""
    centres_mm = np.stack([header.centre_mm for header in stack])
    normal = stack[0].geometry.normal
    across_mm = centres_mm - np.outer(centres_mm @ normal, normal)
    apart_mm = np.linalg.norm(across_mm[:, None] - across_mm, axis=-1)
    return linked_groups(apart_mm <= STATION_MM)


def tells_apart(values: Sequence[Hashable], positions: np.ndarray) -> bool:
    """Return whether a property [slices] differs at a position and is carried on."""
    found = set(zip(positions.tolist(), values, strict=True))
    if len(found) == len(np.unique(positions)):
        return False
    carried = [
        (position - 1, value) in found or (position + 1, value) in found
        for position, value in found
    ]
    return 2 * sum(carried) > len(carried)

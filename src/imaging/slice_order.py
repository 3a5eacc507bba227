"""Sorting slices into patient order by their geometry alone.

A series can hold several stacks: blocks angled each to its disc, or blocks that share
an orientation with a gap between them. Slices run from the patient's right to left,
front to back, or head to foot, whichever of the three their normal is closest to.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from src.imaging.dicom import SliceHeader

PARALLEL_DEGREES = 1.0
GAP_STEPS = 2.5
SAME_POSITION_MM = 0.1
# Along x, y, z: to the left, to the back, and against z to the feet.
READING_SIGN = np.array([1.0, 1.0, -1.0])


def into_stacks(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Sort slices into stacks, and stacks and slices into patient order.

    Slices at one position keep the order of their instance numbers.
    """
    numbered = sorted(headers, key=lambda header: header.instance_number)
    groups = _parallel_groups(np.stack([h.geometry.normal for h in numbered]))
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    stacks = [
        stack
        for group in members
        for stack in _split_group([numbered[i] for i in group])
    ]
    return sorted(stacks, key=_rank)


def slice_positions(stack: Sequence[SliceHeader]) -> np.ndarray:
    """Number the positions [slices] of a sorted stack from 0; slices can share one."""
    return np.cumsum(np.append(0, np.diff(_heights_mm(stack)) > SAME_POSITION_MM))


def neighbours(
    stacks: np.ndarray, positions: np.ndarray, index: int, before_after: int = 1
) -> tuple[int, ...]:
    """Return the slices of its stack around slice `index`, itself in the middle.

    stacks, positions: [slices], in patient order. Past an end of the stack its last
    slice repeats. Slices at one position are not each other's neighbours.
    """
    stack = np.flatnonzero(stacks == stacks[index])
    wanted = positions[index] + np.arange(-before_after, before_after + 1)
    wanted = np.clip(wanted, positions[stack[0]], positions[stack[-1]])
    found = stack[np.searchsorted(positions[stack], wanted)]
    return tuple(np.where(wanted == positions[index], index, found).tolist())


def _parallel_groups(normals: np.ndarray) -> np.ndarray:
    """Label slices [n] linked by a chain of nearly parallel ones, in any order."""
    cosine = np.abs(normals @ normals.T)
    linked = cosine >= np.cos(np.radians(PARALLEL_DEGREES))
    labels = np.arange(len(normals))
    while True:
        lowest = np.where(linked, labels, len(normals)).min(axis=1)
        if (lowest == labels).all():
            return labels
        labels = lowest


def _split_group(group: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Sort parallel slices along their normal and split them at gaps."""
    order = np.argsort(_heights_mm(group), kind="stable")
    ordered = [group[i] for i in order]
    steps = np.diff(_heights_mm(ordered))
    apart = steps[steps > SAME_POSITION_MM]
    gap_mm = GAP_STEPS * np.median(apart) if len(apart) else np.inf
    ends = [0, *np.flatnonzero(steps > gap_mm) + 1, len(ordered)]
    return [ordered[start:end] for start, end in pairwise(ends)]


def _heights_mm(group: Sequence[SliceHeader]) -> np.ndarray:
    """Return positions [slices] along the group's normal, in reading direction."""
    centres = np.stack([header.centre_mm for header in group])
    return centres @ _reading_normal(group)


def _reading_normal(group: Sequence[SliceHeader]) -> np.ndarray:
    """Return the group's mean unit normal [3], turned to the reading direction."""
    normals = np.stack([header.geometry.normal for header in group])
    normal = (normals * np.sign(normals @ normals[:1].T)).mean(axis=0)
    axis = np.abs(normal).argmax()
    return normal * np.sign(normal[axis]) * READING_SIGN[axis] / np.linalg.norm(normal)


def _rank(stack: Sequence[SliceHeader]) -> tuple[int, float]:
    """Return the sort key of a stack: the axis it follows, then its centre on it."""
    axis = int(np.abs(_reading_normal(stack)).argmax())
    centre = np.mean([header.centre_mm[axis] for header in stack])
    return axis, float(centre * READING_SIGN[axis])

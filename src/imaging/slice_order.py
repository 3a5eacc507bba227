"""Sorting slices into patient order by their geometry alone.

A series can hold several stacks: blocks angled each to its disc, or blocks that share
an orientation with a gap between them. Slices run from the patient's right to left,
front to back, or head to foot, whichever of the three their normal is closest to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from src.imaging.dicom import SliceHeader

PARALLEL_DEGREES = 1.0
GAP_STEPS = 2.5
SAME_POSITION_MM = 0.1
# Along x, y, z: to the left, to the back, and against z to the feet.
READING_SIGN = np.array([1.0, 1.0, -1.0])
OTHER_CONTRAST = (
    "a neighbouring position has no image of this echo, phase or station: the labelled "
    "slice stands in for it"
)
SEVERAL_COPIES = (
    "a neighbouring position has several images that their headers do not tell apart: "
    "chosen by file order"
)


def into_stacks(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Sort slices into stacks, and stacks and slices into patient order.

    Slices at one position keep the order of their instance numbers.
    """
    numbered = sorted(headers, key=lambda header: header.instance_number)
    normals = np.stack([header.geometry.normal for header in numbered])
    cosine = np.abs(normals @ normals.T)
    groups = linked_groups(cosine >= np.cos(np.radians(PARALLEL_DEGREES)))
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    stacks = [
        stack
        for group in members
        for stack in _split_group([numbered[i] for i in group])
    ]
    return sorted(stacks, key=_rank) if len(stacks) > 1 else stacks


def slice_positions(stack: Sequence[SliceHeader]) -> np.ndarray:
    """Number the positions [slices] of a sorted stack from 0; slices can share one."""
    return np.cumsum(np.append(0, np.diff(_heights_mm(stack)) > SAME_POSITION_MM))


@dataclass(frozen=True, eq=False)
class SliceOrder:
    """Where each slice stands among the others, in patient order.

    stacks: [slices] the number of each slice's stack; positions: [slices] the number of
    its position, unique between stacks, which slices of a stack can share; contrasts:
    [slices] the number of its contrast, as contrast.py tells them apart.
    """

    stacks: np.ndarray
    positions: np.ndarray
    contrasts: np.ndarray

    def neighbours(self, index: int, before_after: int = 1) -> tuple[int, ...]:
        """Return the slices of its stack around slice `index`, itself in the middle.

        All have its contrast: it stands in itself for a neighbour that has another one.
        Among several copies of a neighbour the one with its own rank is taken, in file
        order. Past an end of the stack its last slice repeats. Slices at one position
        are not each other's neighbours.
        """
        if self._has_one_image_a_position:
            first, last = np.searchsorted(
                self.stacks, self.stacks[index] + np.array([0, 1])
            ).tolist()
            around = range(index - before_after, index + before_after + 1)
            return tuple(min(max(i, first), last - 1) for i in around)
        stack, alike = self._stack_of(index)
        copies = alike[self.positions[alike] == self.positions[index]]
        rank = int((copies < index).sum())
        chosen = []
        for position in self._positions_around(index, before_after, stack):
            there = alike[self.positions[alike] == position]
            own = position == self.positions[index] or not len(there)
            chosen.append(index if own else int(there[min(rank, len(there) - 1)]))
        return tuple(chosen)

    def neighbour_notes(self, index: int, before_after: int = 1) -> tuple[str, ...]:
        """Return warnings about the neighbours of slice `index`."""
        if self._has_one_image_a_position:
            return ()
        stack, alike = self._stack_of(index)
        around = self._positions_around(index, before_after, stack)
        others = [position for position in around if position != self.positions[index]]
        counts = [(self.positions[alike] == position).sum() for position in others]
        notes = {0: OTHER_CONTRAST} if 0 in counts else {}
        if any(count > 1 for count in counts):
            notes[1] = SEVERAL_COPIES
        return tuple(notes.values())

    @cached_property
    def _has_one_image_a_position(self) -> bool:
        """Whether the order says it all: one image a position, of one contrast."""
        ends = np.diff(self.stacks) > 0
        next_position = np.diff(self.positions) == 1
        same_contrast = np.diff(self.contrasts) == 0
        return bool((ends | (next_position & same_contrast)).all())

    def _stack_of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the slices of a slice's stack, and those of its contrast."""
        stack = np.flatnonzero(self.stacks == self.stacks[index])
        return stack, stack[self.contrasts[stack] == self.contrasts[index]]

    def _positions_around(
        self, index: int, before_after: int, stack: np.ndarray
    ) -> np.ndarray:
        """List the positions of the slices before, at and after slice `index`."""
        wanted = self.positions[index] + np.arange(-before_after, before_after + 1)
        wanted = np.clip(wanted, self.positions[stack[0]], self.positions[stack[-1]])
        # A position can be empty, where no file of it could be read: the next counts.
        held = self.positions[stack]
        return held[np.searchsorted(held, wanted)]


def linked_groups(linked: np.ndarray) -> np.ndarray:
    """Label items [n] that a chain of links [n, n] connects by their first item."""
    labels = np.arange(len(linked))
    while True:
        lowest = np.where(linked, labels, len(linked)).min(axis=1)
        if (lowest == labels).all():
            return labels
        labels = lowest


def _split_group(group: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Sort parallel slices along their normal and split them at gaps."""
    heights_mm = _heights_mm(group)
    order = np.argsort(heights_mm, kind="stable")
    ordered = [group[i] for i in order.tolist()]
    steps = np.diff(heights_mm[order])
    apart = np.sort(steps[steps > SAME_POSITION_MM])
    # The median without numpy's, which takes longer than all of this.
    halves = (len(apart) - 1) // 2, len(apart) // 2
    gap_mm = GAP_STEPS * apart[list(halves)].mean() if len(apart) else np.inf
    ends = [0, *np.flatnonzero(steps > gap_mm) + 1, len(ordered)]
    return [ordered[start:end] for start, end in pairwise(ends)]


def _heights_mm(group: Sequence[SliceHeader]) -> np.ndarray:
    """Return positions [slices] along the group's normal, in reading direction."""
    centres = np.array([header.centre_mm for header in group])
    return centres @ _reading_normal(group)


def _reading_normal(group: Sequence[SliceHeader]) -> np.ndarray:
    """Return the group's mean unit normal [3], turned to the reading direction."""
    normals = np.array([header.geometry.normal for header in group])
    normal = (normals * np.sign(normals @ normals[:1].T)).mean(axis=0)
    axis = np.abs(normal).argmax()
    return normal * np.sign(normal[axis]) * READING_SIGN[axis] / np.linalg.norm(normal)


def _rank(stack: Sequence[SliceHeader]) -> tuple[int, float]:
    """Return the sort key of a stack: the axis it follows, then its centre on it."""
    axis = int(np.abs(_reading_normal(stack)).argmax())
    centre = np.mean([header.centre_mm[axis] for header in stack])
    return axis, float(centre * READING_SIGN[axis])

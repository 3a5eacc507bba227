"""A series: its slices in patient order, decoded on demand."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from src.errors import UserError
from src.imaging.contrast import contrast_numbers, in_file_order, lacks_positions
from src.imaging.dicom import DicomError, SliceHeader, read_header, read_pixels
from src.imaging.dicom_errors import quiet
from src.imaging.grey_levels import intensity_window
from src.imaging.slice_order import SliceOrder, into_stacks, slice_positions

SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")
# In the notes of crops.csv: by it label_checks.py knows series without positions.
FILE_ORDER = "they are in file order"


@dataclass(frozen=True, eq=False)
class Series:
    """Slices in patient order: right to left, front to back, or head to foot.

    order: their stacks, positions and contrasts; rejected: from file name to the reason
    why it is no slice, to be read after its name; warnings: from the number of a
    stack without usable positions to a warning.
    """

    headers: tuple[SliceHeader, ...]
    order: SliceOrder
    rejected: dict[str, str]
    warnings: dict[int, str]
    _decoded: dict[int, np.ndarray | DicomError] = field(
        default_factory=dict, init=False, repr=False
    )
    _turned: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _neighbours: dict[tuple[int, int], tuple[int, ...]] = field(
        default_factory=dict, init=False, repr=False
    )
    _windows: dict[int, tuple[float, float]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(
        cls, headers: Sequence[SliceHeader], rejected: dict[str, str] | None = None
    ) -> "Series":
        """Sort one or more slices into patient order."""
        stacks, positions, contrasts, warnings = [], [], [], {}
        for number, stack in enumerate(into_stacks(headers)):
            within = slice_positions(stack)
            if lacks_positions(stack, within):
                stack, within = in_file_order(stack)
                warnings[number] = (
                    f"the series has one position for {len(stack)} slices: {FILE_ORDER}"
                )
            stacks.append(stack)
            # An offset per stack, so that no position repeats in another stack.
            positions.append(within + number * len(headers))
            contrasts.append(contrast_numbers(stack, within))
        sizes = [len(stack) for stack in stacks]
        order = SliceOrder(
            np.repeat(np.arange(len(sizes)), sizes),
            np.concatenate(positions),
            np.concatenate(contrasts),
        )
        return cls(tuple(chain(*stacks)), order, rejected or {}, warnings)

    @property
    def stacks(self) -> np.ndarray:
        """The number [slices] of each slice's stack."""
        return self.order.stacks

    @property
    def positions(self) -> np.ndarray:
        """The number [slices] of each slice's position, unique between stacks."""
        return self.order.positions

    def __len__(self) -> int:
        """Count the slices."""
        return len(self.headers)

    def pixels(self, index: int) -> np.ndarray:
        """Decode float32 [rows, columns], once; raises DicomError on each call."""
        if index not in self._decoded:
            header = self.headers[index]
            path = header.path
            try:
                self._decoded[index] = read_pixels(path, header.file)
            except DicomError as error:
                # A new one: the caught one keeps the frames of its traceback alive.
                self._decoded[index] = DicomError(path, error.reason)
        found = self._decoded[index]
        if isinstance(found, DicomError):
            raise DicomError(found.path, found.reason)
        return found

    def canonical_pixels(self, index: int) -> np.ndarray:
        """Return a slice's pixels turned to fixed patient axes, as orientation.py does.

        Their plane is the header's `canonical_plane`.
        """
        if index not in self._turned:
            turn = self.headers[index].reorientation
            self._turned[index] = turn.image(self.pixels(index))
        return self._turned[index]

    def release(self, index: int) -> None:
        """Forget a slice's pixels: what follows finds their memory in the CPU's cache.

        A decoding error is kept.
        """
        if not isinstance(self._decoded.get(index), DicomError):
            self._decoded.pop(index, None)
        self._turned.pop(index, None)

    def window(self, index: int) -> tuple[float, float]:
        """Return a slice's values to show as black and as white, found once."""
        if index not in self._windows:
            window = intensity_window(self.canonical_pixels(index))
            self._windows[index] = window
        return self._windows[index]

    def index_of(self, instance_number: int) -> int:
        """Return the index in patient order of the file `<instance number>.dcm`."""
        index = self._index_of_instance.get(instance_number)
        if index is not None:
            return index
        path = self.headers[0].path.with_name(f"{instance_number}.dcm")
        if path.name in self.rejected:
            raise DicomError(path, self.rejected[path.name])
        raise UserError(f"{path} is not there; download the series again.")

    @cached_property
    def _index_of_instance(self) -> dict[int, int]:
        numbers = [header.instance_number for header in self.headers]
        return {number: index for index, number in enumerate(numbers)}

    def neighbours(self, index: int, before_after: int = 1) -> tuple[int, ...]:
        """Return the slices around slice `index`, as SliceOrder does."""
        if (index, before_after) not in self._neighbours:
            found = self.order.neighbours(index, before_after)
            self._neighbours[index, before_after] = found
        return self._neighbours[index, before_after]

    def neighbour_notes(self, index: int, before_after: int = 1) -> tuple[str, ...]:
        """Return warnings about the neighbours of slice `index` and their order."""
        notes = self.order.neighbour_notes(index, before_after)
        warning = self.warnings.get(int(self.stacks[index]))
        return notes if warning is None else (warning, *notes)


def read_series(folder: Path) -> Series:
    """Read the headers of a folder of `<instance number>.dcm` files.

    Raises UserError if the folder is missing or holds no readable slice.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); download the series again."
        ) from error
    headers, rejected = [], {}
    with quiet():
        for name in (name for name in names if not is_system_file(name)):
            try:
                headers.append(read_header(folder / name))
            except DicomError as error:
                rejected[name] = error.reason
    if not headers:
        raise UserError(_no_slice_reason(folder, rejected))
    return Series.of(headers, rejected)


def is_system_file(name: str) -> bool:
    """Return whether a file manager wrote a file: `._1.dcm`, `.DS_Store`, `Thumbs.db`.

    Any other file or folder is a slice or a reject, so that none is lost in silence.
    """
    return name.startswith(".") or name.casefold() in SYSTEM_FILES


def _no_slice_reason(folder: Path, rejected: dict[str, str]) -> str:
    if not rejected:
        return f"{folder} is empty; download the series again."
    name, reason = next(iter(rejected.items()))
    return f"{folder} holds no readable slice: {name} {reason}."

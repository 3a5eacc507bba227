"""A series: its slices in patient order, decoded on demand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from src.errors import UserError
from src.imaging.dicom import DicomError, SliceHeader, read_header, read_pixels
from src.imaging.slice_order import into_stacks, neighbours, slice_positions


@dataclass(frozen=True, eq=False)
class Series:
    """Slices in patient order: right to left, front to back, or head to foot.

    stacks: [slices] the number of each slice's stack; positions: [slices] the number of
    its position, unique between stacks; rejected: from file name to the reason why it
    is no slice, to be read after its name.
    """

    headers: tuple[SliceHeader, ...]
    stacks: np.ndarray
    positions: np.ndarray
    rejected: dict[str, str]
    _decoded: dict[int, np.ndarray | DicomError] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(
        cls, headers: Sequence[SliceHeader], rejected: dict[str, str] | None = None
    ) -> "Series":
        """Sort one or more slices into patient order."""
        stacks = into_stacks(headers)
        sizes = [len(stack) for stack in stacks]
        within = np.concatenate([slice_positions(stack) for stack in stacks])
        number = np.repeat(np.arange(len(stacks)), sizes)
        # An offset per stack, so that no position repeats in another stack.
        positions = within + number * len(headers)
        return cls(tuple(chain(*stacks)), number, positions, rejected or {})

    def __len__(self) -> int:
        """Count the slices."""
        return len(self.headers)

    def pixels(self, index: int) -> np.ndarray:
        """Decode float32 [rows, columns], once; raises DicomError on each call."""
        if index not in self._decoded:
            path = self.headers[index].path
            try:
                self._decoded[index] = read_pixels(path)
            except DicomError as error:
                # A new one: the caught one keeps the frames of its traceback alive.
                self._decoded[index] = DicomError(path, error.reason)
        found = self._decoded[index]
        if isinstance(found, DicomError):
            raise DicomError(found.path, found.reason)
        return found

    def index_of(self, instance_number: int) -> int:
        """Return the index in patient order of the file `<instance number>.dcm`."""
        for index, header in enumerate(self.headers):
            if header.instance_number == instance_number:
                return index
        path = self.headers[0].path.with_name(f"{instance_number}.dcm")
        if path.name in self.rejected:
            raise DicomError(path, self.rejected[path.name])
        raise UserError(f"{path} is not there; download the series again.")

    def neighbours(self, index: int, before_after: int = 1) -> tuple[int, ...]:
        """Return the slices around slice `index`, as `slice_order.neighbours` does."""
        return neighbours(self.stacks, self.positions, index, before_after)


def read_series(folder: Path) -> Series:
    """Read the headers of a folder of `<instance number>.dcm` files.

    Raises UserError if the folder is missing or holds no readable slice.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); download the series again."
        ) from error
    headers, rejected = [], {}
    for path in paths:
        try:
            headers.append(read_header(path))
        except DicomError as error:
            rejected[path.name] = error.reason
    if not headers:
        raise UserError(_no_slice_reason(folder, rejected))
    return Series.of(headers, rejected)


def _no_slice_reason(folder: Path, rejected: dict[str, str]) -> str:
    if not rejected:
        return f"{folder} is empty; download the series again."
    name, reason = next(iter(rejected.items()))
    return f"{folder} holds no readable slice: {name} {reason}."

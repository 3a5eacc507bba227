"""An array on the disk, mapped into memory, that pickles as its path."""

from pathlib import Path
from typing import Any

import numpy as np


class MappedArray:
    """Rows of a .npy file, read-only, and read when indexed.

    A numpy.memmap pickles as a copy of the whole array; this pickles as its path, so
    that each worker process of a DataLoader maps the file itself.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        """Map rows start to stop of the file, all if None.

        Raises OSError or ValueError for a file that is none.
        """
        self.path, self.start = path, start
        # Not numpy.load, which takes an archive too, whatever its name.
        self._rows = np.lib.format.open_memmap(path, mode="r")[start:stop]

    @property
    def shape(self) -> tuple[int, ...]:
        """The rows' shape."""
        return self._rows.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self._rows.dtype

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Index the rows as an array."""
        return self._rows[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the rows as an array, without a copy where that is possible."""
        return np.array(self._rows, dtype=dtype, copy=copy)

    def window(self, start: int, stop: int) -> "MappedArray":
        """Map rows start to stop of these alone; a window ends where its array does."""
        stop = min(stop, len(self))
        return MappedArray(self.path, self.start + start, self.start + stop)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and which rows."""
        return MappedArray, (self.path, self.start, self.start + len(self))

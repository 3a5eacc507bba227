"""The pipeline of both caches: one shard a series, then one array of all of them.

If interrupted, a build resumes: a series' shard is whole or not there, and the key file
that declares the cache finished is written last.
"""

import errno
import math
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from src import __version__
from src.cache.fingerprint import Fingerprint
from src.errors import UserError
from src.files import replacing, write_json
from src.workers import Progress, run_all

# What numpy and zipfile raise on a file that is missing, cut short or overwritten.
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)

Arrays = dict[str, Any]  # the numpy arrays of a shard by name


class ShardTask(Protocol):
    """What a worker needs to make a series' shard; small, because it is pickled."""

    @property
    def shard(self) -> Path:
        """The file to write."""
        ...

    def is_complete(self, arrays: Arrays) -> bool:
        """Return whether a shard needs no second attempt."""
        ...

    def extract(self) -> Arrays:
        """Read the series and return the shard's arrays."""
        ...


Task = TypeVar("Task", bound=ShardTask)


@dataclass(frozen=True)
class ShardedCache:
    """A cache to be built from shards.

    key: what the cache is made from; key_file: its file, written last; parts: the
    folder of the shards until then; require_same: raises UserError unless the key file
    at a path holds this key.
    """

    folder: Path
    key_file: str
    parts: str
    key: Fingerprint
    require_same: Callable[[Path], None]

    def build(
        self,
        make_tasks: Callable[[Path], Sequence[Task]],
        assemble: Callable[[Sequence[Task]], dict[str, int]],
        executor: Executor | None = None,
        progress: Progress | None = None,
    ) -> bool:
        """Build the cache unless it is there; return whether it was.

        make_tasks: from the folder of the shards to one task a series; assemble: from
        the tasks, whose shards are whole, to the cache's files and their counts.
        Raises UserError if the folder holds another cache or the disk is full.
        """
        with _translate_disk_errors(self.folder):
            reused = self._is_finished()
            if not reused:
                tasks = make_tasks(self._claim_parts())
                run_all(make_shard, tasks, executor, progress)
                counts = assemble(tasks)
                noted = {**self.key, "kit_version": __version__, **counts}
                write_json(noted, self.folder / self.key_file)
            shutil.rmtree(self.folder / self.parts, ignore_errors=True)
        return reused

    def _is_finished(self) -> bool:
        path = self.folder / self.key_file
        if path.exists():
            self.require_same(path)
        return path.exists()

    def _claim_parts(self) -> Path:
        """Return the folder of the shards, new or left by a run with the same key."""
        for half_written in self.folder.glob(".*.tmp.*"):
            half_written.unlink()
        path = self.folder / self.parts / self.key_file
        if path.exists():
            self.require_same(path)
        else:
            write_json(self.key, path)
        return path.parent


def make_shard(task: ShardTask) -> None:
    """Write a task's shard, unless a complete one is there."""
    try:
        if task.is_complete(read_shard(task.shard)):
            return
    except UNREADABLE:
        pass
    arrays = task.extract()
    with replacing(task.shard) as temporary:
        np.savez(temporary, **arrays)


def read_shard(path: Path, names: Iterable[str] | None = None) -> Arrays:
    """Read a shard's arrays, or some of them, checksums included.

    Raises one of UNREADABLE.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in names or arrays.files}
    if not all(isinstance(value, np.ndarray) for value in found.values()):
        raise ValueError("a member that is no array")  # numpy gives its bytes
    return found


def write_array(
    path: Path, shape: tuple[int, ...], blocks: Iterable[tuple[int, np.ndarray]]
) -> None:
    """Write a uint8 .npy of `shape` from blocks: a first row, and the rows from there.

    By plain writes, because on a full disk a memory map ends the process where a write
    raises.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for row, block in blocks:
            file.seek(start + row * math.prod(shape[1:]))
            file.write(block.tobytes())


@contextmanager
def _translate_disk_errors(cache: Path) -> Iterator[None]:
    """Turn a disk's refusal to write a cache, or a rival, into one sentence."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{cache} cannot be written ({error.strerror}); choose another --cache."
        ) from error
    except FileNotFoundError as error:
        # Only another process on the same folder removes what was just written.
        raise UserError(
            f"{cache} is being written by another input_prep.py; wait until that has "
            "ended, and run again."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"The disk of {cache} is full; free some space and run again: it resumes."
        ) from error

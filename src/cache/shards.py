"""The pipeline of both caches: one shard a series, then one array of all of them.

If interrupted, a build resumes: a series' shard is whole or not there, and the key file
that declares the cache finished is written last.
"""

import errno
import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from src import __version__
from src.cache.fingerprint import Fingerprint
from src.errors import UserError
from src.files import replacing, write_json
from src.imaging.dicom_errors import quiet
from src.imaging.series import Series, read_series
from src.workers import Progress, run_all

# What is raised on a file that is missing, cut short or overwritten.
UNREADABLE = (OSError, KeyError, TypeError, ValueError, SafetensorError)

TEXT = "text "  # begins the key of an array of texts
ReadSeries = Callable[[Path], Series]
Arrays = dict[str, Any]  # the numpy arrays of a shard by name


class ShardTask(Protocol):
    """What a worker needs to make a series' shard; small, because it is pickled."""

    @property
    def folder(self) -> Path:
        """The folder of the series."""
        ...

    @property
    def shard(self) -> Path:
        """The file to write."""
        ...

    def is_complete(self, arrays: Arrays) -> bool:
        """Return whether a shard needs no second attempt."""
        ...

    def extract(self, read: ReadSeries) -> Arrays:
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
        follow_up: Callable[[Sequence[Task]], Sequence[Task]] | None = None,
        beside: Sequence[ShardTask] = (),
    ) -> bool:
        """Build the cache unless it is there; return whether it was.

        make_tasks: from the folder of the shards to one task a series; follow_up: from
        those, whose shards are whole, to tasks that need what these hold; assemble:
        from all tasks to the cache's files and their counts; beside: another cache's
        tasks, done in the same pass over the files. Raises UserError if the folder
        holds another cache or the disk is full.
        """
        with _translate_disk_errors(self.folder):
            reused = self._is_finished()
            if not reused:
                tasks = make_tasks(self._claim_parts())
                run_all(make_shards, _by_series(tasks, beside), executor, progress)
                if follow_up is not None:
                    more = follow_up(tasks)
                    run_all(make_shards, _by_series(more), executor, progress)
                    tasks = [*tasks, *more]
                counts = assemble(tasks)
                noted = {**self.key, "kit_version": __version__, **counts}
                write_json(noted, self.folder / self.key_file)
            shutil.rmtree(self.folder / self.parts, ignore_errors=True)
        return reused

    def claim(self, make_tasks: Callable[[Path], Sequence[Task]]) -> Sequence[Task]:
        """Return the tasks for another cache's `beside`; none if this one is there."""
        with _translate_disk_errors(self.folder):
            return [] if self._is_finished() else make_tasks(self._claim_parts())

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


def _by_series(
    tasks: Sequence[ShardTask], beside: Sequence[ShardTask] = ()
) -> list[list[ShardTask]]:
    """Put tasks together with those beside them of the same series."""
    others = {task.folder: task for task in beside}
    return [
        [task, *([others[task.folder]] if task.folder in others else [])]
        for task in tasks
    ]


def make_shards(tasks: Sequence[ShardTask]) -> None:
    """Write the shards of one series, reading its files once."""
    read = lru_cache(maxsize=1)(read_series)
    with quiet():
        for task in tasks:
            _make_shard(task, read)


def _make_shard(task: ShardTask, read: ReadSeries) -> None:
    """Write a task's shard, unless a complete one is there."""
    try:
        if task.is_complete(read_shard(task.shard)):
            return
    except UNREADABLE:
        pass
    arrays = task.extract(read)
    with replacing(task.shard) as temporary:
        write_shard(temporary, arrays)


def write_shard(path: Path, arrays: Arrays) -> None:
    """Write a shard's arrays of numbers or texts, with a checksum of each.

    numpy's own archive takes three times as long for arrays as small as these.
    """
    tensors = dict(starmap(_as_tensor, arrays.items()))
    sums = {name: str(_checksum(tensor)) for name, tensor in tensors.items()}
    # By a plain write, which says by OSError that the disk is full.
    path.write_bytes(save(tensors, metadata=sums))


def read_shard(path: Path, names: Iterable[str] | None = None) -> Arrays:
    """Read a shard's arrays, or some of them, checksums included.

    Raises one of UNREADABLE.
    """
    with safe_open(path, framework="numpy") as file:
        sums = file.metadata() or {}
        held = {key.removeprefix(TEXT): key for key in file.keys()}  # noqa: SIM118
        return {name: _read(file, held[name], sums) for name in names or held}


def _read(file: Any, key: str, sums: dict[str, str]) -> np.ndarray:
    """Read one array of an open shard."""
    tensor = file.get_tensor(key)
    if _checksum(tensor) != int(sums[key]):
        raise ValueError(f"{key} is not what was written")
    if not key.startswith(TEXT):
        return tensor
    return np.array(json.loads(tensor.tobytes()), str)


def _as_tensor(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return an array's key and its values, texts as the bytes of a JSON list."""
    if array.dtype.kind != "U":
        return name, np.ascontiguousarray(array)
    return TEXT + name, np.frombuffer(json.dumps(array.tolist()).encode(), np.uint8)


def _checksum(tensor: np.ndarray) -> int:
    return zlib.crc32(tensor.data)


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

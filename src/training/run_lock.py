"""One training of a run at a time: a lock that is free when its holder has ended."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from src.errors import UserError

LOCK_FILE = "lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's unfinished folder for the length of the block.

    The lock is the file's, not its name's, so a killed training leaves none. Raises
    UserError where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with path.open("a+", encoding="utf-8") as file:
        if not _locked(file) or _is_gone(path, file):
            file.seek(0)
            holder = " ".join(file.read(200).split()) or "another process"
            raise UserError(
                f"{folder} is being trained by {holder}: wait for it, or choose "
                "another --runs folder or --seed"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # holds the run's files, unless none was written
                folder.rmdir()


def _is_gone(path: Path, file: IO[str]) -> bool:
    """Return whether the holder before has removed the file since it was opened."""
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return True


def _locked(file: IO[str]) -> bool:
    """Lock an open file; False where another process has. True where none can."""
    try:
        import fcntl
    except ImportError:  # Windows has none
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network's disk that knows no locks
        return True
    return True

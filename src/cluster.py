"""A Dask cluster in place of the pool of processes; Dask is an optional requirement."""

import asyncio
import hashlib
import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pydicom
from distributed import Client, KilledWorker
from distributed.comm import CommClosedError

from src import __version__
from src.errors import UserError
from src.workers import keep_to_one_core

CONNECT_S = 10.0
NO_WORKER_S = 60.0  # a killed worker's successor is there within seconds
POLL_S = 2.0
WORKER_COMMAND = "python -m dask worker ADDRESS --nthreads 1"

RUN_BY_WORKERS = ("competition", "imaging", "cache", "phantom")  # packages of src


def _source_digest() -> str:
    folders = (Path(__file__).parent / name for name in RUN_BY_WORKERS)
    sources = sorted(path for folder in folders for path in folder.rglob("*.py"))
    joined = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(joined).hexdigest()[:8]


# As this process has loaded it: a worker keeps what it has loaded before a change.
KIT = f"{__version__} ({_source_digest()})"


@dataclass(frozen=True)
class Requirements:
    """What a worker must have in common with the process that hands out the work.

    versions: (package, version) of what decides about the cache's bytes; listed:
    (folder, its files' names and sizes), to be read; marked: files that lie in the
    folders to be written to. Relative paths are relative to the worker's folder too.
    """

    versions: tuple[tuple[str, str], ...]
    listed: tuple[tuple[Path, frozenset[tuple[str, int]]], ...]
    marked: tuple[Path, ...]


@contextmanager
def cluster_executor(
    address: str, reads: Sequence[Path], writes: Sequence[Path]
) -> Iterator[Executor]:
    """Yield an executor of the Dask cluster at an address such as tcp://host:8786.

    reads, writes: the folders that the workers must share with this process. Raises
    UserError if the cluster is out of reach, is lost meanwhile, or has a worker that
    cannot do the work.
    """
    client = _connect(address)
    lost, stop = Event(), Event()
    try:
        with _required(reads, writes) as required:
            _require_fit_workers(client, address, required)
            executor = _ClusterExecutor(client, required)
            watch = (client, executor, lost, stop)
            Thread(target=_watch, args=watch, daemon=True).start()
            yield executor
    except (CommClosedError, CancelledError, asyncio.CancelledError) as error:
        what = "has had no worker for a minute" if lost.is_set() else "is lost"
        raise UserError(
            f"The Dask cluster at {address} {what}; start it and run the same command "
            "again: it resumes."
        ) from error
    except KilledWorker as error:
        raise UserError(
            "Several workers died of the same task, most likely out of memory; start "
            f"fewer workers a host at {address} and run again: it resumes."
        ) from error
    finally:
        stop.set()
        client.close(timeout=CONNECT_S)  # cancels what is still to be done


def _connect(address: str) -> Client:
    # Its tracebacks of a lost connection would hide our sentence.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    try:
        _require_listener(address)
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {address}; expected an address such as "
            "tcp://host:8786, as `python -m dask scheduler` prints it."
        ) from error


def _require_listener(address: str) -> None:
    """Raise OSError or ValueError at once where the client would try for seconds."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("no host or no port")
    socket.create_connection((parts.hostname, parts.port), CONNECT_S).close()


@contextmanager
def _required(reads: Sequence[Path], writes: Sequence[Path]) -> Iterator[Requirements]:
    """Yield what workers must have, while a marker lies in each folder to write to."""
    with ExitStack() as stack:
        marked = []
        for folder in writes:
            folder.mkdir(parents=True, exist_ok=True)
            marker = stack.enter_context(
                NamedTemporaryFile(dir=folder, prefix=".input_prep-")
            )
            marked.append(folder / Path(marker.name).name)
        listed = tuple((folder, _listing(folder)) for folder in reads)
        yield Requirements(_versions(), listed, tuple(marked))


def _versions() -> tuple[tuple[str, str], ...]:
    return (
        ("the kit", KIT),
        ("numpy", np.__version__),
        ("OpenCV", cv2.__version__),
        ("pydicom", pydicom.__version__),
    )


def _listing(folder: Path) -> frozenset[tuple[str, int]]:
    """Return names and sizes of the files right in a folder; none if it is missing."""
    if not folder.is_dir():
        return frozenset()
    files = (path for path in folder.iterdir() if path.is_file())
    return frozenset((path.name, path.stat().st_size) for path in files)


def _require_fit_workers(client: Client, address: str, required: Requirements) -> None:
    """Raise UserError if there is no worker, or about the first that is unfit."""
    command = WORKER_COMMAND.replace("ADDRESS", address)
    threads = client.nthreads()
    if not threads:
        raise UserError(
            f"The Dask cluster at {address} has no worker; start some in the kit's "
            f"folder, on each host: {command}"
        )
    for worker, count in sorted(threads.items()):
        if count != 1:
            raise UserError(
                f"The worker at {worker} has {count} threads where 1 is expected; "
                f"start several of one thread: {command} --nworkers {count}"
            )
    found = client.run(worker_fault, required, on_error="return")
    for worker, fault in sorted(found.items()):
        if isinstance(fault, Exception):  # Dask gives the text of the worker's own
            fault = f"cannot load the kit ({fault})"
        if fault:
            raise UserError(_unfit(f"at {worker}", fault))


def _unfit(where: str, fault: str) -> str:
    return (
        f"The worker {where} {fault}; start it in the kit's folder, which all hosts "
        f"share, with the same environment: {WORKER_COMMAND}"
    )


@cache
def worker_fault(required: Requirements) -> str | None:
    """Return what this worker lacks, to be read after its name; None if nothing.

    It also keeps the worker to one core.
    """
    keep_to_one_core()
    for (name, expected), (_, held) in zip(required.versions, _versions(), strict=True):
        if held != expected:
            return f"has version {held} of {name} where {expected} is expected"
    for folder, files in required.listed:
        if _listing(folder) != files:
            return f"does not see the same files in {folder} (it is in {Path.cwd()})"
    for marker in required.marked:
        if not marker.is_file():
            return f"does not share {marker.parent} (it is in {Path.cwd()})"
        try:
            TemporaryFile(dir=marker.parent).close()
        except OSError as error:
            return f"cannot write to {marker.parent} ({error.strerror})"
    return None


def run_checked(required: Requirements, work: Callable, *args: Any) -> Any:
    """Do a task, on a worker that may have joined or been replaced after the start."""
    fault = worker_fault(required)
    if fault:
        raise UserError(_unfit(f"on {platform.node()}, process {os.getpid()},", fault))
    return work(*args)


class _ClusterExecutor(Executor):
    """The client's executor; every task checks its worker first."""

    def __init__(self, client: Client, required: Requirements) -> None:
        # A task is no function of its arguments: it writes files.
        self._executor = client.get_executor(pure=False)
        self._required = required

    def submit(self, work: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Submit a task."""
        return self._executor.submit(run_checked, self._required, work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or cancel them."""
        self._executor.shutdown(wait and not cancel_futures)


def _watch(client: Client, executor: Executor, lost: Event, stop: Event) -> None:
    """Cancel all tasks once there has been no worker for NO_WORKER_S.

    Without workers a scheduler would wait for new ones for ever.
    """
    without_s = 0.0
    while not stop.wait(POLL_S):
        try:
            workers = client.nthreads()
        except (OSError, asyncio.CancelledError):
            return  # the client tells of a lost scheduler itself
        without_s = 0.0 if workers else without_s + POLL_S
        if without_s >= NO_WORKER_S:
            lost.set()
            executor.shutdown(wait=False)
            return

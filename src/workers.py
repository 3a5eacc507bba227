"""Single-threaded worker processes: a pool on this machine, or a cluster's."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2

from src.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]

# Numerical libraries read these when they load. By default each worker starts a thread
# a core: two workers on two cores then took four times as long.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Start `workers` processes of one thread each.

    They are spawned, not forked: a fork of a process that has threads can hang.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")  # inherited; this process has loaded its own
    context = get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=keep_to_one_core)


def keep_to_one_core() -> None:
    """Let OpenCV start no threads, since each core has its worker."""
    cv2.setNumThreads(1)


def cluster_workers(
    address: str, reads: Sequence[Path], writes: Sequence[Path]
) -> AbstractContextManager[Executor]:
    """Return cluster.py's executor; raises UserError if Dask is not installed."""
    try:
        from src.cluster import cluster_executor
    except ModuleNotFoundError as error:
        raise UserError(
            f"--scheduler needs Dask, but {error.name} is not installed: "
            "pip install -r requirements-cluster.txt"
        ) from error
    return cluster_executor(address, reads, writes)


def run_all(
    work: Callable[[Task], None],
    tasks: Sequence[Task],
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> None:
    """Run `work` on every task, in the executor or here; report (done, total)."""
    report = progress or (lambda done, total: None)
    if executor is None:
        for done, task in enumerate(tasks, start=1):
            work(task)
            report(done, len(tasks))
        return
    futures = [executor.submit(work, task) for task in tasks]
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            report(done, len(tasks))
    except BrokenExecutor as error:
        raise UserError(
            "A worker died, most likely out of memory; run again with fewer "
            "--workers, and it resumes."
        ) from error
    finally:
        # Otherwise Ctrl-C waits until the executor has done all the tasks.
        for future in futures:
            future.cancel()


def map_all(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield what `work` makes of each task, in the tasks' order; report (done, total).

    Raises UserError if a worker dies.
    """
    report = progress or (lambda done, total: None)
    run = map if executor is None else executor.map
    try:
        for done, result in enumerate(run(work, tasks), start=1):
            yield result
            report(done, len(tasks))
    except BrokenExecutor as error:
        raise UserError(
            "A worker died, most likely out of memory; run again with fewer --workers."
        ) from error

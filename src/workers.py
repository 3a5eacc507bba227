"""A pool of processes that leave each other a core."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    as_completed,
)
from multiprocessing import get_context
from typing import TypeVar

from src.errors import UserError

Task = TypeVar("Task")
Progress = Callable[[int, int], None]

# Numerical libraries read these when they load. Left alone, each worker starts a thread
# a core: two workers on two cores then took four times as long.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Start `workers` processes of one thread each.

    They are spawned, not forked: a fork of a process that has threads can hang.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")  # inherited; this process has loaded its own
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def run_all(
    work: Callable[[Task], None],
    tasks: Sequence[Task],
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> None:
    """Do some work for every task, in the executor or here; tell (done, total)."""
    tell = progress or (lambda done, total: None)
    if executor is None:
        for done, task in enumerate(tasks, start=1):
            work(task)
            tell(done, len(tasks))
        return
    futures = [executor.submit(work, task) for task in tasks]
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            tell(done, len(tasks))
    except BrokenExecutor as error:
        raise UserError(
            "A worker died, most likely for want of memory; run again with fewer "
            "--workers, and it resumes."
        ) from error
    finally:
        # Or the executor works through the rest before Ctrl-C ends anything.
        for future in futures:
            future.cancel()

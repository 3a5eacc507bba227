"""A pool of processes that leave each other a core."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

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

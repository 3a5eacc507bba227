"""The pool of processes, and work handed out to it."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import current_process
from typing import Any

import cv2
import pytest

from src import workers
from src.workers import THREADS, run_all, worker_pool


@pytest.fixture
def _threads_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        del os.environ[name]


def process_name() -> str:
    """Name the process this runs in, which tells how it was started."""
    return current_process().name


@pytest.mark.usefixtures("_threads_unset")
def test_a_worker_is_spawned_and_has_one_thread() -> None:
    with worker_pool(1) as executor:
        assert executor.submit(process_name).result().startswith("Spawn")
        counts = [executor.submit(os.getenv, name).result() for name in THREADS]
        assert executor.submit(cv2.getNumThreads).result() == 1
    assert counts == ["1"] * 3


@pytest.mark.usefixtures("_threads_unset")
def test_threads_that_the_user_has_set_are_kept() -> None:
    os.environ["OMP_NUM_THREADS"] = "3"
    worker_pool(1).shutdown()
    assert [os.environ[name] for name in THREADS] == ["3", "1", "1"]


@pytest.mark.usefixtures("_threads_unset")
def test_there_are_as_many_workers_as_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def start(count: int, *_: Any, **_flags: Any) -> None:
        asked.append(count)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", start)
    for count in (1, 7):
        worker_pool(count)
    assert asked == [1, 7]


STARTS = [nullcontext, lambda: ThreadPoolExecutor(2)]
Start = Callable[[], AbstractContextManager[Executor | None]]


@pytest.mark.parametrize("start", STARTS, ids=["here", "executor"])
def test_every_task_is_done_once_and_counted(start: Start) -> None:
    done, reported = [], []
    with start() as executor:
        run_all(done.append, "abc", executor, lambda *counts: reported.append(counts))
    assert sorted(done) == ["a", "b", "c"]
    assert reported == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("start", STARTS, ids=["here", "executor"])
def test_a_tasks_exception_is_raised(start: Start) -> None:
    with start() as executor, pytest.raises(ValueError, match="'x'"):
        run_all(int, ["1", "x"], executor)

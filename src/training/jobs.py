"""The runs of one command side by side, each in a process of its own.

A run that fails, even one killed for its memory, costs only itself. A command that is
interrupted or terminated ends its runs first.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from src import machine
from src.workers import THREADS

# torch's and OpenCV's threads, shared out among the runs; OpenCV has its own variable.
SHARED_THREADS = (*THREADS, "OPENCV_FOR_THREADS_NUM")
GRACE_S = 5.0  # for processes to end by themselves before they are ended

Log = Callable[[str], None]
Process = subprocess.Popen[str]
Slot = Mapping[str, str]  # the environment variables of a run at its place


def slots(jobs: int, runs: int, log: Log) -> list[Slot]:
    """Share this machine out: a GPU a run, or on a CPU a share of the cores' threads.

    jobs: at most so many slots, of which no more are made than there are runs, GPUs or,
    without GPUs, cores; log: is told where that makes fewer. A number of threads that
    the environment sets already is kept.
    """
    gpus, cores = machine.gpus(), machine.cores()
    places = f"{len(gpus)} GPUs" if len(gpus) > 1 else "one GPU" if gpus else None
    places = places or (f"{cores} cores" if cores > 1 else "one core")
    size = min(jobs, runs, len(gpus) or cores)
    if size < min(jobs, runs):
        log(f"--jobs {jobs} is more than this machine's {places}: {size} at a time")
    threads = str(max(1, cores // size))
    share = {name: os.environ.get(name, threads) for name in SHARED_THREADS}
    if not gpus:
        return [share] * size
    return [{**share, "CUDA_VISIBLE_DEVICES": gpu.token} for gpu in gpus[:size]]


@dataclass
class SideBySide:
    """Commands that run at the same time, one in each slot.

    log: is told every line that a command prints, after the command's label.
    """

    slots: Sequence[Slot]
    log: Log
    _running: set[Process] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stopped: bool = field(default=False, init=False)

    def run(self, commands: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Run each command, by its label; return the last words of those that failed.

        On an interrupt or SIGTERM no more are started and those that run are ended;
        then the signal has its usual effect.
        """
        with _as_exception(signal.SIGTERM, self.log):
            return self._run_all(commands)

    def _run_all(self, commands: Mapping[str, Sequence[str]]) -> dict[str, str]:
        free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in self.slots:
            free.put(slot)
        width = max(map(len, commands), default=0)

        def work(label: str) -> str | None:
            slot = free.get()
            try:
                return self._run(label.ljust(width), commands[label], slot)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(len(self.slots)) as threads:
            try:
                futures = {label: threads.submit(work, label) for label in commands}
                ended = {label: future.result() for label, future in futures.items()}
            except BaseException as error:
                self._stop(reached=isinstance(error, KeyboardInterrupt))
                raise
        return {label: words for label, words in ended.items() if words is not None}

    def _run(self, label: str, command: Sequence[str], slot: Slot) -> str | None:
        """Run one command and pass its lines on; return its last words if it fails."""
        with self._lock:
            if self._stopped:
                return "was not started"
            process = subprocess.Popen(
                command,
                env={**os.environ, **slot, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._running.add(process)
        last = ""
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    last = line.strip()
                    self.log(f"{label} | {line.rstrip()}")
        with self._lock:
            self._running.discard(process)
        if process.returncode == 0 or self._stopped:
            return None
        how = _cause(process.returncode)
        self.log(f"{label} | FAILED: {how}")
        return last if process.returncode > 0 and last else how

    def _stop(self, reached: bool) -> None:
        """Start nothing more, and end what runs: gently, then by force.

        reached: whether the runs were told already, as a terminal's Ctrl-C tells them.
        """
        with self._lock:
            self._stopped = True
            running = list(self._running)
        if reached:
            running = _still_running(running)
        for process in running:
            process.terminate()
        for process in _still_running(running):
            process.kill()


def _still_running(processes: Sequence[Process]) -> list[Process]:
    """Give processes some time to end; return those that run on."""
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    return [process for process in processes if process.poll() is None]


class _SignalError(SystemExit):
    """A signal's number, on its way to where the runs are ended."""


@contextmanager
def _as_exception(number: signal.Signals, log: Log) -> Iterator[None]:
    """Turn the first signal into an exception; after it, let the signal have its way.

    Without effect outside the main thread, and where the signal is ignored.
    """
    before = signal.getsignal(number)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is signal.SIG_IGN:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would leave runs behind
        raise _SignalError(128 + number)  # as a shell counts it

    signal.signal(number, stop)
    try:
        yield
    except _SignalError:
        log("Terminated; run the same command again to resume.")
        sys.stdout.flush()  # which a signal would not
        signal.signal(number, before)
        signal.raise_signal(number)
        raise
    finally:
        signal.signal(number, before)


def _cause(code: int) -> str:
    """Say how a command failed: by its exit code, or by a signal."""
    if code > 0:
        return f"exit code {code}"
    memory = ", most likely out of memory" if code == -9 else ""
    return f"killed by signal {-code}{memory}"

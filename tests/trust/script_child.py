"""The kit's scripts in child processes that may be killed, starved or demoted.

The children are forked from a server that has imported the packages, so that a script
starts in a few hundredths of a second and a test can afford to run it often.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from child_preparations import Preparation

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("pytest", "torch", "torchvision", "timm", "pandas", "sklearn", "albumentations"),
    *("cv2", "matplotlib.pyplot", "pydicom.pixels", "rich.progress", "safetensors"),
)
TIMEOUT_S = 120.0


@cache
def fork_server() -> ForkServerContext:
    """Start the server, on one thread: sums over threads may round differently."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    os.environ |= {"NO_ALBUMENTATIONS_UPDATE": "1", "MPLBACKEND": "Agg"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PACKAGES))
    return context


@dataclass(frozen=True)
class Ended:
    """How a script ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """Return the one sentence on which it stopped, and check that it is one."""
        assert self.code == 1, (self.code, self.err)
        assert "Traceback" not in self.err, self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].endswith((".", "!", "?")), self.err
        return lines[0]


@dataclass
class ScriptChild:
    """A script that is running in a process group of its own.

    log: a folder for what it prints; prepare: called in the child before the script.
    """

    log: Path
    command: Sequence[object]
    prepare: Sequence[Preparation] = ()
    started: float = field(init=False)
    ended: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Start it, and wait until it stands in its own group."""
        self.log.mkdir(parents=True, exist_ok=True)
        self.out, self.err = self.log / "stdout", self.log / "stderr"
        self.err.unlink(missing_ok=True)
        words = [str(word) for word in self.command]
        self.process = fork_server().Process(
            target=_run, args=(words, self.out, self.err, list(self.prepare))
        )
        self.process.start()
        while not self.err.exists() and self.process.is_alive():
            time.sleep(0.001)
        self.started = time.monotonic()

    def end(self, timeout_s: float = TIMEOUT_S) -> Ended:
        """Wait for its end; a script that hangs is killed, and its code is -9."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.kill()
        self.ended = self.ended or time.monotonic()
        code = self.process.exitcode
        assert code is not None
        printed = (path.read_text(errors="replace") for path in (self.out, self.err))
        return Ended(code, *printed)

    def seconds(self) -> float:
        """Return how long it has been running, or ran until its end was noticed."""
        return (self.ended or time.monotonic()) - self.started

    def kill(self) -> None:
        """Kill -9 the script and its workers, and wait until none of them runs."""
        pid = self.process.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self.process.join()
        while _running(pid):
            time.sleep(0.001)


def run_script(
    log: Path, *command: object, prepare: Sequence[Preparation] = ()
) -> Ended:
    """Run one script to its end."""
    return ScriptChild(log, command, prepare).end()


def succeed(log: Path, *command: object, prepare: Sequence[Preparation] = ()) -> str:
    """Run one script that must succeed; return what it printed."""
    ended = run_script(log, *command, prepare=prepare)
    assert ended.code == 0, ended.err
    return ended.out


def _run(
    words: list[str], out: Path, err: Path, prepare: Sequence[Preparation]
) -> None:
    """Become the script, in the child."""
    os.setsid()
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.argv = words
    for step in prepare:
        step()
    runpy.run_path(words[0], run_name="__main__")


def _running(group: int) -> bool:
    """Return whether a process of a group is left that is no zombie."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                return True
    return False

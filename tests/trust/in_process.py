"""A script's run in this process: its exit code, and what it printed."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from unittest import mock

import input_prep
import predict_submission
import train
from src import console
from src.command_line import run_script

SCRIPTS: dict[str, Callable[[], None]] = {
    "input_prep.py": input_prep.main,
    "train.py": train.main,
    "predict_submission.py": predict_submission.main,
}
NOBODY = 65534


@dataclass(frozen=True)
class Result:
    """How a script ended, given its words.

    crash: the traceback of what its main() let through.
    """

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    crash: str = ""


class _Here(ThreadPoolExecutor):
    """One thread in place of worker processes, which take seconds to start."""

    def __init__(self, _workers: int) -> None:
        super().__init__(1)

    def submit(self, *task: Any, **named: Any) -> Future:
        """Run a task now."""
        done: Future = Future()
        try:
            done.set_result(task[0](*task[1:], **named))
        except Exception as error:
            done.set_exception(error)
        return done


def run(script: str, *arguments: object) -> Result:
    """Run a script's main() as `python SCRIPT ARGUMENTS` would."""
    out, err = io.StringIO(), io.StringIO()
    words = (script, *map(str, arguments))
    code, crash = 0, ""
    screen = console.Console(file=out, width=200, highlight=False, soft_wrap=True)
    with (
        mock.patch.object(sys, "argv", list(words)),
        mock.patch.object(console, "_console", screen),
        mock.patch.object(input_prep, "worker_pool", _Here),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run_script(SCRIPTS[script])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            code, crash = 1, traceback.format_exc()
    return Result(words, code, out.getvalue(), err.getvalue(), crash)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Drop root's rights for a block: root may read and write anything.

    By the effective user, which the kernel asks for; an ordinary user stays one. A
    child process could not be used: its interpreter may lie in root's own folder.
    """
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)

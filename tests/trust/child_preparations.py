"""What is done to a child before its script runs; each a function, to be pickled."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src import workers
from src.training import train_run

Preparation = Callable[[], None]
NOBODY = 65534


def fork_workers() -> None:
    """Fork the pool's workers, which takes hundredths of a second, not seconds."""
    vars(workers)["get_context"] = lambda _: multiprocessing.get_context("fork")


def save_each_epoch() -> None:
    """Write a training's checkpoint after each epoch, not once a minute."""
    train_run.SAVE_EVERY_S = 0.0


def become_nobody() -> None:
    """Go on as an ordinary user."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def limit_file_size(size: int) -> None:
    """Fail every write beyond `size` bytes, as on a full disk but with EFBIG."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def die_in_write(size: int) -> None:
    """Kill -9 the group in the first write that makes a file longer than `size`."""

    def die(*_: object) -> None:
        os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGXFSZ, die)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def die_at_rename(number: int, after: bool) -> None:
    """Kill -9 the group right before or after its process' n-th rename, from 1."""
    count = 0

    def renaming(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number and not after:
                os.killpg(0, signal.SIGKILL)
            done = rename(*arguments, **options)
            if count == number:
                os.killpg(0, signal.SIGKILL)
            return done

        return renamed

    os.replace, os.rename = renaming(os.replace), renaming(os.rename)


def count_renames(path: Path) -> None:
    """Append a line to a file at each rename of the script's own process."""
    replace = os.replace

    def noted(*arguments: Any, **options: Any) -> None:
        replace(*arguments, **options)
        with path.open("a") as file:
            file.write(f"{arguments[1]}\n")

    os.replace = noted

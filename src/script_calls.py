"""Calling the kit's scripts one after the other, as a user would."""

import subprocess
import sys
import time
from collections.abc import Mapping

from src.console import say
from src.errors import UserError


def call_script(command: list[str]) -> None:
    """Run a script with this Python; UserError if it fails."""
    done = subprocess.run([sys.executable, *command], check=False)
    if done.returncode:
        raise UserError(
            f"{command[0]} exited with code {done.returncode}; see its output above"
        )


def call_steps(steps: Mapping[str, list[str]]) -> dict[str, float]:
    """Run named scripts in order, each shown first; return their seconds."""
    seconds: dict[str, float] = {}
    for name, command in steps.items():
        say(f"\n$ python {' '.join(command)}")
        start = time.perf_counter()
        call_script(command)
        seconds[name] = time.perf_counter() - start
    return seconds

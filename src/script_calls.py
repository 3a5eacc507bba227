"""Calling the kit's scripts one after the other, as a user would."""

import subprocess
import sys

from src.errors import UserError


def call_script(command: list[str]) -> None:
    """Run a script with this Python; UserError if it fails."""
    done = subprocess.run([sys.executable, *command], check=False)
    if done.returncode:
        raise UserError(
            f"{command[0]} exited with code {done.returncode}; see its output above"
        )

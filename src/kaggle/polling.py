"""Asking again until something is done, but not for ever."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from src.errors import InputError

Found = TypeVar("Found")


@dataclass(frozen=True)
class Patience:
    """How often to ask, and for how long."""

    every_s: float = 20.0
    limit_s: float = 12 * 3600.0

    def wait(self, look: Callable[[], Found | None], what: str) -> Found:
        """Look until something is found. Raises InputError when the time is up."""
        end = time.monotonic() + self.limit_s
        while not (found := look()):
            if time.monotonic() >= end:
                raise InputError(
                    f"{what} after {self.limit_s / 60:.0f} minutes; look at it on "
                    "kaggle.com, and run this again."
                )
            time.sleep(self.every_s)
        return found

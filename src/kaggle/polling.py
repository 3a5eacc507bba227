"""Asking Kaggle again: until there is a result, and through its outages."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from src.console import say
from src.errors import UserError
from src.kaggle.cli import UnavailableError

MAX_PAUSE_S = 300.0  # between two attempts while Kaggle cannot be reached

Found = TypeVar("Found")


@dataclass(frozen=True)
class Polling:
    """A polling interval and its time limit."""

    every_s: float = 20.0
    limit_s: float = 12 * 3600.0

    def wait(
        self,
        poll: Callable[[], Found | None],
        what: str,
        remedy: str = "run this again",
    ) -> Found:
        """Poll until there is a result; through an outage, ever more slowly.

        Raises UserError at the time limit, UnavailableError if there is an outage then.
        """
        end = time.monotonic() + self.limit_s
        pause, outage = self.every_s, None
        while True:
            try:
                if found := poll():
                    return found
                pause, outage = self.every_s, None
            except UnavailableError as error:
                if not outage:
                    say(f"{error.what}: trying again, up to {self._limit()}")
                outage = error
            left = end - time.monotonic()
            if left <= 0:
                raise outage or UserError(
                    f"{what} after {self._limit()}; look at it on kaggle.com, and "
                    f"{remedy}."
                )
            time.sleep(min(pause, left))
            if outage:
                pause = min(2 * pause, max(MAX_PAUSE_S, self.every_s))

    def ask(self, question: Callable[[], Found]) -> Found:
        """Return the answer to a question that may be put again after an outage."""
        return self.wait(lambda: (question(),), "There is no answer")[0]

    def send(
        self, command: Callable[[], Found], arrived: Callable[[], Found | None]
    ) -> Found:
        """Run a command that must take effect once.

        A broken connection does not say whether it did: before it is run again,
        `arrived` looks for its effect, which is then the result.
        """
        sent = False

        def attempt() -> Found:
            nonlocal sent
            if sent and (found := arrived()):
                return found
            sent = True
            return command()

        return self.ask(attempt)

    def _limit(self) -> str:
        return f"{self.limit_s / 60:.0f} minutes"

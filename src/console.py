"""The scripts' console output: lines, tables, progress bars and timings."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

WIDTH = 100  # of tables if the terminal is narrower or there is none

_console = Console(highlight=False, soft_wrap=True)
if _console.width < WIDTH:
    _console.width = WIDTH


class OnProgress(Protocol):
    """Updates a progress bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show how many are done, of how many, and a note beside the bar."""


def say(sentence: str) -> None:
    """Print a line."""
    _console.print(sentence, markup=False)


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """Yield what updates a progress bar on a terminal, and elsewhere does nothing."""
    # rich would draw the bar in a notebook too, where every frame stays in the output,
    # and some of its versions print an empty line even for a bar that is disabled.
    if not sys.stdout.isatty():
        yield lambda done, total, note="": None
        return
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        "{task.fields[note]}",
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note="": bar.update(
            task, completed=done, total=total, note=note
        )


@contextmanager
def timed(title: str) -> Iterator[None]:
    """Print the title and the elapsed time when the block has finished."""
    start = time.perf_counter()
    yield
    say(f"{title} ({time.perf_counter() - start:.1f} s)")


def show_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same keys as a table, numbers aligned right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(escape(cell(value)) for value in row.values()))
    _console.print(table)


def cell(value: object) -> str:
    """Format a table's value: floats with three decimals, None as a dash."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

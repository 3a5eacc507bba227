"""What the scripts say on the terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

WIDTH = 100  # of tables where the terminal is narrower or there is none

_console = Console(highlight=False, soft_wrap=True)
if _console.width < WIDTH:
    _console.width = WIDTH


def say(sentence: str) -> None:
    """Print a line."""
    _console.print(sentence, markup=False)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (done, total); it draws a bar on a terminal."""
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Not by rich's own guess: a notebook's kernel asks for colours, and a bar drawn
    # there leaves every one of its frames in the output.
    quiet = not sys.stdout.isatty()
    with Progress(*columns, console=_console, transient=True, disable=quiet) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def timed(title: str) -> Iterator[None]:
    """Say what was done and how long it took."""
    start = time.perf_counter()
    yield
    say(f"{title} ({time.perf_counter() - start:.1f} s)")


def show_table(title: str, rows: list[dict[str, object]]) -> None:
    """Print rows with the same keys as a table, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    _console.print(table)


def cell(value: object) -> str:
    """Write a table's value: three decimals, a dash for what there is not."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

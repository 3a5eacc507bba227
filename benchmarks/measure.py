"""How every benchmark measures and reports: turn by turn, medians with their spread.

The named pieces of work alternate in one run, so that a change in the machine's speed
meets all of them, and a ratio is taken within a turn.
"""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from src.console import cell
from src.files import write_text

Row = Mapping[str, object]

BENCHMARKS = Path("docs/benchmarks.md")
HEADING = "# Benchmarks\n\nWritten by `make bench`; no figure here is typed by hand.\n"


def wall_seconds(work: Callable[[], object]) -> float:
    """Time one piece of work by the clock on the wall."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_seconds(work: Callable[[], object]) -> float:
    """Time one piece of work by what this process computed: other load counts little.

    Not for work in other processes or on a GPU.
    """
    start = time.process_time()
    work()
    return time.process_time() - start


def alternate(
    named: Mapping[str, Callable[[], float]], repeats: int = 5, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Measure each piece of work once a turn; return [repeats] values by name.

    A piece returns its own measurement, as seconds or a rate. The first `warm_ups`
    turns do not count, and each turn begins with another piece.
    """
    names = list(named)
    values: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_ups + repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            value = named[name]()
            if turn >= warm_ups:
                values[name].append(value)
    return values


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Show a median, and the least and the greatest value in brackets."""
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(values), median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide two measurements turn by turn."""
    return [a / b for a, b in zip(above, below, strict=True)]


def ratio_row(
    name: str, values: Sequence[float], against: Mapping[str, Sequence[float]]
) -> Row:
    """Make a table's row: a measurement, and its ratio to each of the others.

    values, against: rates turn by turn, so that more is better.
    """
    compared = {
        f"of {other}": spread(ratios(values, rates)) for other, rates in against.items()
    }
    return {"": name, "a second": spread(values, 0), **compared}


def machine() -> str:
    """Describe the machine in a line: its processor, the cores to use, the versions."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def write_table(
    section: str, rows: Sequence[Row], path: Path = BENCHMARKS, note: str = ""
) -> None:
    """Put a table into its section of a Markdown file; other sections stay.

    rows: with the same keys; note: a sentence above the table, as the command.
    """
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    lines = [
        begin,
        f"## {section}",
        "",
        f"{machine()}. {note}".strip(),
        "",
        *_markdown(rows),
        "",
        end,
    ]
    text = path.read_text(encoding="utf-8") if path.exists() else HEADING
    before, found, rest = text.partition(begin)
    after = rest.partition(end)[2] if found else ""
    write_text(before.rstrip() + "\n\n" + "\n".join(lines) + (after or "\n"), path)


def _markdown(rows: Sequence[Row]) -> list[str]:
    columns = list(rows[0])
    rule = ["---" if isinstance(rows[0][name], str) else "---:" for name in columns]
    body = [[cell(row[name]).replace("|", "\\|") for name in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (columns, rule, *body)]

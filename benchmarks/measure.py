"""How every benchmark measures and reports: turn by turn, medians with their spread.

The named pieces of work alternate in one run, so that a change in the machine's speed
meets all of them, and a ratio is taken within a turn.
"""

import platform
import resource
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from src.console import cell
from src.files import write_text
from src.machine import cores, cpu_model, gpus

Row = Mapping[str, object]

BENCHMARKS = Path("docs/benchmarks.md")
HEADING = """# Benchmarks

How fast the kit prepares, trains and predicts, beside plain code and each bound:
written by `make bench`, no figure is typed by hand.
"""


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


def peak_megabytes() -> float:
    """Return the most memory that this process has had, in MB."""
    try:  # getrusage would count what a spawned process' parent had before it, too
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held / (2**20 if sys.platform == "darwin" else 2**10)
    kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(kilobytes) / 2**10


def machine() -> str:
    """Describe the machine in a line: processor, cores to use, GPUs, versions."""
    cards = ", ".join(gpu.model for gpu in gpus()) or "no GPU"
    return (
        f"{cpu_model()}, {cores()} cores, {cards}, Python {platform.python_version()}, "
        f"torch {version('torch')}"
    )


def command() -> str:
    """Return the command that runs this benchmark."""
    module = f"benchmarks.{Path(sys.argv[0]).stem}"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def write_table(
    section: str, rows: Sequence[Row], path: Path = BENCHMARKS, note: str = ""
) -> None:
    """Put a table into its section of a Markdown file; other sections stay.

    Above the table stand the machine, the command that this process runs, and a note.
    rows: with the same keys; note: what was measured, in which number format.
    """
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    lines = [
        begin,
        f"## {section}",
        "",
        f"{machine()}; `{command()}`.",
        *(["", note] if note else []),
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

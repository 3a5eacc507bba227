"""Mutated files through the readers, in a process that the watching one may lose."""

import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from src.errors import UserError

MANY_FAULTS = 20  # after which no new process is started
CASE_LIMIT_S = 20  # of a busy machine's clock; a case takes milliseconds
Read = Callable[[int], str]  # a case's number to what came of it; UserError: refused


@dataclass
class Found:
    """What a share of the cases came to.

    faults: a case's number and what it raised; slowest_s: the longest case; grown_mib:
    how far the process's peak of memory rose.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    grown_mib: float = 0.0

    def add(self, other: "Found") -> None:
        """Take another share in."""
        self.outcomes += other.outcomes
        self.faults += other.faults
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.grown_mib = max(self.grown_mib, other.grown_mib)


def read_all(
    make_reader: Callable[[Path], Read], scratch: Path, count: int, workers: int = 2
) -> Found:
    """Read cases 0 to count - 1 in some processes; one that dies is a fault.

    make_reader: from a folder of its own to what reads a case.
    """
    total = Found()
    starts = {first: first for first in range(workers)}
    while starts:
        context = get_context("spawn")
        jobs = []
        for share, first in starts.items():
            place = context.Value("q", first)
            ours, theirs = context.Pipe(duplex=False)
            folder = scratch / f"{share}-{first}"
            folder.mkdir(parents=True)
            cases = range(first, count, workers)
            task = (make_reader, folder, cases, place, theirs)
            process = context.Process(target=_read_share, args=task)
            process.start()
            theirs.close()
            jobs.append((share, place, ours, process))
        starts = {}
        for share, place, ours, process in jobs:
            try:
                total.add(ours.recv())
            except EOFError:
                process.join()
                total.faults.append((place.value, f"died: {process.exitcode}"))
                if len(total.faults) < MANY_FAULTS:
                    starts[share] = place.value + workers
            process.join()
    return total


def _read_share(
    make_reader: Callable[[Path], Read],
    folder: Path,
    cases: range,
    place: Synchronized,
    answer: Connection,
) -> None:
    read, found = make_reader(folder), Found()
    before = _peak_mib()
    for case in cases:
        place.value = case
        signal.alarm(CASE_LIMIT_S)
        start = time.perf_counter()
        try:
            outcome = read(case)
        except UserError as error:
            outcome = _refused(case, error, found)
        except BaseException:
            outcome = "fault"
            found.faults.append((case, traceback.format_exc(limit=-4)))
        found.slowest_s = max(found.slowest_s, time.perf_counter() - start)
        found.outcomes[outcome] += 1
    signal.alarm(0)
    found.grown_mib = _peak_mib() - before
    answer.send(found)


def _refused(case: int, error: UserError, found: Found) -> str:
    """Note a refusal that is not one printable sentence."""
    sentence = str(error)
    if not sentence or "\n" in sentence or len(sentence) > 1000:
        found.faults.append((case, f"no sentence: {sentence!r}"))
    return "refused"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""Plant small bugs, one at a time, and see whether the tests notice.

    python tests/mutate.py                          all of tests/mutants/*.toml
    python tests/mutate.py --only schedule          those whose name holds a word
    python tests/mutate.py --every 3                a third of them, evenly spread

A mutant is a piece of code that occurs once in the repository, and what to put in its
place; it is found by its text, so that it moves along with a renamed file. Each is
planted in a copy of the working tree, where the tests that could notice it are run.
--write puts the table into docs/mutation.md.
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTANTS = ROOT / "tests" / "mutants"
REPORT = ROOT / "docs" / "mutation.md"
TIMEOUT_S = 600  # a mutant that hangs the tests is noticed too
HUNG = "the clock: the tests hung"
# What takes long to import, and is not ours.
PACKAGES = (
    *("torch", "torchvision", "timm", "pandas", "sklearn", "albumentations", "cv2"),
    *("matplotlib.pyplot", "pydicom.pixels", "optuna", "rich.progress"),
)


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    group: the TOML file it stands in; name: what is wrong with it, in words; old, new:
    the code before and after; tests: files below tests/ that could notice; survives:
    why no test can notice it, or empty.
    """

    group: str
    name: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: where it was planted, and the first test to fail."""

    mutant: Mutant
    path: str
    noticed_by: str | None
    seconds: float


def read_mutants(folder: Path = MUTANTS) -> list[Mutant]:
    """Read every mutant of a folder of TOML files."""
    return [
        Mutant(path.stem, name, entry["old"], entry["new"], tuple(entry["tests"]))
        if "survives" not in entry
        else Mutant(path.stem, name, **entry)
        for path in sorted(folder.glob("*.toml"))
        for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items()
    ]


def source_files(root: Path = ROOT) -> list[Path]:
    """List the files that a mutant may be planted in."""
    return sorted([*root.glob("*.py"), *(root / "src").rglob("*.py")])


def find(mutant: Mutant, root: Path = ROOT) -> Path:
    """Return the one file that holds a mutant's code; ValueError if it is not one."""
    holders = [
        path
        for path in source_files(root)
        for _ in range(path.read_text(encoding="utf-8").count(mutant.old))
    ]
    if len(holders) != 1:
        raise ValueError(
            f"{mutant.group}: {mutant.name}: its code occurs {len(holders)} times, "
            "and must once; give it a longer piece, or mend it after a change"
        )
    return holders[0]


def copy_tree(target: Path) -> None:
    """Copy what git tracks or would, as it is in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def preload() -> None:
    """Import the heavy packages once: each run of the tests forks from here."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    os.environ |= {"NO_ALBUMENTATIONS_UPDATE": "1", "MPLBACKEND": "Agg"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loaded too late to rewrite
    sys.dont_write_bytecode = True
    for name in PACKAGES:
        importlib.import_module(name)


class FirstFailure:
    """A pytest plugin that keeps the name of the first test to fail."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed, or whose fixtures did."""
        if report.failed and self.name is None:
            self.name = report.nodeid.removeprefix("tests/")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot even be imported."""
        if report.failed and self.name is None:
            self.name = report.nodeid.removeprefix("tests/")


def run_tests(root: Path, tests: Sequence[str], answer: Connection) -> None:
    """Run test files below root/tests until one fails; send its name, or None.

    In a process of its own, which may do what it likes with its paths and modules.
    """
    os.setpgrp()  # so that a hanging test goes with all that it started
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(root)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(ROOT))]
    sys.path = [entry for entry in sys.path if entry != str(ROOT / "tests")]
    plugin = FirstFailure()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    files = [f"tests/{name}" for name in tests]
    code = pytest.main([*options, "--rootdir", str(root), *files], [plugin])
    ended = None if code == 0 else f"pytest, which ended with {int(code)}"
    answer.send(plugin.name or ended)
    answer.close()
    os._exit(0)


class Run:
    """The tests of one mutant, or of none, in a process of their own."""

    def __init__(self, root: Path, tests: Sequence[str]) -> None:
        """Start them."""
        self.answer, theirs = multiprocessing.Pipe(duplex=False)
        self.start = time.monotonic()
        fork = multiprocessing.get_context("fork")
        self.process = fork.Process(target=run_tests, args=(root, tests, theirs))
        self.process.start()
        theirs.close()

    def first_failure(self) -> str | None:
        """Return the first test that failed, once they have ended."""
        left = TIMEOUT_S - (time.monotonic() - self.start)
        try:
            told = self.answer.recv() if self.answer.poll(max(left, 0)) else HUNG
        except EOFError:
            told = "the interpreter, which crashed"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        return told


class Plot:
    """A copy of the tree, and the mutant that stands in it."""

    def __init__(self, root: Path) -> None:
        """Copy the tree to `root`."""
        copy_tree(root)
        self.root = root

    def plant(self, mutant: Mutant) -> None:
        """Plant a mutant and start its tests."""
        self.mutant, self.path = mutant, find(mutant, self.root)
        self.whole = self.path.read_text(encoding="utf-8")
        bad = self.whole.replace(mutant.old, mutant.new)
        self.path.write_text(bad, encoding="utf-8")
        self.run = Run(self.root, mutant.tests)

    def harvest(self) -> Outcome:
        """Wait for the tests, and take the mutant out again."""
        noticed_by = self.run.first_failure()
        self.path.write_text(self.whole, encoding="utf-8")
        where = self.path.relative_to(self.root).as_posix()
        seconds = time.monotonic() - self.run.start
        return Outcome(self.mutant, where, noticed_by, seconds)


def plant_all(mutants: Sequence[Mutant], workers: int) -> Iterator[Outcome]:
    """Plant mutants in `workers` copies of the tree at once; yield as they end."""
    left = list(mutants)
    with tempfile.TemporaryDirectory() as scratch:
        plots = [Plot(Path(scratch) / str(number)) for number in range(workers)]
        busy: dict[object, Plot] = {}
        while left or busy:
            while left and plots:
                plot = plots.pop()
                plot.plant(left.pop(0))
                busy[plot.run.answer] = plot
            ended = wait(list(busy), timeout=1)
            late = [
                answer
                for answer, plot in busy.items()
                if time.monotonic() - plot.run.start > TIMEOUT_S
            ]
            for answer in {*ended, *late}:
                plot = busy.pop(answer)
                yield plot.harvest()
                plots.append(plot)


def require_sound(mutants: Sequence[Mutant]) -> None:
    """Refuse tests that fail without any mutant: they would notice everything."""
    tests = sorted({name for mutant in mutants for name in mutant.tests})
    if broken := Run(ROOT, tests).first_failure():
        sys.exit(f"{broken} fails as it is: mend it first")


def report(outcomes: Sequence[Outcome], listed: int) -> str:
    """Lay the outcomes out as a page of Markdown; listed: mutants that there are."""
    noticed = sum(one.noticed_by is not None for one in outcomes)
    share = 100 * noticed / len(outcomes)
    groups = Counter(one.mutant.group for one in outcomes)
    lines = [
        "# Planted bugs, and the tests that notice them",
        "",
        "Made by `make mutate`. Each bug was planted by itself in a copy of the tree, "
        "and the test files named in `tests/mutants/` were run until one test failed.",
        "",
        f"**{noticed} of {len(outcomes)} planted were noticed, {share:.1f} %**, of "
        f"{listed} in the table. Planted by group: "
        + ", ".join(f"{name} {count}" for name, count in groups.items())
        + ".",
        "",
        "| file | planted | noticed by |",
        "|---|---|---|",
    ]
    for one in outcomes:
        told = f"`{one.noticed_by}`" if one.noticed_by else "**nobody**"
        reason = f": {one.mutant.survives}" if not one.noticed_by else ""
        lines.append(f"| `{one.path}` | {one.mutant.name} | {told}{reason} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Plant the chosen mutants and show what came of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose group or name has it")
    text = "plant each K-th mutant alone: a sample over all files"
    parser.add_argument("--every", type=int, default=1, metavar="K", help=text)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write docs/mutation.md")
    args = parser.parse_args()
    every = [m for m in read_mutants() if args.only in f"{m.group}: {m.name}"]
    chosen = every[:: args.every]
    for mutant in chosen:
        find(mutant)
    preload()
    require_sound(chosen)
    outcomes = []
    for one in plant_all(chosen, args.workers):
        outcomes.append(one)
        told = f"noticed by {one.noticed_by}" if one.noticed_by else "SURVIVED"
        print(f"{one.seconds:6.1f} s  {one.mutant.group}: {one.mutant.name}: {told}")
        sys.stdout.flush()
    noticed = sum(one.noticed_by is not None for one in outcomes)
    print(f"{noticed} of {len(outcomes)} noticed")
    if args.write:
        REPORT.write_text(report(outcomes, len(every)), encoding="utf-8")


if __name__ == "__main__":
    main()

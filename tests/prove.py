"""Run the proofs of tests/trust, and write what they showed to docs/reliability.md.

    python tests/prove.py                 all proofs
    python tests/prove.py damages fuzz    those of tests/trust/test_damages.py, ...
    python tests/prove.py --write         and write docs/reliability.md

A proof is a file tests/trust/test_<kind>.py; one that is added there is run without
further ado. The first line of its docstring says what was done, as the table has it;
`pytestmark = pytest.mark.trust` keeps it out of `make test`; its tests record their
figures with pytest's `record_property(name, value)`. Over a proof's tests, numbers of
one name are added up, or their largest is taken if the name begins with `most`; words
of one name are counted by value. `ALONE = True` in the file keeps its tests out of
parallel processes.
"""

import argparse
import ast
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
PROOFS = ROOT / "tests" / "trust"
REPORT = ROOT / "docs" / "reliability.md"
PACKAGES = ("numpy", "pandas", "pydicom", "safetensors", "torch", "timm")
MAX_REASON = 300  # characters of a failure in the report


@dataclass(frozen=True)
class Proof:
    """A file of tests/trust: its kind, its first line, and how it is run."""

    kind: str
    done: str
    alone: bool

    @property
    def path(self) -> Path:
        """The file."""
        return PROOFS / f"test_{self.kind}.py"


@dataclass(frozen=True)
class Outcome:
    """What a proof showed.

    failures: (test, reason) of each that failed; properties: (name, value) of all
    tests; code: pytest's exit code, 0 or 1 if the proof ran to its end.
    """

    proof: Proof
    cases: int
    skipped: int
    failures: list[tuple[str, str]]
    properties: list[tuple[str, str]]
    code: int
    seconds: float


def read_proofs(folder: Path = PROOFS) -> list[Proof]:
    """List the proofs, without importing them."""
    return [read_proof(path) for path in sorted(folder.glob("test_*.py"))]


def read_proof(path: Path) -> Proof:
    """Read a proof's first line, and whether it is run alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    done = (ast.get_docstring(tree) or path.stem).splitlines()[0]
    return Proof(path.stem.removeprefix("test_"), done, "ALONE" in names)


def run(proof: Proof, workers: int) -> Outcome:
    """Run a proof in a process of its own."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-rN", "--tb=short"]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        command += [] if proof.alone or workers == 1 else ["-n", str(workers)]
        done = subprocess.run([*command, str(proof.path)], cwd=ROOT)
        seconds = time.monotonic() - start
        root = ElementTree.parse(report).getroot() if report.is_file() else None
    tests = [] if root is None else list(root.iter("testcase"))
    skipped = sum(test.find("skipped") is not None for test in tests)
    failures = [failure for test in tests if (failure := failure_of(test))]
    properties = [
        (entry.get("name", ""), entry.get("value", ""))
        for test in tests
        for entry in test.iter("property")
    ]
    size = len(tests), skipped
    return Outcome(proof, *size, failures, properties, done.returncode, seconds)


def failure_of(test: ElementTree.Element) -> tuple[str, str] | None:
    """Return a failed test's name and the first line of its reason."""
    for kind in ("failure", "error"):
        if (found := test.find(kind)) is not None:
            lines = (found.get("message") or found.text or "no reason").splitlines()
            return test.get("name", ""), " ".join(lines[:1])[:MAX_REASON]
    return None


def figures(properties: Iterable[tuple[str, str]]) -> list[str]:
    """Sum up what a proof's tests recorded: a phrase a name."""
    values: dict[str, list[str]] = {}
    for name, value in properties:
        values.setdefault(name, []).append(value)
    return [phrase(name, found) for name, found in values.items()]


def phrase(name: str, values: Sequence[str]) -> str:
    """Put the values of one name into words."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        counts = Counter(values).most_common()
        return f"{name}: " + ", ".join(f"{value} {n:,}" for value, n in counts)
    total = max(numbers) if name.startswith("most") else sum(numbers)
    return f"{name} {total:,.6g}" if total % 1 else f"{name} {int(total):,}"


def verdict(outcome: Outcome) -> str:
    """Say in words how a proof ended."""
    if outcome.code not in (0, 1):
        return f"**did not run to its end** (pytest's exit code {outcome.code})"
    failed = len(outcome.failures)
    passed = outcome.cases - outcome.skipped - failed
    words = [f"{passed} passed"]
    words += [f"**{failed} failed**"] if failed else []
    words += [f"{outcome.skipped} skipped"] if outcome.skipped else []
    return ", ".join(words)


def machine() -> str:
    """Describe the machine, the date and the versions."""
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        lines = info.read_text().splitlines()
        names = [line.partition(": ")[2] for line in lines if "model name" in line]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor}, {os.cpu_count()} cores, "
        f"{memory:.0f} GB; {platform.system()}, Python {platform.python_version()}, "
        f"{', '.join(versions)}."
    )


def page(proofs: Sequence[Proof], outcomes: Sequence[Outcome]) -> str:
    """Lay the outcomes out as a page of Markdown; a proof without one was not run."""
    by_kind = {outcome.proof.kind: outcome for outcome in outcomes}
    lines = [
        "# Faults that the kit survives",
        "",
        "Made by `make trust`. Each proof damages or disturbs the kit in many ways and "
        "checks what becomes of it: a listed reject or one plain sentence, a complete "
        "valid submission, no traceback, no other answer for what is not damaged.",
        "",
        machine(),
        "",
        "| kind | what was done | cases | outcome | figures | repeat |",
        "|---|---|---|---|---|---|",
        *(row(proof, by_kind.get(proof.kind)) for proof in proofs),
        "",
        "## Failing cases",
        "",
        *failing(outcomes),
    ]
    return "\n".join(lines) + "\n"


def row(proof: Proof, outcome: Outcome | None) -> str:
    """Lay out a proof's line of the table."""
    cells = [proof.kind, proof.done]
    if outcome is None:
        cells += ["", "**not run**", ""]
    else:
        told = [*figures(outcome.properties), f"{outcome.seconds:.0f} s"]
        cells += [f"{outcome.cases:,}", verdict(outcome), "; ".join(told)]
    cells.append(f"`python tests/prove.py {proof.kind}`")
    return "| " + " | ".join(map(in_cell, cells)) + " |"


def failing(outcomes: Sequence[Outcome]) -> list[str]:
    """List the failing cases, or say that there is none."""
    listed = [
        f"- `{outcome.proof.kind}`: {in_cell(name)}: {in_cell(reason)}"
        for outcome in outcomes
        for name, reason in outcome.failures
    ]
    return listed or ["None of those that were run."]


def in_cell(text: str) -> str:
    """Make a text harmless in a line of Markdown."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Run the chosen proofs and show what they showed; exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    proofs = read_proofs()
    kinds = [proof.kind for proof in proofs]
    parser.add_argument("kind", nargs="*", help=f"of {', '.join(kinds)}; default: all")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.name}")
    args = parser.parse_args()
    if unknown := sorted({*args.kind} - {*kinds}):
        parser.error(f"no proof {unknown[0]!r}: choose from {', '.join(kinds)}")
    chosen = [proof for proof in proofs if proof.kind in (args.kind or kinds)]
    outcomes = [run(proof, args.workers) for proof in chosen]
    text = page(proofs, outcomes)
    print(text)
    if args.write:
        REPORT.write_text(text, encoding="utf-8")
    sys.exit(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    main()

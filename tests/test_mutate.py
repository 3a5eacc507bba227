"""The table of planted bugs: each can be planted, and its tests exist."""

import ast
from pathlib import Path

import pytest
from mutate import Mutant, Outcome, find, read_mutants, report

ROOT = Path(__file__).parents[1]


def fault(mutant: Mutant) -> str | None:
    """Say why a mutant cannot be planted, if it cannot."""
    try:
        text = find(mutant).read_text(encoding="utf-8")
        same = ast.dump(ast.parse(text.replace(mutant.old, mutant.new)))
    except (ValueError, SyntaxError) as error:
        return f"{mutant.group}: {mutant.name}: {error}"
    absent = [name for name in mutant.tests if not (ROOT / "tests" / name).is_file()]
    if same == ast.dump(ast.parse(text)) or absent or not mutant.tests:
        return f"{mutant.group}: {mutant.name}: no change, or tests absent: {absent}"
    return None


def test_every_mutant_can_be_planted() -> None:
    mutants = read_mutants()
    assert len(mutants) >= 100
    assert [told for told in map(fault, mutants) if told] == []


def test_code_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="occurs"):
        find(Mutant("group", "name", "import", "", ("test_files.py",)))


def test_survivors_are_told_with_their_reasons() -> None:
    caught = Mutant("a", "a caught bug", "x", "y", ("test_x.py",))
    missed = Mutant("b", "a missed bug", "x", "y", ("test_x.py",), "no one looks")
    page = report(
        [
            Outcome(caught, "src/a.py", "test_x.py::test", 1.0),
            Outcome(missed, "src/b.py", None, 1.0),
        ],
        6,
    )
    assert "**1 of 2 planted were noticed, 50.0 %**, of 6 in the table" in page
    assert "| `src/a.py` | a caught bug | `test_x.py::test` |" in page
    assert "| `src/b.py` | a missed bug | **nobody**: no one looks |" in page

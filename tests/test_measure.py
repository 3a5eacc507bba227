"""The benchmarks' frame: turns, ratios and the tables that they write."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import measure
from benchmarks.measure import (
    alternate,
    machine,
    ratios,
    spread,
    write_table,
)
from src.machine import Gpu


def test_pieces_take_turns_and_warm_ups_do_not_count() -> None:
    order: list[str] = []

    def piece(name: str) -> Callable[[], float]:
        def measured() -> float:
            order.append(name)
            return float(len(order))

        return measured

    values = alternate({"a": piece("a"), "b": piece("b")}, repeats=2, warm_ups=1)
    assert "".join(order) == "abbaab"
    assert values == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_a_ratio_is_taken_within_a_turn() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.5], 1) == "2.5 (1.0 to 3.0)"


def test_a_table_replaces_its_own_section_only(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    write_table("first", [{"": "x", "rate": 1.5}], path)
    write_table("second", [{"": "y", "rate": 2}], path, note="`command`.")
    write_table("first", [{"": "z|", "rate": None}], path)
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## first",
        "## second",
    ]
    rows = [line for line in lines if line.startswith("| ") and "rate" not in line]
    assert rows == ["| --- | ---: |", "| z\\| | - |", "| --- | ---: |", "| y | 2 |"]
    assert any(line.endswith("`command`.") for line in lines)


def test_a_table_says_once_where_and_by_what_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "cpu_model", lambda: "a CPU")
    monkeypatch.setattr(measure, "cores", lambda: 3)
    argv = ["/there/benchmarks/prep_speed.py", "--data", "my data", "--write"]
    monkeypatch.setattr(sys, "argv", argv)
    path = tmp_path / "benchmarks.md"
    write_table("first", [{"": "x", "rate": 1.5}], path, note="In float32.")
    text = path.read_text()
    title, _, about = text.splitlines()[:3]
    assert title == "# Benchmarks"
    assert about  # what the file is
    assert text.count("a CPU, 3 cores, ") == text.count("In float32.") == 1
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "`python -m benchmarks.prep_speed --data 'my data' --write`" in text


def test_a_machines_line_names_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "gpus", lambda: (Gpu("0", "Tesla T4", 16.0),) * 2)
    assert ", Tesla T4, Tesla T4, " in machine()
    monkeypatch.setattr(measure, "gpus", tuple)
    assert ", no GPU, " in machine()


PEAK = """
import numpy as np
from benchmarks.measure import peak_megabytes
before = peak_megabytes()
held = np.ones(300 * 2**20, np.uint8)
del held
print(before, peak_megabytes())
"""


def test_peak_memory_is_the_most_that_a_process_held_itself() -> None:
    held = np.ones(400 * 2**20, np.uint8)  # by this one, which starts it
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    del held
    before, after = map(float, done.stdout.split())
    assert before < 300
    assert after - before == pytest.approx(300, abs=25)


@pytest.mark.parametrize("times", [1, 3])
def test_writing_again_changes_nothing(tmp_path: Path, times: int) -> None:
    path = tmp_path / "benchmarks.md"
    texts = []
    for _ in range(times + 1):
        for section in ("first", "second"):
            write_table(section, [{"": "x", "rate": 1.5}], path)
        texts.append(path.read_text())
    assert len(set(texts)) == 1

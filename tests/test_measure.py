"""The benchmarks' frame: turns, ratios and the tables that they write."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure import alternate, ratios, spread, write_table


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


@pytest.mark.parametrize("times", [1, 3])
def test_writing_again_changes_nothing(tmp_path: Path, times: int) -> None:
    path = tmp_path / "benchmarks.md"
    texts = []
    for _ in range(times + 1):
        for section in ("first", "second"):
            write_table(section, [{"": "x", "rate": 1.5}], path)
        texts.append(path.read_text())
    assert len(set(texts)) == 1

"""The paired differences' tables, sentences and figure."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

from src.metrics_schema import PairedComparison, PairedGroup
from src.reporting.html_report import HtmlReport, Table
from src.reporting.paired_section import (
    add_paired,
    draw_pairs,
    paired_table,
    paired_title,
    verdicts,
)
from src.reporting.plots import OURS, PAPERS


def group(**changes: Any) -> PairedGroup:
    usual = {
        **{"split": "study", "slices": "neighbours", "folds": ["holdout"]},
        **{"studies": 1234, "figures": {"vgg16": 0.934, "vgg11": 0.921, "mn": 0.9}},
        "pairs": [
            pair("vgg16", "vgg11", 0.013, -0.004, 0.03),
            pair("vgg16", "mn", 0.034, 0.016, 0.052, shown=True),
            pair("vgg11", "mn", 0.021, -0.001, 0.043),
        ],
    }
    return usual | changes


def pair(first: str, second: str, *numbers: float, shown: bool = False) -> dict:
    keys = ("difference", "low", "high")
    values = dict(zip(keys, numbers, strict=True))
    return {"first": first, "second": second, **values, "shown": shown}


SCORES = group(
    figures={"a": 0.4012, "b": 0.4112},
    folds=["0", "1"],
    studies=30,
    pairs=[pair("a", "b", -0.01, -0.0162, -0.0038, shown=True)],
)


def test_the_table_is_in_percentage_points_or_in_score() -> None:
    assert paired_table(group(), "top1")[1] == {
        **{"better": "vgg16", "than": "mn", "difference": "+3.4"},
        **{"95 %": "+1.6 to +5.2", "shown": "yes"},
    }
    assert paired_table(group(), "top1")[0]["shown"] == "no"
    [row] = paired_table(SCORES, "score")
    assert (row["difference"], row["95 %"]) == ("-0.0100", "-0.0162 to -0.0038")


def test_the_title_says_what_was_compared_on_what() -> None:
    assert paired_title(group(), "top1") == (
        "Paired differences in top-1, percentage points; study split, slices "
        "neighbours, holdout; 3 pairs, 1,234 studies, 95 % intervals that hold for all "
        "pairs at once"
    )


def test_the_best_entry_is_named_with_what_is_shown_and_what_is_not() -> None:
    comparison: PairedComparison = {
        "groups": [group(), group(split="row")],
        "skipped": ["resnet101", "resnet152"],
    }
    first, second, skipped = verdicts(comparison, "top1")
    assert first == (
        "Best by top-1: vgg16 (93.4 %), shown to be better than mn; not shown against "
        "vgg11 (study split, slices neighbours, holdout; 3 pairs, 1,234 studies)"
    )
    assert "row split (leaks)" in second
    assert skipped.startswith("Not compared, ")
    assert skipped.endswith(": resnet101, resnet152")


def test_the_best_score_is_named_with_four_digits() -> None:
    comparison: PairedComparison = {"groups": [SCORES], "skipped": []}
    assert verdicts(comparison, "score") == [
        "Best by score: a (0.4012), shown to be better than b (study split, slices "
        "neighbours, fold 0 1; 1 pair, 30 studies)"
    ]


def test_a_single_entry_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    page = HtmlReport("a page")
    add_paired(page, {"groups": [], "skipped": ["a"]}, "score", tmp_path / "a.png")
    assert page.blocks == []
    assert list(tmp_path.iterdir()) == []


def test_each_groups_table_is_on_the_page_and_the_figure_once(tmp_path: Path) -> None:
    page = HtmlReport("a page")
    groups = [group(), SCORES]
    path = tmp_path / "pairs.png"
    add_paired(page, {"groups": groups, "skipped": []}, "top1", path)
    tables = [each.content for each in page.blocks if each.kind == "table"]
    assert [len(t.rows) for t in tables if isinstance(t, Table)] == [3, 1]
    assert [each.kind for each in page.blocks].count("drawing") == 1
    assert path.is_file()


def test_entries_without_common_rows_get_a_sentence_alone(tmp_path: Path) -> None:
    page = HtmlReport("a page")
    add_paired(page, {"groups": [], "skipped": ["a", "b"]}, "top1", tmp_path / "a.png")
    assert [block.kind for block in page.blocks] == ["heading", "bullets"]


def test_the_figure_has_each_interval_at_its_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Axes]] = []
    monkeypatch.setattr(plt, "close", lambda figure: drawn.append(figure.axes))
    draw_pairs([group()], "top1", tmp_path / "pairs.png")
    [[axes]] = drawn
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["vgg16 - vgg11", "vgg16 - mn", "vgg11 - mn"]
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2]
    drawn_as = {
        int(bar.get_ydata()[0]): ([*bar.get_xdata()], bar.get_color()) for bar in bars
    }
    assert drawn_as[1] == (pytest.approx([1.6, 5.2]), OURS)
    assert drawn_as[2] == (pytest.approx([-0.1, 4.3]), PAPERS)
    assert axes.yaxis_inverted()

"""The whole page of report.html: its structure, its opening, what it says of data."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fake_condition_runs import description, predicted, write_cache, write_run
from report_entries import CONFUSION, entry

from evaluate import report_runs
from src.cache.crop_cache import open_cache
from src.cache.data_origin import DataOrigin, read_origin, write_origin
from src.competition.folds import row_splits
from src.errors import UserError
from src.files import write_csv
from src.reporting.cost_section import cost_points, cost_tables
from src.reporting.data_section import count_table, grades_table, reasons_table
from src.reporting.drawings import inline_svg
from src.reporting.html_report import HtmlReport
from src.reporting.matrix_tables import matrix_of
from src.reporting.plots import OURS, panels
from src.reporting.summary import result_sentence, result_table

STUDIES = 12
VOID = {"meta", "link", "img", "input", "br", "use"}


class Page(HTMLParser):
    """A page's elements: their names and attributes; and which were left open."""

    def __init__(self, text: str) -> None:
        """Read a page's text."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Open an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        """Note an element of an SVG that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which has to be this one."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [a[name] for _, a in self.elements if a.get(name)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of condition runs of both splits, with rejects of hostile names."""
    here = tmp_path_factory.mktemp("page")
    table = write_cache(here / "cache", STUDIES)
    rejects = pd.DataFrame({"reason": ["no <b>file</b> 12345", "no <b>file</b> 777"]})
    write_csv(rejects, here / "cache" / "rejects.csv")
    runs = here / "jane-doe" / "runs"
    for backbone in ("vgg11", "resnet10t"):
        by_study = predicted(table[table["study_id"] > STUDIES - 2])
        write_run(runs, description(backbone=backbone), by_study)
    by_row = predicted(table[row_splits(len(table), 0) == "test"])
    write_run(runs, description(split="row", slices="repeat"), by_row)
    report_runs(here / "cache", runs, here / "jane-doe" / "report")
    return (here / "jane-doe" / "report" / "report.html").read_text()


def test_every_element_is_closed_and_every_id_is_there_once(report: str) -> None:
    page = Page(report)
    assert page.open == []
    doubled = [name for name, count in Counter(page.values("id")).items() if count > 1]
    assert doubled == []
    assert len(page.values("id")) > 20


def test_every_anchor_and_label_leads_somewhere(report: str) -> None:
    page = Page(report)
    ids = set(page.values("id"))
    inner = [h for h in page.values("href") if h.startswith("#")]
    assert len(inner) > 10
    assert {h[1:] for h in inner} <= ids
    assert set(page.values("for")) <= ids
    headings = {a["id"] for tag, a in page.elements if tag in ("h2", "h3")}
    assert headings <= {h[1:] for h in inner}


def test_tables_have_headers_and_pictures_have_words(report: str) -> None:
    page = Page(report)
    tables = re.findall(r"<table.*?</table>", report, re.S)
    assert len(tables) > 10
    for table in tables:
        assert '<th scope="col"' in table
        assert '<th scope="row"' in table
    assert all(a.get("alt") for tag, a in page.elements if tag == "img")
    drawings = [a for tag, a in page.elements if tag == "svg"]
    assert drawings
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)


def test_nothing_is_fetched_and_no_folder_above_is_named(report: str) -> None:
    page = Page(report)
    targets = [*page.values("src"), *page.values("href"), *page.values("xlink:href")]
    assert all(t.startswith(("#", "data:")) for t in targets)
    assert not re.search(
        r"@import|url\((?!#)|<link(?![^>]*data:)|<script[^>]*src", report
    )
    assert "jane-doe" not in report
    assert "python evaluate.py --cache cache --runs runs --out report" in report


def test_a_reason_is_text_and_its_numbers_are_joined(report: str) -> None:
    assert "<b>" not in report
    assert 'no &lt;b&gt;file&lt;/b&gt; ...</th><td class="number">2</td>' in report


def test_the_trainings_are_on_the_page_as_commands(report: str) -> None:
    start = "python train.py --cache cache --runs runs --task condition"
    flags = "--optimizer adam --epochs 3 --batch-size 8"
    assert f"{start} --backbone resnet10t vgg11 {flags}" in report
    assert f"{start} --backbone vgg11 --split row --slices repeat {flags}" in report


def test_headings_of_the_same_words_have_anchors_of_their_own() -> None:
    page = HtmlReport("x")
    for text in ("Cost: of one", "Cost: of two", "Cost 2", "Cost: of three"):
        page.heading(text)
    ids = [block.content.id for block in page.blocks]
    assert ids == ["cost", "cost-2", "cost-2-2", "cost-3"]


def test_a_matrix_has_counts_and_shares_of_its_rows() -> None:
    matrix = matrix_of(entry())
    assert [[cell.count for cell in row] for row in matrix.rows][4] == [
        *("8", "0", "5", "0", "12.5")
    ]
    shares = [[float(cell.percent) for cell in row] for row in matrix.rows]
    for row, counts in zip(shares, CONFUSION, strict=True):
        expected = [round(100 * n / sum(counts), 1) for n in counts]
        assert row == pytest.approx(expected, abs=0.051)
    assert "81.1 % of 1,234 crops" in matrix.title
    nothing = matrix_of(entry(confusion=[[0] * 5] * 5))
    assert {cell.percent for row in nothing.rows for cell in row} == {"0.0"}


FOUND = {"slice_within_one": 0.9, "sites": 300}
METRICS = {
    "condition": {
        "row": entry(top1=0.99, split="row"),
        "a": entry(top1=0.8, backbone="convnext"),
        "b": entry(top1=0.85),
    },
    "severity": {
        **{"score": 0.51, "floor": 0.78, "calibrated": {"score": 0.48}},
        "calibration": {"gain": 0.03},
    },
    "location": {"A": FOUND, "B": {"slice_within_one": 0.5, "sites": 100}},
    "location_together": {},
}


def test_the_result_is_one_sentence_of_fair_runs() -> None:
    assert result_sentence(METRICS, phantom=True) == (
        "In phantom studies unseen in training, mnasnet1_0 names the right one of five "
        "conditions in 85.0 % of the crops, the grades score 0.480 where the best "
        "guess without an image scores 0.780 (lower is better) and 80.0 % of the "
        "marked sites are found within one slice."
    )
    alone = {"location": METRICS["location"], "location_together": {"A": FOUND}}
    assert result_sentence(alone, phantom=None) == (
        "In studies unseen in training, 90.0 % of the marked sites are found within "
        "one slice."
    )
    leaky = {"condition": {"row": METRICS["condition"]["row"]}}
    assert "mnasnet1_0, on a split that leaks, names" in result_sentence(leaky, None)


def test_the_result_stands_beside_published_ones_and_baselines() -> None:
    condition, severity, location = result_table(METRICS)
    assert condition["ours"] == "85.0 (mnasnet1_0)"
    assert condition["published"] == "88.2 (mnasnet1_0; its split leaks)"
    assert condition["baseline"] == "79.6 (side guessed)"
    assert (severity["ours"], severity["baseline"]) == ("0.480", "0.780 (the prior)")
    assert (location["ours"], location["published"]) == ("80.0", "98.0 (the winners)")
    uncalibrated = {**METRICS["severity"], "calibration": {"gain": 0.0}}
    [row] = result_table({"severity": uncalibrated})
    assert row["ours"] == "0.510"
    unknown = {**uncalibrated, "score": None, "floor": None}
    [row] = result_table({"severity": unknown})
    assert (row["ours"], row["baseline"]) == ("-", "-")


@pytest.mark.parametrize(
    ("origin", "phantom", "words"),
    [
        (None, None, "does not record whether"),
        (DataOrigin(None, "python input_prep.py --limit 9"), False, "No phantoms"),
        (
            DataOrigin({"studies": 5}, "python input_prep.py"),
            True,
            "drawn by a program",
        ),
    ],
)
def test_the_page_says_whether_its_studies_are_phantoms(
    tmp_path: Path, origin: DataOrigin | None, phantom: bool | None, words: str
) -> None:
    table = write_cache(tmp_path / "cache", STUDIES)
    if origin:
        write_origin(origin, tmp_path / "cache")
    by_study = predicted(table[table["study_id"] > STUDIES - 2])
    write_run(tmp_path / "runs", description(), by_study)
    report_runs(tmp_path / "cache", tmp_path / "runs", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert words in page
    command = "python input_prep.py --data DATA" if origin is None else origin.command
    assert command in page
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["phantom"] is phantom


def test_an_origin_is_read_back_or_refused(tmp_path: Path) -> None:
    assert read_origin(tmp_path) is None
    origin = DataOrigin({"studies": 5, "seed": 0}, "python input_prep.py")
    write_origin(origin, tmp_path)
    assert read_origin(tmp_path) == origin
    for held in ("{", "{}", '{"phantom": 3, "command": "x"}'):
        (tmp_path / "origin.json").write_text(held)
        with pytest.raises(UserError, match="cuts nothing anew"):
            read_origin(tmp_path)


def test_the_data_are_counted_by_series_type_and_grade(tmp_path: Path) -> None:
    table = write_cache(tmp_path, STUDIES)
    table.loc[0, "severity"] = "severe"
    table.loc[1, "severity"] = None
    table.loc[119, "view"] = "Axial T2"
    write_csv(table, tmp_path / "crops.csv")
    cache = open_cache(tmp_path)
    # Of each study four crops on T1, two on T2, four axial; the last is another view.
    assert [[*row.values()][1:] for row in count_table(cache)] == [
        *(["12", "12", "48", "0"], ["12", "12", "24", "0"], ["12", "12", "47", "1"]),
        ["12", "36", "119", "1"],
    ]
    grades = {
        row["condition"]: [*row.values()][1:] for row in grades_table(cache.sites)
    }
    assert grades["right neural foraminal narrowing"] == ["0", "22", "1", "1"]
    assert grades["spinal canal stenosis"] == ["0", "24", "0", "0"]


def test_reasons_are_counted_most_frequent_first(tmp_path: Path) -> None:
    assert reasons_table(tmp_path / "none.csv") == []
    reasons = ["T2 is 12.5 mm off", "no T1", "T2 is 3.25 mm off"]
    write_csv(pd.DataFrame({"reason": reasons}), tmp_path / "a.csv")
    assert reasons_table(tmp_path / "a.csv") == [
        {"reason": "T2 is ... mm off", "count": "2"},
        {"reason": "no T1", "count": "1"},
    ]


def cost(**changes: object) -> dict:
    usual = {
        **{"task": "condition", "network": "vgg11", "parameters": 2_000_000},
        **{"epochs": 4, "seconds": 120.0, "epoch_seconds": 30.0},
        "images_per_second": 10.0,
    }
    return usual | changes


def test_the_cost_is_the_mean_of_the_runs_of_a_kind() -> None:
    costs = {
        "a": cost(),
        "b": cost(seconds=360.0, epochs=5),
        "c": cost(task="severity", seconds=None, parameters=None),
    }
    tables = cost_tables(costs, {"a": 90.0, "b": 80.0})
    [row], [lacking] = tables["condition"], tables["severity"]
    assert [*row.values()] == [
        *("vgg11", 2, "2.00", "4.0", "4.5", "30.0", "10", "85.0")
    ]
    assert (lacking["parameters, million"], lacking["training, minutes"]) == ("-", "-")
    assert cost_points(costs, {"a": 90.0, "b": 80.0, "c": 0.5}) == {
        "condition": {"vgg11": [(2.0, 90.0), (6.0, 80.0)]}
    }


def test_a_drawing_keeps_its_words_and_takes_the_pages_colours(tmp_path: Path) -> None:
    for name in ("one", "two"):
        path = tmp_path / f"{name}.png"
        with panels(path, 1, 1, (3, 2), drawing=True) as (axes,):
            axes.plot([0, 1], [0, 1], color=OURS)
            axes.set_title("a < b & c")
    first, second = (inline_svg(tmp_path / f"{n}.svg", 'x "y"') for n in ("one", "two"))
    assert "a &lt; b &amp; c</text>" in first
    assert 'aria-label="x &#34;y&#34;"' in first
    assert "var(--ours)" in first
    assert OURS not in first
    assert "#000000" not in first
    ids = [set(re.findall(r'\bid="(.*?)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = re.findall(r'href="#(.*?)"|url\(#(.*?)\)', first)
    assert {a or b for a, b in used} <= ids[0]
    assert (tmp_path / "one.svg").read_text().count(OURS) > 0

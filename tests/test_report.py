"""The report of synthetic runs: numbers, tables, figures, errors."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import KEY, description, predicted, write_cache, write_run
from matplotlib.image import imread

from evaluate import report_runs
from src import __version__
from src.competition.constants import SEVERITIES
from src.competition.folds import row_splits
from src.competition.prior import uniform
from src.errors import UserError
from src.reporting.paper_results import PAIRS, PAPER_RESULTS
from src.reporting.tables import (
    baselines_table,
    leakage_table,
    sort_as_paper,
    table2,
    table2_short,
)

STUDIES = 12
# A right and a left foramen of a test study, predicted on the wrong side.
WRONG = {
    110: "left_neural_foraminal_narrowing",
    112: "right_neural_foraminal_narrowing",
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, runs of three backbones, and their report."""
    folder = tmp_path_factory.mktemp("kit")
    table = write_cache(folder / "cache", STUDIES)
    by_study = predicted(table[table["study_id"] > STUDIES - 2], WRONG)
    by_row = predicted(table[row_splits(len(table), 0) == "test"])
    runs = folder / "runs"
    for backbone in ("vgg16", "vgg11", "resnet10t"):
        write_run(runs, description(backbone=backbone), by_study)
    write_run(runs, description(seed=1), by_study)
    write_run(runs, description(split="row", slices="repeat"), by_row)
    report_runs(folder / "cache", runs, folder / "report")
    return folder


@pytest.fixture(scope="module")
def metrics(kit: Path) -> dict:
    return json.loads((kit / "report" / "metrics.json").read_text())["condition"]


def test_entries_are_in_the_papers_order(metrics: dict) -> None:
    assert list(metrics) == ["vgg11", "vgg11 (row, repeat)", "vgg16", "resnet10t"]


def test_an_entry_has_the_hand_computed_metrics(metrics: dict) -> None:
    entry = metrics["vgg11"]
    assert entry["n"] == 20
    assert entry["top1"] == pytest.approx(18 / 20)
    assert entry["top1_low"] < entry["top1"] < entry["top1_high"]
    assert entry["foraminal_side"] == pytest.approx(6 / 8)
    assert entry["foraminal_merged"] == 1
    assert (entry["split"], entry["slices"]) == ("study", "neighbours")
    assert [run["seed"] for run in entry["runs"]] == [0, 1]
    assert sum(map(sum, entry["confusion"])) == 20


def test_table_2_has_the_papers_numbers_and_ours(kit: Path) -> None:
    table = pd.read_csv(kit / "report" / "table2.csv").set_index("backbone")
    assert table.loc["vgg16", ["paper", "paper, corrected"]].tolist() == [0.934, 0.9337]
    assert table.loc["vgg16", "ours"] == pytest.approx(0.9)
    assert table.loc["resnet10t", ["paper", "paper's side"]].isna().all()
    assert table.loc["vgg11 (row, repeat)", "split"] == "row"


def test_the_six_fit_a_terminal(metrics: dict) -> None:
    six = {
        name: {**metrics["vgg11"], "backbone": name, "differs_by": "lr 0.001"}
        for name in PAPER_RESULTS
    }
    for rows in (table2_short(six), baselines_table(six), leakage_table(metrics)):
        widths = [max(len(str(row[name])) for row in rows) for name in rows[0]]
        heads = [max(map(len, name.split())) for name in rows[0]]
        assert sum(map(max, widths, heads)) + 3 * len(widths) + 1 <= 100
    assert list(sort_as_paper(dict(reversed(six.items())))) == list(six)
    assert len(table2(six)) == 6


def test_baselines_are_listed_with_their_split(metrics: dict) -> None:
    study, row, real = baselines_table(metrics)
    assert (study["split"], study["crops"]) == ("study", "20")
    assert (study["random side"], study["nearest neighbour"]) == ("80.0", "80.0")
    assert (row["split"], row["neighbour side"]) == ("row", "100.0")
    assert (real["majority class"], real["neighbour side"]) == ("60.0", "99.5")


def test_leakage_is_listed_for_each_test_set(metrics: dict) -> None:
    study, row, paper = leakage_table(metrics)
    assert (study["split"], study["studies"], study["shared image"]) == (
        *("study", "0/2", "0.0 %"),
    )
    shared, tested = map(int, row["studies"].split("/"))
    assert shared == tested > 0
    assert paper["shared image"] == "69.8 %"


def test_the_page_is_self_contained_and_complete(kit: Path) -> None:
    page = (kit / "report" / "report.html").read_text()
    sources = re.findall(r'src="([^"]{22})', page)
    assert set(sources) == {"data:image/png;base64,"}
    assert not re.search("(?:href|src)=.https?:|url\\(.?http|@import", page)
    for words in ("Table 2", "91.4", "99.5", "69.8 %", "leaks", "vgg11 (row, repeat)"):
        assert words in page
    numbers = [int(n) for n in re.findall(r"<figcaption>Figure (\d)", page)]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 8]


def test_the_report_and_its_metrics_name_the_kits_version(kit: Path) -> None:
    metrics = json.loads((kit / "report" / "metrics.json").read_text())
    assert metrics["kit_version"] == __version__
    page = (kit / "report" / "report.html").read_text()
    assert f"version {__version__} of the kit" in page


def test_figures_have_a_legible_size(kit: Path) -> None:
    figures = sorted((kit / "report" / "figures").glob("*.png"))
    assert [path.name.split("_")[0] for path in figures] == [
        "condition",  # the backbones in pairs
        *(f"figure{number}" for number in (1, 2, 3, 4, 5, 8)),
    ]
    for path in figures:
        height, width, _ = imread(path).shape
        assert 200 < height < 3000
        assert 500 < width < 3000


def test_the_pairs_are_the_papers_six() -> None:
    assert [name for pair in PAIRS.values() for name in pair] == list(PAPER_RESULTS)


def test_the_preview_of_a_cache_is_figure_2(kit: Path, tmp_path: Path) -> None:
    preview = kit / "cache" / "preview.png"
    drawn = kit / "report" / "figures" / "figure1_class_counts.png"
    preview.write_bytes(drawn.read_bytes())
    report_runs(kit / "cache", kit / "runs", tmp_path)
    shown = tmp_path / "figures" / "figure2_crop_pipeline.png"
    assert shown.read_bytes() == preview.read_bytes()
    preview.unlink()


def one_run(folder: Path) -> Path:
    """Write a cache and one run of it; return the run's folder."""
    table = write_cache(folder / "cache", STUDIES)
    predictions = predicted(table[table["study_id"] > STUDIES - 2])
    return write_run(folder / "runs", description(), predictions)


@pytest.mark.parametrize("text", [None, "", "{", '{"epoch": 1}\n'])
def test_a_damaged_history_is_refused(tmp_path: Path, text: str | None) -> None:
    history = one_run(tmp_path) / "history.jsonl"
    history.unlink()
    if text is not None:
        history.write_text(text)
    with pytest.raises(UserError, match="history"):
        report_runs(tmp_path / "cache", tmp_path / "runs", tmp_path / "out")


def test_a_run_of_another_cache_is_refused(tmp_path: Path) -> None:
    one_run(tmp_path)
    write_cache(tmp_path / "other", STUDIES + 1)
    with pytest.raises(UserError, match="other crops"):
        report_runs(tmp_path / "other", tmp_path / "runs", tmp_path / "out")


def test_severity_runs_are_scored_by_the_metric(tmp_path: Path) -> None:
    table = write_cache(tmp_path / "cache", STUDIES)
    tested = table[table["study_id"] > STUDIES - 2]
    where = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    predictions = tested[where].assign(truth=1, predicted=1)  # all are moderate
    predictions = predictions.assign(p_normal_mild=0.1, p_moderate=0.8, p_severe=0.1)
    prior = uniform().to_dict("records")
    labels = list(SEVERITIES)
    config = description(
        task="severity", cache_fingerprint=KEY, prior=prior, labels=labels
    )
    write_run(tmp_path / "runs", config, predictions)
    report_runs(tmp_path / "cache", tmp_path / "runs", tmp_path / "report")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    ours = {"severity", "severity_paired", "cost", "phantom", "kit_version"}
    assert set(metrics) == ours
    severity = metrics["severity"]
    # By hand: each family -ln 0.8; no severe canal, predicted 0.1: -ln 0.9.
    assert severity["foraminal"] == pytest.approx(-np.log(0.8))
    assert severity["any_severe"] == pytest.approx(-np.log(0.9))
    assert severity["score"] == pytest.approx((-3 * np.log(0.8) - np.log(0.9)) / 4)
    assert severity["calibration"]["gain"] == 0
    assert (severity["studies"], severity["rows"]) == (2, 20)


def test_severity_predictions_of_another_truth_are_refused(tmp_path: Path) -> None:
    write_cache(tmp_path / "cache", STUDIES)
    config = description(
        task="severity", cache_fingerprint=KEY, labels=list(SEVERITIES)
    )
    write_run(tmp_path / "runs", config, pd.DataFrame({"other": [1]}))
    with pytest.raises(UserError, match="damaged"):
        report_runs(tmp_path / "cache", tmp_path / "runs", tmp_path / "report")


def test_other_entries_of_the_metrics_are_kept_if_they_can_be_read(
    tmp_path: Path,
) -> None:
    one_run(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "metrics.json").write_text('{"submission": {"score": 0.5}}')
    report_runs(tmp_path / "cache", tmp_path / "runs", out)
    metrics = json.loads((out / "metrics.json").read_text())
    ours = {"condition", "condition_paired", "cost", "phantom", "kit_version"}
    assert metrics.keys() == {"submission", *ours}
    (out / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="delete it"):
        report_runs(tmp_path / "cache", tmp_path / "runs", out)

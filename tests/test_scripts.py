"""The four scripts as a user runs them, on a phantom competition and on bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from src.competition import submission, tables
from src.competition.constants import CONDITIONS
from src.inference.findings import FINDINGS_COLUMNS
from src.phantom.cohort import truth_folder

ROOT = Path(__file__).parents[1]


def call(script: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def succeed(script: str, *arguments: object) -> str:
    done = call(script, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def refusal(script: str, *arguments: object) -> str:
    """Run what must fail; return the one sentence it fails with."""
    done = call(script, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{script}: ")
    assert lines[0].endswith(".")
    return lines[0]


SIZE = ("--crop-px", 40, "--crop-slices", 3)


@pytest.fixture(scope="module")
def kit(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cache/ and runs/ made by the first two scripts."""
    folder = tmp_path_factory.mktemp("kit")
    cache, runs = folder / "cache", folder / "runs"
    succeed("input_prep.py", "--data", phantom, "--cache", cache, *SIZE)
    learn = ("--cache", cache, "--runs", runs, "--task", "condition", "--epochs", 1)
    succeed("train.py", *learn, "--backbone", "resnet10t")
    succeed("train.py", *learn, "--backbone", "resnet10t", "--split", "row")
    return folder


def test_prep_leaves_no_point_unaccounted_for(phantom: Path, kit: Path) -> None:
    points = len(tables.read_training(phantom).points)
    crops = pd.read_csv(kit / "cache" / "crops.csv")
    rejects = pd.read_csv(kit / "cache" / "rejects.csv")
    assert len(crops) + len(rejects) == points
    folds = pd.read_csv(kit / "cache" / "folds.csv")
    assert set(folds["split"]) == {"train", "validation", "test"}


def test_prep_a_second_time_cuts_nothing(phantom: Path, kit: Path) -> None:
    before = (kit / "cache" / "crops.npy").stat().st_mtime_ns
    told = succeed(
        *("input_prep.py", "--data", phantom, "--cache", kit / "cache"),
        *SIZE,
    )
    assert "nothing was cut again" in told
    assert (kit / "cache" / "crops.npy").stat().st_mtime_ns == before


def test_other_crops_never_land_in_an_old_cache(phantom: Path, kit: Path) -> None:
    told = refusal("input_prep.py", "--data", phantom, "--cache", kit / "cache")
    assert "40 px" in told
    assert "100 px" in told


def test_a_run_describes_itself(kit: Path) -> None:
    [run] = (kit / "runs").glob("*study*")
    config = json.loads((run / "config.json").read_text())
    assert config["labels"] == list(CONDITIONS)
    assert config["crop"]["crop_px"] == 40
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "history.jsonl", "predictions.csv", "weights.safetensors")
    }
    table = pd.read_csv(run / "predictions.csv")
    folds = pd.read_csv(kit / "cache" / "folds.csv").set_index("study_id")["split"]
    assert set(folds[table["study_id"].unique()]) == {"test"}


def test_the_row_split_tests_on_studies_it_trained_on(kit: Path) -> None:
    [run] = (kit / "runs").glob("*-row-*")
    table = pd.read_csv(run / "predictions.csv")
    assert table["study_id"].nunique() >= 5


def test_a_run_that_is_there_is_not_trained_again(kit: Path) -> None:
    learn = ("--cache", kit / "cache", "--runs", kit / "runs", "--task", "condition")
    told = succeed("train.py", *learn, "--epochs", 1, "--backbone", "resnet10t")
    assert "not trained again" in told
    told = refusal("train.py", *learn, "--epochs", 2, "--backbone", "resnet10t")
    assert "hyperparameters" in told


def test_the_report_is_whole(kit: Path) -> None:
    out = kit / "report"
    succeed(
        *("evaluate.py", "--cache", kit / "cache", "--runs", kit / "runs"),
        *("--out", out),
    )
    metrics = json.loads((out / "metrics.json").read_text())["condition"]
    assert set(metrics) == {"resnet10t", "resnet10t (row, neighbours)"}
    told = metrics["resnet10t"]
    asked = {"top1", "top1_low", "top1_high", "foraminal_side", "confusion", "n"}
    assert asked | {"split", "slices"} <= told.keys()
    assert sum(map(sum, told["confusion"])) == told["n"]
    right = sum(told["confusion"][i][i] for i in range(5))
    assert right / told["n"] == pytest.approx(told["top1"])
    assert (out / "table2.csv").is_file()
    assert "resnet10t" in (out / "report.html").read_text()
    pictures = (
        *("figure1_class_counts", "figure2_crop_pipeline", "figure3_accuracy"),
        *("figure4_loss", "figure8_confusion_others"),
    )
    for picture in pictures:
        data = (out / "figures" / f"{picture}.png").read_bytes()
        assert data.startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def reading(phantom: Path, kit: Path) -> Path:
    """The kit's runs with a location and a severity run beside them."""
    runs = kit / "reading"
    shutil.copytree(kit / "runs", runs)
    learn = ("--cache", kit / "cache", "--runs", runs, "--backbone", "resnet10t")
    where = ("--task", "location", "--input-px", 96, "--batch-size", 12)
    where += ("--epochs", 15, "--patience", 15)  # enough to see some of them
    succeed("train.py", *learn, *where)
    told = succeed("train.py", *learn, "--task", "severity", "--epochs", 1)
    assert "Calibrated 1 severity runs" in told
    return runs


def test_a_test_study_is_read_without_coordinates(phantom: Path, reading: Path) -> None:
    out = reading.parent / "read" / "submission.csv"
    told = succeed(
        *("predict_submission.py", "--data", phantom, "--runs", reading, "--out", out)
    )
    assert "ALL ROWS" not in told
    assert "leaky" in told  # the condition run of the row split is left aside
    submission.check_submission(
        submission.read_submission(out), tables.list_test_studies(phantom)
    )
    findings = pd.read_csv(out.with_name("findings.csv"))
    assert list(findings.columns) == list(FINDINGS_COLUMNS)
    read = findings[findings["source"] != "prior"]
    assert len(read) >= 20
    assert read["seen_condition"].isin(CONDITIONS).all()
    assert read["seen_probability"].between(0.2, 1).all()
    for site in read.itertuples():
        path = phantom / "test_images" / str(site.study_id) / str(int(site.series_id))
        assert (path / f"{int(site.instance_number)}.dcm").is_file()


def test_a_damaged_test_study_keeps_what_can_be_read(
    phantom: Path, reading: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "submission.csv"
    shutil.copytree(phantom, data)
    series = tables.read_test_series(data).set_index("series_description")["series_id"]
    [study] = tables.list_test_studies(data)
    folder = data / "test_images" / str(study)
    for path in (folder / str(series["Sagittal T1"])).iterdir():
        path.write_bytes(b"not DICOM")
    (data / "test_images" / "77").mkdir()
    succeed(*("predict_submission.py", "--data", data, "--runs", reading, "--out", out))
    submission.check_submission(submission.read_submission(out), [77, study])
    findings = pd.read_csv(tmp_path / "findings.csv")
    prior = findings[findings["source"] == "prior"]
    foramina = findings["condition"].str.contains("foraminal")
    assert foramina[prior[prior["study_id"] == study].index].all()
    assert set(prior["study_id"]) == {77, study}
    assert prior["reason"].str.len().min() > 10
    assert not prior["reason"].str.contains(str(tmp_path), regex=False).any()


def test_damaged_runs_cost_no_answer(
    phantom: Path, reading: Path, tmp_path: Path
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "submission.csv"
    shutil.copytree(reading, runs)
    [severity] = runs.glob("severity-*")
    shutil.copytree(severity, runs / "severity-cut")
    weights = runs / "severity-cut" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:999])
    (runs / "old").mkdir()
    (runs / "old" / "config.json").write_text("{}")
    (runs / "calibration.json").write_text("{")
    told = succeed(
        *("predict_submission.py", "--data", phantom, "--runs", runs, "--out", out)
    )
    assert told.count("Skipped: ") == 2
    assert "Not calibrated" in told
    findings = pd.read_csv(tmp_path / "findings.csv")
    assert (findings["source"] != "prior").sum() >= 20


def predict_by(run: Path, data: Path, folder: Path) -> tuple[str, pd.DataFrame]:
    """Predict by one run alone; return what is printed, and the findings."""
    runs, out = folder / "runs", folder / "submission.csv"
    shutil.copytree(run, runs / run.name)
    printed = succeed(
        *("predict_submission.py", "--data", data, "--runs", runs, "--out", out)
    )
    return printed, pd.read_csv(folder / "findings.csv")


def test_location_runs_alone_find_the_sites_and_keep_the_priors_grades(
    phantom: Path, reading: Path, tmp_path: Path
) -> None:
    [located] = reading.glob("location-*")
    printed, findings = predict_by(located, phantom, tmp_path)
    assert "no usable severity run was given" in printed
    assert "ALL ROWS ARE THE PRIOR" in printed
    sites = findings[findings["source"] != "prior"]
    assert len(sites) >= 20
    assert sites[["series_id", "instance_number", "x", "y"]].notna().all(axis=None)
    assert sites["reason"].str.contains("no usable severity run was given").all()
    prior = pd.DataFrame(json.loads((located / "config.json").read_text())["prior"])
    keys = ["condition", "level"]
    both = findings.merge(prior, on=keys, suffixes=("", "_prior"))
    assert both["severe"].to_numpy() == pytest.approx(both["severe_prior"].to_numpy())


def test_severity_runs_alone_keep_the_prior_with_the_reason(
    phantom: Path, reading: Path, tmp_path: Path
) -> None:
    [graded] = reading.glob("severity-*")
    printed, findings = predict_by(graded, phantom, tmp_path)
    assert "Warning: no usable location run" in printed
    assert set(findings["source"]) == {"prior"}
    assert findings["reason"].str.contains("no usable location run").all()


def test_one_file_for_both_outputs_is_refused(phantom: Path, reading: Path) -> None:
    told = refusal(
        *("predict_submission.py", "--data", phantom, "--runs", reading),
        *("--out", "findings.csv"),
    )
    assert "name two" in told


def test_weights_that_have_seen_the_test_are_refused(kit: Path, reading: Path) -> None:
    [run] = reading.glob("location-*")
    weights = run / "weights.safetensors"
    learn = ("--cache", kit / "cache", "--runs", kit / "other", "--task", "location")
    told = refusal(
        *("train.py", *learn, "--backbone", "resnet10t", "--weights", weights),
        *("--folds", 0),
    )
    assert "trained on studies that fold 0 tests" in told


def test_the_report_tells_all_three_tasks(kit: Path, reading: Path) -> None:
    out = kit / "report3"
    report = ("--cache", kit / "cache", "--runs", reading, "--out", out)
    told = succeed("evaluate.py", *report)
    metrics = json.loads((out / "metrics.json").read_text())
    tasks = {"condition", "severity", "location", "location_together"}
    pairs = {"condition_paired", "severity_paired"}
    of_report = {"phantom", "cost", "location_runs", "kit_version"}
    assert set(metrics) == {*tasks, *pairs, *of_report}
    assert metrics["location_together"] == {}  # there is one run of that fold
    parts = {"score", "floor", "spinal", "foraminal", "subarticular", "any_severe"}
    assert parts <= set(metrics["severity"])
    asked = {"median_mm", "within_5mm", "slice_exact", "slice_within_one"}
    asked |= {"level_right", "side_right", "missed"}
    for one in metrics["location"].values():
        assert asked <= set(one)
    assert set(metrics["location"]) <= {"Sagittal T1", "Sagittal T2/STIR", "Axial T2"}
    page = (out / "report.html").read_text()
    for heading in ("Table 2", "How severe", "Where the sites are"):
        assert heading in page
    assert "Severity, unseen studies: 1" in told


def test_attention_needs_slices_to_attend_to(kit: Path) -> None:
    learn = ("--cache", kit / "cache", "--runs", kit / "r", "--backbone", "resnet10t")
    told = refusal("train.py", *learn, "--task", "severity", "--slices", "attention")
    assert "--crop-slices 5" in told


def test_predict_answers_every_study_and_says_it_is_the_prior(
    phantom: Path, kit: Path
) -> None:
    out = kit / "answers" / "submission.csv"
    told = succeed(
        *("predict_submission.py", "--data", phantom, "--runs", kit / "runs"),
        *("--out", out),
    )
    assert "ALL ROWS ARE THE PRIOR" in told
    frame = submission.read_submission(out)
    submission.check_submission(frame, tables.list_test_studies(phantom))
    findings = pd.read_csv(out.with_name("findings.csv"))
    assert list(findings.columns) == list(FINDINGS_COLUMNS)
    assert set(findings["source"]) == {"prior"}
    assert findings["reason"].notna().all()
    left, right = (
        frame[frame["row_id"].str.contains(f"{side}_neural_foraminal_narrowing_l4")]
        for side in ("left", "right")
    )
    assert left.iloc[:, 1:].to_numpy() == pytest.approx(right.iloc[:, 1:].to_numpy())


def test_predict_without_runs_still_answers(phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    told = succeed(
        *("predict_submission.py", "--data", phantom, "--runs", tmp_path / "none"),
        *("--out", out),
    )
    assert "Warning" in told
    submission.check_submission(
        submission.read_submission(out), tables.list_test_studies(phantom)
    )


def test_any_submission_is_scored_beside_the_floor(
    phantom: Path, tmp_path: Path
) -> None:
    folder = truth_folder(phantom)
    ideal = json.loads((folder / "ideal.json").read_text())["score"]
    told = succeed(
        *("evaluate.py", "--submission", folder / "ideal_submission.csv"),
        *("--truth", folder / "train.csv", "--out", tmp_path),
    )
    assert "floor" in told or "prior" in told
    written = json.loads((tmp_path / "metrics.json").read_text())["submission"]
    assert written["score"] == pytest.approx(ideal["score"])
    assert set(written) == {
        *("score", "floor", "spinal", "foraminal", "subarticular", "any_severe")
    }
    assert written["floor"] > written["score"]


def test_a_submission_the_competition_would_refuse_is_refused(
    phantom: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(phantom / "sample_submission.csv").iloc[1:]
    frame.to_csv(tmp_path / "short.csv", index=False)
    truth = truth_folder(phantom) / "train.csv"
    told = refusal(
        *("evaluate.py", "--submission", tmp_path / "short.csv", "--truth", truth)
    )
    assert "left_neural_foraminal_narrowing_l1_l2" in told


@pytest.mark.parametrize("script", ["evaluate.py", "train.py", "input_prep.py"])
def test_wrong_usage_ends_with_2(script: str) -> None:
    done = call(script, "--no-such-flag")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_missing_folders_are_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    prep = refusal("input_prep.py", "--data", absent, "--cache", tmp_path / "c")
    assert "absent" in prep
    learn = ("--runs", tmp_path / "r", "--task", "condition", "--backbone", "resnet10t")
    assert "input_prep.py" in refusal("train.py", "--cache", absent, *learn)
    assert "absent" in refusal("predict_submission.py", "--data", absent, "--runs", "r")
    report = ("--cache", absent, "--runs", absent, "--out", tmp_path / "o")
    assert "input_prep.py" in refusal("evaluate.py", *report)


def test_what_cannot_be_cut_is_listed_with_its_reason(
    phantom: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantom, data)
    points = tables.read_training(data).points
    series = points["series_id"].unique()
    folder = data / "train_images" / str(points["study_id"].iloc[0])
    [emptied, cut] = sorted(folder.iterdir())[:2]
    shutil.rmtree(emptied)
    emptied.mkdir()
    for path in cut.iterdir():
        path.write_bytes(path.read_bytes()[:900])
    told = succeed(
        "input_prep.py", "--data", data, "--cache", tmp_path / "c", "--crop-px", 32
    )
    rejects = pd.read_csv(tmp_path / "c" / "rejects.csv")
    assert set(rejects["series_id"]) == {int(emptied.name), int(cut.name)} & set(series)
    assert rejects["reason"].str.len().min() > 10
    assert "rejects.csv" in told
    crops = pd.read_csv(tmp_path / "c" / "crops.csv")
    assert len(crops) + len(rejects) == len(points)


def test_a_bar_is_drawn_on_a_terminal_alone() -> None:
    code = (
        "from src.console import progress\nwith progress('studies') as tick: tick(1, 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-color"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""

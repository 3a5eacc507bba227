"""The whole real run: its plan, its estimate, its stages and its summary."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from src.competition.folds import FOLDS
from src.errors import UserError
from src.kaggle import full_run, run_estimate, run_plan
from src.kaggle.run_estimate import (
    Measured,
    cache_gb,
    disk_gb,
    duration,
    estimate,
    measure,
    steps_a_run,
)
from src.kaggle.run_plan import (
    COMPETITION,
    Counts,
    Plan,
    Sharing,
    Training,
    choose_plan,
    count_download,
    share_out,
)
from src.kaggle.run_summary import as_markdown, outcome_counts, scores
from src.localization.series_dataset import SeriesDataset
from src.machine import Gpu, Machine
from src.training import step_time

CPU = Machine("Linux", "a CPU", 16, 64.0, 500.0, ())
T4 = Gpu("0", "Tesla T4", 16.1)
PAIR = replace(CPU, gpus=(T4, T4._replace(token="1")))
COUNTS = Counts(studies=10, series=30, files=600, points=250, test_studies=2)


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plan severity by a recipe of the tests' own, of 16 sites a batch."""
    folder = tmp_path / "configs"
    folder.mkdir()
    path = folder / "severity.toml"
    path.write_text('views = "all"\nbatch-size = 16\nepochs = 9\n')
    monkeypatch.setattr(run_plan, "PRESETS", folder)
    return path


# The plan


def test_a_gpu_trains_the_papers_networks_and_a_cpu_smaller_ones() -> None:
    gpu, cpu = (choose_plan(machine, "imagenet", None) for machine in (PAIR, CPU))
    tasks = ["location", "severity", "condition"]
    for plan in (gpu, cpu):
        assert [training.task for training in plan.trainings] == tasks
        assert [t.folds for t in plan.trainings] == ["holdout", "all", "holdout"]
    assert gpu.trainings[2].backbones == ("paper",)
    assert "paper" not in cpu.trainings[2].backbones
    for large, small in zip(gpu.trainings, cpu.trainings, strict=True):
        assert small.epochs <= large.epochs
        assert small.batch_size <= large.batch_size


def test_graders_are_planned_by_their_preset(preset: Path) -> None:
    gpu, cpu = (choose_plan(machine, "none", None) for machine in (PAIR, CPU))
    for plan, epochs in ((gpu, 9), (cpu, 6)):  # a CPU's are at most 6
        _, severity, condition = plan.trainings
        assert (severity.batch_size, severity.epochs) == (16, epochs)
        assert condition.batch_size > 16
        assert (severity.channels, severity.images, severity.px) == ((3, 3), 3, 100)
        assert (condition.channels, condition.images, condition.px) == ((3,), 1, 100)
    preset.write_text('views = "all"\ninput-px = 64\nepochs = 4\n[resnet10t]\nlr = 1\n')
    severity = choose_plan(CPU, "none", None).trainings[1]
    assert (severity.px, severity.epochs) == (64, 4)
    assert choose_plan(CPU, "none", 2).trainings[1].epochs == 2


@pytest.mark.parametrize(
    ("memories", "parts"),
    # By hand, of the six: VGG16, 134.3 M x 16 bytes + 1.5 x n x 8.5 MB + 1.5 GB.
    # 64 images: 4.46 GB; 32: 4.06 GB; 22: 3.93 GB. Of EfficientNet-Lite0 9 MB each:
    # 16 sites of 3 images 2.2 GB.
    [
        ((16.1, 16.1), [1, 1, 1]),
        ((16.1, 4.4), [1, 1, 2]),
        ((4.0,), [1, 1, 3]),
        ((2.0,), [3, 2, 32]),
        ((0.0,), [1, 1, 3]),
    ],
)
@pytest.mark.usefixtures("preset")
def test_a_batch_too_large_for_the_smallest_gpu_comes_in_parts(
    memories: tuple[float, ...], parts: list[int]
) -> None:
    gpus = tuple(T4._replace(memory_gb=memory) for memory in memories)
    plan = choose_plan(replace(CPU, gpus=gpus), "none", 3)
    assert [t.batch_size for t in plan.trainings] == [64, 16, 64]
    assert {t.epochs for t in plan.trainings} == {3}
    assert [t.accumulate for t in plan.trainings] == parts


@pytest.mark.parametrize(
    ("memory", "parts"),
    # By hand: 0.0255, 0.0072 and 0.015 GB an image beside 1.6, 1.6, 1.5 GB; of 32
    # images, or of 16 sites of 3 each.
    [(64.0, [1, 1, 1]), (4.0, [1, 1, 1]), (None, [1, 1, 1]), (1.7, [8, 4, 4])],
)
@pytest.mark.usefixtures("preset")
def test_a_cpu_takes_a_batch_in_parts_only_if_its_memory_is_short(
    memory: float | None, parts: list[int]
) -> None:
    trainings = choose_plan(replace(CPU, memory_gb=memory), "none", None).trainings
    assert [training.batch_size for training in trainings] == [32, 16, 32]
    assert [training.accumulate for training in trainings] == parts


def test_work_is_shared_out_by_gpus_cores_and_memory() -> None:
    assert share_out(PAIR) == Sharing(jobs=2, workers=16, loader_workers=6)
    assert share_out(CPU) == Sharing(jobs=4, workers=16, loader_workers=0)
    assert share_out(replace(CPU, cores=2)) == Sharing(1, 2, 0)
    assert share_out(replace(CPU, memory_gb=6.0)) == Sharing(1, 6, 0)


def test_a_download_is_counted_as_it_will_be_prepared(phantom: Path) -> None:
    counts = count_download(phantom, None)
    files = list((phantom / "train_images").glob("*/*/*.dcm"))
    tables = {
        name: pd.read_csv(phantom / f"{name}.csv")
        for name in ("train", "train_label_coordinates", "train_series_descriptions")
    }
    assert counts == Counts(
        studies=len(tables["train"]),
        series=len(tables["train_series_descriptions"]),
        files=len(files),
        points=len(tables["train_label_coordinates"]),
        test_studies=len(list((phantom / "test_images").iterdir())),
    )
    first = sorted(tables["train"]["study_id"])[:2]
    some = count_download(phantom, 2)
    assert some.studies == 2
    assert some.files == sum(f.parts[-3] in map(str, first) for f in files)
    marked = tables["train_label_coordinates"]["study_id"].isin(first)
    assert some.points == marked.sum()


# The estimate

PLAN = Plan(
    "none",
    (
        Training("location", ("a",), "holdout", 8, 3),
        Training("severity", ("a", "b"), "all", 16, 2),
    ),
)
STEPS = [
    {"a": {"seconds": 0.5, "parameters": 1e6}},
    {
        "a": {"seconds": 0.1, "parameters": 2e6},
        "b": {"seconds": 0.3, "parameters": 3e6},
    },
]
MEASURED = Measured(file_s=0.02, device="CPU", gpu=False, steps=STEPS)


def test_times_are_counts_times_what_was_measured() -> None:
    location, severity = PLAN.trainings
    assert steps_a_run(location, COUNTS) == 3 * 24  # .8 of 30 series, 6 of 8 slices
    assert steps_a_run(severity, COUNTS) == 2 * 12  # .76 of 250 crops by 16: 11.9
    told = seconds(MEASURED, Sharing(1, 4, 0))
    assert told == {
        "prepare": pytest.approx(600 * 0.02 / 4),
        "location": pytest.approx(72 * 0.5),
        "severity": pytest.approx(FOLDS * 24 * (0.1 + 0.3)),
    }


@pytest.mark.parametrize("batch_size", [4, 8, 13, 64])
def test_a_locators_steps_are_its_datasets_batches(batch_size: int) -> None:
    location = replace(PLAN.trainings[0], batch_size=batch_size, epochs=1)
    split = SeriesDataset.split_batches
    batches = split(SimpleNamespace(), np.arange(24), batch_size)  # .8 of 30 series
    assert steps_a_run(location, COUNTS) == len(batches)


def test_an_estimate_says_what_it_is_the_product_of() -> None:
    rows = estimate(PLAN, COUNTS, replace(MEASURED, gpu=True), Sharing(2, 4, 0))
    assert rows["prepare"].basis == "600 files x 20.0 ms, 4 processes"
    assert rows["location"].basis == "1 run x 72 steps x 0.5 s, 2 GPUs"
    assert rows["severity"].basis == "10 runs x 24 steps x 0.2 s, 2 GPUs"
    assert [duration(s) for s in (None, 90.0, 7200.0)] == ["-", "1.5 min", "2.0 h"]


def seconds(measured: Measured, sharing: Sharing) -> dict[str, float | None]:
    rows = estimate(PLAN, COUNTS, measured, sharing)
    return {name: row.seconds for name, row in rows.items()}


def test_only_gpus_make_runs_side_by_side_faster() -> None:
    alone = seconds(MEASURED, Sharing(1, 4, 0))
    assert seconds(MEASURED, Sharing(2, 4, 0)) == alone
    on_gpus = seconds(replace(MEASURED, gpu=True), Sharing(2, 4, 0))
    assert on_gpus["severity"] == pytest.approx(alone["severity"] / 2)


def test_what_was_not_measured_has_no_estimate() -> None:
    nothing = Measured(None, "unknown", False, None)
    told = seconds(nothing, Sharing(1, 4, 0))
    assert told == dict.fromkeys(("prepare", "location", "severity"))


def test_space_is_that_of_caches_weights_and_checkpoints() -> None:
    weights = 1e6 + FOLDS * (2e6 + 3e6)
    crops = 250 * 3 * 5 * 100 * 100  # three views of five slices
    expected = (10 * 3.75e6 + crops + 4 * (2 * weights + 4 * 2 * 3e6)) / 1e9
    found = disk_gb(PLAN, COUNTS, MEASURED, Sharing(2, 4, 0))
    assert found == pytest.approx(expected)


def test_the_competitions_cache_is_what_the_readme_says() -> None:
    # 7.3 GB of crops of all views and 7.4 GB of overviews.
    assert cache_gb(COMPETITION) == pytest.approx(7.3 + 7.4, abs=0.05)


def test_a_disk_that_is_too_small_is_refused() -> None:
    full_run.require_space(499.0, CPU, Path("out"))
    with pytest.raises(UserError, match=r"needs about 501\.0 GB .* 500\.0 GB free"):
        full_run.require_space(501.0, CPU, Path("out"))


@pytest.mark.slow
def test_files_and_steps_are_timed_here(phantom: Path) -> None:
    small = Plan("none", (Training("location", ("resnet10t",), "holdout", 2, 1),))
    found = measure(phantom / "train_images", small)
    assert 0 < found.file_s < 1
    [[name, step]] = found.steps[0].items()
    assert name == "resnet10t"
    assert step["seconds"] > 0
    assert step["parameters"] > 4e6  # resnet10t's own


def test_steps_are_timed_in_the_plans_parts(
    phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict] = []

    def time_steps(networks: list[dict]) -> dict:
        asked.extend(networks)
        return {"device": "CPU", "gpu": False, "steps": None}

    monkeypatch.setattr(run_estimate, "_time_steps", time_steps)
    parts = replace(PLAN.trainings[1], accumulate=3)
    measure(phantom / "train_images", Plan("none", (PLAN.trainings[0], parts)))
    assert [each["accumulate"] for each in asked] == [1, 3]
    assert [each["batch_size"] for each in asked] == [8, 16]
    assert [each["channels"] for each in asked] == [(3,), (3, 3)]


def test_a_timed_steps_batch_passes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    steps: list[object] = []
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5))
    model.register_forward_hook(lambda _, given, __: shown.append(len(given[0])))
    monkeypatch.setattr(step_time, "build", lambda name, outputs: model)
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda *given: steps.append(step(*given))
    )
    monkeypatch.setattr(torch.optim.Adam, "step", torch.optim.AdamW.step)
    step_time.time_all("condition", ["resnet18"], batch_size=6, px=8, accumulate=2)
    assert shown == [3, 3] * (1 + step_time.STEPS)
    assert len(steps) == 1 + step_time.STEPS


def test_a_timed_step_of_a_grader_sees_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, ...]] = []
    made = step_time.ViewAttention

    def recorded(*given: object) -> torch.nn.Module:
        model = made(*given)
        model.register_forward_hook(lambda _, given, __: shown.append(given[0].shape))
        return model

    monkeypatch.setattr(step_time, "ViewAttention", recorded)
    monkeypatch.setattr(step_time, "STEPS", 1)
    given = {"batch_size": 2, "px": 32, "channels": [3, 3]}
    found = step_time.time_all("severity", ["resnet10t"], **given)
    assert found["resnet10t"]["seconds"] > 0
    assert shown == [(2, 3, 3, 32, 32)] * 2


def test_a_grader_learns_from_each_of_its_grades() -> None:
    outputs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 2])
    by_hand = [
        -torch.log(torch.exp(grade[label]) / torch.exp(grade).sum())
        for site, label in zip(outputs, target, strict=True)
        for grade in site
    ]
    found = step_time.NoiseTask(1, 8, [3]).loss(outputs, target)
    assert found.item() == pytest.approx(sum(by_hand).item() / 8, rel=1e-5)


# The stages


@pytest.fixture
def start(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: Path
) -> Callable:
    """Return what starts a run whose scripts are not run but write their results."""
    monkeypatch.setattr(full_run, "describe_machine", lambda folder: CPU)
    steps = [{"resnet10t": {"seconds": 0.1, "parameters": 5e6}}] * 2
    steps += [dict.fromkeys(("mnasnet0_75", "mnasnet1_0"), steps[0]["resnet10t"])]
    measured = Measured(0.01, "CPU", False, steps)
    timed: list[Plan] = []
    monkeypatch.setattr(
        full_run, "measure", lambda images, plan: timed.append(plan) or measured
    )
    folder = tmp_path / "out"

    def run(*flags: object, fails: str = "no stage") -> list[str]:
        ran: list[str] = []

        def call(command: list[str]) -> None:
            ran.append(" ".join(command))
            if fails in ran[-1]:
                raise UserError("it exited with code 1")
            for path in ("cache/check.csv", "cache/folds.csv", "report/metrics.json"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text("{}" if "json" in path else "what\nodd\n")
            (folder / "submission.csv").write_text("row_id\n1_a\n")
            for path in ("runs", "staged"):
                (folder / path).mkdir(exist_ok=True)

        monkeypatch.setattr(full_run, "call_script", call)
        given = ["--data", phantom, "--folder", folder, "--weights", "none", *flags]
        monkeypatch.setattr(sys, "argv", ["full_run", *map(str, given)])
        full_run.main()
        return ran

    return SimpleNamespace(run=run, folder=folder, timed=timed)


SCRIPTS = [
    *("input_prep.py", "input_prep.py", "train.py", "train.py", "train.py"),
    *("evaluate.py", "predict_submission.py", "-m"),
]


def test_the_stages_run_in_order_and_once(start: SimpleNamespace) -> None:
    ran = start.run("--epochs", 2)
    assert [command.split()[0] for command in ran] == SCRIPTS
    assert "--check" in ran[0]
    assert "--check" not in ran[1]
    tasks = [re.search(r"--task (\w+)", command).group(1) for command in ran[2:5]]
    assert tasks == ["location", "severity", "condition"]
    assert all("--epochs 2 " in command for command in ran[2:5])
    batches = [re.search(r"--batch-size (\d+)", each).group(1) for each in ran[2:5]]
    assert batches == ["32", "16", "32"]
    assert all("--accumulate 1 " in command for command in ran[2:5])
    assert "--views all" in ran[1]
    presets = [re.search(r"configs/(\w+)", each).group(1) for each in ran[2:5]]
    assert presets == ["scratch", "severity", "scratch"]
    assert "--folds all" in ran[3]
    assert "--kit-only" in ran[-1]
    assert start.run("--epochs", 2) == []
    assert len(start.timed) == 1  # for the estimate, on the same machine


def test_a_failed_stage_stops_the_run_which_then_resumes_there(
    start: SimpleNamespace,
) -> None:
    with pytest.raises(UserError, match="exited with code 1"):
        start.run("--owner", "alice", fails="--task severity")
    summary = json.loads((start.folder / full_run.SUMMARY_FILE).read_text())
    finished = {row["stage"]: row["finished"] for row in summary["stages"]}
    assert list(finished.values()) == [True] * 3 + [False] * 5
    assert summary["scores"] == {}
    ran = start.run("--owner", "alice")
    assert [command.split()[0] for command in ran] == SCRIPTS[3:]
    assert "--owner alice" in ran[-1]


def test_a_finished_stage_whose_result_is_gone_runs_again(
    start: SimpleNamespace,
) -> None:
    start.run()
    (start.folder / "cache" / "folds.csv").unlink()
    [again] = start.run()
    assert again.startswith("input_prep.py")
    assert "--check" not in again


def test_another_request_is_refused_in_the_same_folder(start: SimpleNamespace) -> None:
    start.run("--limit", 3)
    with pytest.raises(UserError, match="other data or flags"):
        start.run("--limit", 4)


def test_a_folder_from_before_all_views_is_refused(start: SimpleNamespace) -> None:
    start.run()
    path = start.folder / full_run.STATE_FILE
    held = json.loads(path.read_text())
    del held["request"]["views"]  # its cache has the marked views alone
    path.write_text(json.dumps(held))
    with pytest.raises(UserError, match="other data or flags"):
        start.run()


def test_a_resumed_run_keeps_its_networks_on_another_machine(
    start: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError):
        start.run(fails="--task location")
    small = replace(CPU, cores=2, memory_gb=4.0, gpus=(T4,))  # a batch would be 64
    monkeypatch.setattr(full_run, "describe_machine", lambda folder: small)
    location = start.run()[0]
    assert "--batch-size 32 " in location
    assert "--jobs 1 " in location


def test_the_memory_of_a_step_is_told(
    start: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    small = replace(CPU, memory_gb=1.7)
    monkeypatch.setattr(full_run, "describe_machine", lambda folder: small)
    ran = start.run()
    assert [re.search(r"--accumulate (\d+)", each).group(1) for each in ran[2:5]] == [
        *("8", "4", "4")
    ]
    told = " ".join(capsys.readouterr().out.split())
    assert "location 1.7 GB (batch 32 in 8 parts), severity 1.7 GB (batch 16" in told
    assert "of 1.7 GB" in told


def test_a_plan_from_before_accumulation_has_whole_batches(
    start: SimpleNamespace,
) -> None:
    start.run()
    path = start.folder / full_run.STATE_FILE
    held = json.loads(path.read_text())
    for training in held["plan"]["trainings"]:
        del training["accumulate"]
    path.write_text(json.dumps(held))
    progress = full_run.Progress(path, held["request"], Plan("none", ()))
    assert [each.accumulate for each in progress.plan.trainings] == [1, 1, 1]


# The summary


def test_a_summary_has_the_scores_and_no_names(tmp_path: Path) -> None:
    metrics = {
        "condition": {
            "resnet18": {"backbone": "resnet18", "top1": 0.5, "runs": [{"name": "x"}]}
        },
        "severity": {"score": 0.6, "floor": 0.7, "calibrated": {"score": 0.55}},
        "location": {"Axial T2": {"median_mm": 3.5, "missed": 0.0}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    found = scores(tmp_path)
    assert found["condition"][0]["top1"] == 0.5
    assert [row["score"] for row in found["severity"]] == [0.6, 0.55]
    assert found["location"][0]["series"] == "Axial T2"
    assert found["location"][0]["median_mm"] == 3.5
    page = as_markdown({"scores": found})
    assert "| Axial T2 | 3.500 |" in page
    assert "| resnet18 | 0.500 |" in page
    assert scores(tmp_path / "absent") == {}


def test_outcomes_are_counted_and_no_study_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    check = pd.DataFrame(
        {"study_id": [987654, 987654, 3], "what": ["b", "a", "b"], "detail": "987654"}
    )
    check.to_csv(cache / "check.csv", index=False)
    crops = pd.DataFrame({"study_id": [987654] * 4})
    crops.to_csv(cache / "crops.csv", index=False)
    (tmp_path / "runs" / ".unfinished").mkdir(parents=True)
    (tmp_path / "runs" / "one").mkdir()
    for run in (".unfinished", "one"):
        (tmp_path / "runs" / run / "config.json").touch()
    found = outcome_counts(cache, tmp_path / "runs", tmp_path / "submission.csv")
    assert found["check_findings"] == {"a": 1, "b": 2}
    assert (found["crops"], found["rejects"], found["runs"]) == (4, None, 1)
    assert "987654" not in json.dumps(found) + as_markdown({"outcome": found})


def test_a_summary_tells_neither_folder_nor_study(
    start: SimpleNamespace, phantom: Path
) -> None:
    start.run()
    texts = [
        (start.folder / name).read_text()
        for name in (full_run.SUMMARY_FILE, "submission-summary.md")
    ]
    for text in texts:
        assert "a CPU" in text  # the hardware
        for study in (phantom / "train_images").iterdir():
            assert study.name not in text
        for part in (str(start.folder), str(phantom), str(Path.home())):
            assert part not in text
    plan = json.loads(texts[0])["plan"]
    assert [each["task"] for each in plan] == ["location", "severity", "condition"]
    assert asdict(count_download(phantom, None)) == json.loads(texts[0])["counts"]

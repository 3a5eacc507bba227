"""What the notebooks hand on: arguments, limits, environments, and what they note."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from IPython import display as ipython
from kaggle_kit import make_kit

import train as train_script
from src.competition import submission
from src.competition.constants import TARGETS
from src.competition.prior import uniform
from src.errors import UserError
from src.inference.findings import prior_findings
from src.kaggle import kit, mounts, notebook_display, run_inference, run_training
from src.kaggle.manifest import read_manifest
from src.kaggle.names import COMPETITION
from src.kaggle.run_inference import (
    InferenceResult,
    in_rerun,
    predict_test_set,
    read_run_info,
)

RERUN = "KAGGLE_IS_COMPETITION_RERUN"
STUDIES = [5, 6]
Does = Callable[[Path, Path], None]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mounted competition of two test studies, and a training study, all severe."""
    folder = tmp_path / "input" / "competitions" / COMPETITION
    folder.mkdir(parents=True)
    lines = ["study_id,series_id,series_description", "5,50,Axial T2", "6,60,Axial T2"]
    (folder / "test_series_descriptions.csv").write_text("\n".join(lines) + "\n")
    labels = pd.DataFrame([[1, *["severe"] * 25]], columns=["study_id", *TARGETS])
    labels.to_csv(folder / "train.csv", index=False)
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "input"))
    for name in (RERUN, "KIT_LIMIT_MINUTES", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A whole kit with one run."""
    return make_kit(tmp_path)


def findings_of(located: int) -> pd.DataFrame:
    """Findings of both studies, of which the first few sites are located."""
    table = prior_findings(STUDIES, uniform(), "no readable series")
    table.loc[: located - 1, ["source", "reason"]] = ("located", None)
    return table


def answers(out: Path, findings: Path) -> None:
    submission.write_submission(submission.from_prior(STUDIES, uniform()), out)
    findings_of(50).to_csv(findings, index=False)


def scripted(monkeypatch: pytest.MonkeyPatch, does: Does = answers) -> list[Any]:
    """Let a function of its two outputs be the script; return its calls."""
    calls = []

    def run(command: list[str], **given: Any) -> None:
        flags = dict(zip(command[2::2], command[3::2], strict=True))
        calls.append(SimpleNamespace(command=command[:2], flags=flags, **given))
        does(Path(flags["--out"]), Path(flags["--findings"]))

    monkeypatch.setattr(run_inference.subprocess, "run", run)
    return calls


def test_the_script_gets_every_path(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, out = scripted(monkeypatch), tmp_path / "out"
    predict_test_set(staged, out)
    [call] = script
    assert call.command == [sys.executable, str(staged / "predict_submission.py")]
    limit = call.flags.pop("--limit-minutes")
    assert float(limit) == run_inference.LIMIT_MINUTES
    assert call.flags == {
        **{"--data": str(data), "--runs": str(staged / "runs")},
        **{"--out": str(out / "submission.csv")},
        "--findings": str(out / "findings.csv"),
    }
    assert call.check is True


@pytest.mark.parametrize(("setting", "minutes"), [(None, 30), ("2.5", 2.5)])
def test_the_script_has_its_limit_in_minutes_and_is_stopped_some_minutes_after(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    minutes: float,
) -> None:
    if setting:
        monkeypatch.setenv("KIT_LIMIT_MINUTES", setting)
    script = scripted(monkeypatch)
    predict_test_set(staged, tmp_path, limit_minutes=30)
    [call] = script
    assert float(call.flags["--limit-minutes"]) == minutes
    assert call.timeout == pytest.approx(60 * (minutes + run_inference.GRACE_MINUTES))


def test_the_limits_leave_room_in_nine_hours_and_use_most_of_them() -> None:
    assert run_inference.LIMIT_MINUTES > 7 * 60
    assert run_inference.GRACE_MINUTES >= 5
    assert run_inference.LIMIT_MINUTES + run_inference.GRACE_MINUTES <= 9 * 60 - 30


def test_a_timeout_is_reported_in_minutes(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: Path) -> None:
        raise subprocess.TimeoutExpired("script", 1800)

    scripted(monkeypatch, hangs)
    result = predict_test_set(staged, tmp_path)
    assert result.problems[0].endswith("it was stopped after 30 minutes")


def test_findings_of_an_earlier_run_are_not_used(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings_of(50).to_csv(tmp_path / "findings.csv", index=False)
    scripted(monkeypatch, lambda *_: None)
    result = predict_test_set(staged, tmp_path)
    assert result.findings is None
    assert read_run_info(tmp_path)["rows"] == {}


def test_the_kits_decoders_come_first_on_the_scripts_path(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = os.pathsep.join(["/one", "/two"])
    unpacked = staged / "wheels" / "decoder-1.0-py3-none-any"
    unpacked.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", others)
    monkeypatch.setenv("SOME_SETTING", "kept")
    script = scripted(monkeypatch)
    predict_test_set(staged, tmp_path)
    [call] = script
    _, *rest = call.env["PYTHONPATH"].split(os.pathsep)
    assert rest == [str(unpacked), "/one", "/two"]
    assert call.env["SOME_SETTING"] == "kept"


def test_unfit_decoders_are_reported_and_the_script_runs_without(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Path) -> None:
        raise UserError("The kit's decoders do not fit")

    monkeypatch.setattr(run_inference, "install_wheels", refuse)
    script = scripted(monkeypatch)
    result = predict_test_set(staged, tmp_path)
    assert script[0].env["PYTHONPATH"] == ""
    assert "The kit's decoders do not fit" in result.problems


@pytest.mark.parametrize("column", ["study_id", "level", "source", "reason", "severe"])
def test_findings_without_a_column_are_reported_and_ignored(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    column: str,
) -> None:
    def script(out: Path, findings: Path) -> None:
        answers(out, findings)
        findings_of(50).drop(columns=column).to_csv(findings, index=False)

    scripted(monkeypatch, script)
    result = predict_test_set(staged, tmp_path)
    assert result.findings is None
    assert result.problems[0].startswith("its findings are unusable")


def lacks_a_study(out: Path, findings: Path) -> None:
    submission.write_submission(submission.from_prior([5], uniform()), out)
    findings_of(50).to_csv(findings, index=False)


def is_cut(out: Path, findings: Path) -> None:
    out.write_text("row_id,normal_mild")


@pytest.mark.parametrize("does", [lacks_a_study, is_cut])
def test_the_prior_is_restored_after_an_invalid_submission(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: Does,
) -> None:
    before = []

    def script(out: Path, findings: Path) -> None:
        before.append(submission.read_submission(out))
        does(out, findings)

    scripted(monkeypatch, script)
    result = predict_test_set(staged, tmp_path)
    after = submission.read_submission(result.submission)
    pd.testing.assert_frame_equal(after, before[0])
    submission.check_submission(after, STUDIES)
    assert after["severe"].min() > 0.7  # as the mounted labels say, and not a third
    assert any("its submission is unusable" in text for text in result.problems)


def test_one_graded_site_is_enough(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads(count: int) -> InferenceResult:
        def script(out: Path, findings: Path) -> None:
            answers(out, findings)
            findings_of(count).to_csv(findings, index=False)

        scripted(monkeypatch, script)
        return predict_test_set(staged, tmp_path)

    assert reads(1).problems == []
    assert reads(0).problems == ["every prediction is the prior: no site was graded"]


@pytest.mark.parametrize("flag", [None, "1", "true"])
def test_problems_are_raised_outside_the_rerun_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str | None
) -> None:
    monkeypatch.delenv(RERUN, raising=False)
    if flag:
        monkeypatch.setenv(RERUN, flag)
    path = tmp_path / "submission.csv"
    submission.write_submission(submission.from_prior(STUDIES, uniform()), path)
    whole = InferenceResult(tmp_path, "kit", path, STUDIES)
    whole.verify()
    broken = InferenceResult(
        tmp_path, "kit", path, STUDIES, problems=["no weights", "no script"]
    )
    if flag:
        broken.verify()
    else:
        with pytest.raises(UserError, match="no weights; no script"):
            broken.verify()
    short = InferenceResult(tmp_path, "kit", path, [*STUDIES, 7])
    with pytest.raises(UserError, match="7_left"):
        short.verify()


@pytest.mark.parametrize("flag", ["False", "FALSE", "0", ""])
def test_a_false_flag_is_no_rerun(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setenv(RERUN, flag)
    assert not in_rerun()


@pytest.mark.parametrize("rerun", [True, False])
def test_run_info_has_counts_time_and_memory(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rerun: bool,
) -> None:
    if rerun:
        monkeypatch.setenv(RERUN, "1")
    used = {resource.RUSAGE_CHILDREN: 3_000_000, resource.RUSAGE_SELF: 9_999_999}
    monkeypatch.setattr(
        resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=used[who])
    )

    def script(out: Path, findings: Path) -> None:
        answers(out, findings)
        findings_of(20).to_csv(findings, index=False)
        monkeypatch.setattr(time, "monotonic", lambda: 107.25)

    scripted(monkeypatch, script)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    predict_test_set(staged, tmp_path)
    assert read_run_info(tmp_path) == {
        **{"kit": read_manifest(staged)["kit"], "rerun": rerun, "studies": 2},
        **{"rows": {"located": 20, "prior": 30}, "seconds": 7.25},
        **{"peak_mb": 2930, "problems": []},
    }


NOT_A_MANIFEST = [
    *(b"", b"{", b"[]", b"null", b'"kit"', b"\xff\xfe{}", b"[" * 100_000, b"{}"),
]


def keeps_answering(
    staged: Path, out: Path, monkeypatch: pytest.MonkeyPatch, sentence: str
) -> None:
    """Hold that problems stop the notebook outside the rerun and not within it."""
    result = predict_test_set(staged, out)
    with pytest.raises(UserError, match=sentence) as refusal:
        result.verify()
    assert "\n" not in str(refusal.value)
    monkeypatch.setenv(RERUN, "1")
    result = predict_test_set(staged, out)
    result.verify()
    submission.check_submission(
        submission.read_submission(out / "submission.csv"), STUDIES
    )


@pytest.mark.parametrize("content", NOT_A_MANIFEST)
def test_a_damaged_manifest_costs_no_submission(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    scripted(monkeypatch)
    (staged / "manifest.json").write_bytes(content)
    keeps_answering(staged, tmp_path / "out", monkeypatch, r"manifest\.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("kit", 7), ("kit", None), ("commit", []), ("packages", "torch")),
        *(("files", []), ("files", {"train.py": None}), ("runs", None), ("runs", [1])),
        ("files", {"train.py": {"sha256": "0", "bytes": "12"}}),
        ("files", {"train.py": {"sha256": 0, "bytes": 12}}),
        ("files", {"../secret": {"sha256": "0", "bytes": 12}}),
        ("files", {"/etc/passwd": {"sha256": "0", "bytes": 12}}),
    ],
)
def test_a_manifest_of_other_types_costs_no_submission(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: object,
) -> None:
    scripted(monkeypatch)
    path = staged / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    sentence = r"manifest\.json (has no valid|lists a run)"
    keeps_answering(staged, tmp_path / "out", monkeypatch, sentence)


def test_a_long_name_in_the_manifest_is_a_missing_file(
    data: Path, staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch)
    path = staged / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["é" * 300] = {"sha256": "0", "bytes": 12}
    path.write_text(json.dumps(manifest))
    keeps_answering(staged, tmp_path / "out", monkeypatch, "NOT FIT TO SUBMIT")


@pytest.mark.parametrize("limit", ["soon", "nan", "-1", "inf", ""])
def test_a_limit_that_is_no_number_is_reported_and_not_followed(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    monkeypatch.setenv("KIT_LIMIT_MINUTES", limit)
    script = scripted(monkeypatch)
    result = predict_test_set(staged, tmp_path)
    assert float(script[0].flags["--limit-minutes"]) == run_inference.LIMIT_MINUTES
    [problem] = result.problems
    assert problem.startswith("KIT_LIMIT_MINUTES is not followed: ")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"study_id\nfive\n"])
def test_studies_without_a_readable_table_are_those_with_folders(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    scripted(monkeypatch)
    (data / "test_series_descriptions.csv").write_bytes(content)
    with pytest.raises(UserError):
        predict_test_set(staged, tmp_path / "none")
    for name in ("5", "6", ".7", "8x"):
        (data / "test_images" / name).mkdir(parents=True)
    (data / "test_images" / "9").touch()
    keeps_answering(staged, tmp_path / "out", monkeypatch, "the table is left")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"study_id\n1\n"])
def test_damaged_training_labels_leave_the_uniform_prior(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    scripted(monkeypatch, lambda *_: None)
    (data / "train.csv").write_bytes(content)
    keeps_answering(staged, tmp_path / "out", monkeypatch, "the prior is uniform: ")
    after = submission.read_submission(tmp_path / "out" / "submission.csv")
    assert set(after["severe"].round(6)) == {0.333333}


@pytest.mark.parametrize(
    "step",
    ["verify", "install_wheels", "keeps_prior", "write_json", "_read_findings"],
)
def test_an_error_nobody_foresaw_costs_no_submission(
    data: Path,
    staged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def fails(*_: object) -> None:
        raise TypeError("not foreseen")

    scripted(monkeypatch)
    monkeypatch.setattr(run_inference, step, fails)
    keeps_answering(staged, tmp_path / "out", monkeypatch, ": not foreseen")


@pytest.mark.parametrize("content", [*NOT_A_MANIFEST, b'{"kit": "x"}'])
def test_a_damaged_run_info_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run_info.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run_info\.json"):
        read_run_info(tmp_path)


def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let no script of the training notebook run; return the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> None:
        assert check
        commands.append(command[1:] if command[0] == sys.executable else command)

    monkeypatch.setattr(run_training.subprocess, "run", run)
    return commands


KIT, DATA, CACHE, RUNS = (Path("/in") / name for name in ("kit", "data", "c", "r"))


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(run_training, "gpus", lambda: ("a GPU",) * count)


@pytest.mark.parametrize(("count", "processes"), [(0, "1"), (1, "1"), (2, "2")])
@pytest.mark.parametrize(
    "flags",
    [
        ["--task", "severity"],
        ["--backbone", "vgg11", "--folds", "3", "--task", "severity"],
        ["--backbone", "vgg11", "vgg16", "--folds", "all", "--jobs", "1"],
        ["--backbone", "vgg11", "--folds", "all", "--tune", "4"],
    ],
)
def test_a_single_run_has_a_process_on_each_gpu(
    monkeypatch: pytest.MonkeyPatch, count: int, processes: str, flags: list[str]
) -> None:
    commands = called(monkeypatch)
    with_gpus(monkeypatch, count)
    run_training.train(KIT, CACHE, RUNS, flags)
    [launcher] = commands
    script = launcher.index("/in/kit/train.py")
    assert launcher[:2] == ["-m", "torch.distributed.run"]
    assert launcher[script - 2 : script] == ["--nproc-per-node", processes]
    assert launcher[script + 1 :] == ["--cache", "/in/c", "--runs", "/in/r", *flags]


@pytest.mark.parametrize(
    "flags",
    [
        ["--backbone", "paper", "--weights", "imagenet"],
        ["--backbone", "vgg11", "vgg16", "--task", "condition"],
        ["--task", "severity", "--folds", "all", "--backbone", "vgg11"],
        ["--folds", "0", "4", "--backbone", "vgg11"],
    ],
)
def test_several_runs_are_trained_one_a_gpu(
    monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    commands = called(monkeypatch)
    with_gpus(monkeypatch, 2)
    run_training.train(KIT, CACHE, RUNS, flags)
    where = ["--cache", "/in/c", "--runs", "/in/r"]
    assert commands == [["/in/kit/train.py", *where, "--jobs", "2", *flags]]
    commands.clear()
    with_gpus(monkeypatch, 1)
    run_training.train(KIT, CACHE, RUNS, flags)
    assert "--jobs" not in commands[0]


def test_crops_and_report_go_to_their_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands = called(monkeypatch)
    run_training.prepare(KIT, DATA, CACHE, ["--crop-px", "64"])
    run_training.evaluate(KIT, CACHE, RUNS, Path("/out"))
    prepared, evaluated = commands
    assert prepared == [
        *("/in/kit/input_prep.py", "--data", "/in/data", "--cache", "/in/c"),
        *("--crop-px", "64"),
    ]
    assert evaluated == [
        *("/in/kit/evaluate.py", "--cache", "/in/c", "--runs", "/in/r"),
        *("--out", "/out"),
    ]


def test_a_script_that_fails_stops_the_training_notebook(tmp_path: Path) -> None:
    (tmp_path / "input_prep.py").write_text("raise SystemExit(3)")
    with pytest.raises(subprocess.CalledProcessError):
        run_training.prepare(tmp_path, DATA, CACHE, [])


def run_cells(name: str, **names: Any) -> dict[str, Any]:
    """Run a notebook's code, cell by cell; return its variables."""
    path = kit.ROOT / "kernels" / name / f"{name}.ipynb"
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            lines = (line for line in cell["source"] if not line.startswith("%"))
            exec("".join(lines), names)
    return names


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inputs with two kits, of which the second has most weights; an empty place."""
    root = tmp_path / "input"
    for place, weights in (("datasets/a/kit", 1), ("notebooks/a/train/kit", 3)):
        for number in range(weights):
            path = root / place / "runs" / str(number) / "weights.safetensors"
            path.parent.mkdir(parents=True)
            path.touch()
        (root / place / "predict_submission.py").touch()
    monkeypatch.setenv("KAGGLE_INPUT", str(root))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    return root


def test_the_inference_notebook_uses_the_kit_with_most_weights(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    result = SimpleNamespace(
        submission=Path("submission.csv"),
        studies=STUDIES,
        verify=lambda: done.append("verified"),
    )

    def answers_by(kit: Path, **given: Any) -> SimpleNamespace:
        done.append((kit, given))
        return result

    monkeypatch.setattr(run_inference, "predict_test_set", answers_by)
    monkeypatch.setattr(
        notebook_display,
        "show_result",
        lambda *given, **more: done.append((*given, more)),
    )
    run_cells("inference")
    chosen = mounted / "notebooks" / "a" / "train" / "kit"
    shown = (result, {"pictures": 3})
    assert done == [(chosen, {"out": Path.cwd()}), shown, "verified"]
    assert sys.path[0] == str(chosen)


def test_the_training_notebook_prepares_trains_reports_and_writes_a_kit(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, shown = [], []
    for name in ("prepare", "train", "evaluate"):
        monkeypatch.setattr(
            run_training,
            name,
            lambda *given, name=name, **more: done.append(
                (name, *given, *more.values())
            ),
        )
    monkeypatch.setattr(mounts, "find_competition", lambda root: root / "competition")
    monkeypatch.setattr(kit, "stage_kit", lambda *given: done.append(("kit", *given)))
    monkeypatch.setattr(ipython, "Image", lambda filename: filename)
    monkeypatch.setenv("KIT_TRAIN", "--task location;--task severity --folds all")
    monkeypatch.setenv("KIT_PREPARE", "--crop-px 64")
    names = run_cells("train", display=shown.append)
    found, cache, runs = names["kit"], names["cache"], names["runs"]
    assert done == [
        ("prepare", found, mounted / "competition", cache, ["--crop-px", "64"]),
        ("train", found, cache, runs, ["--task", "location"]),
        ("train", found, cache, runs, ["--task", "severity", "--folds", "all"]),
        ("evaluate", found, cache, runs, Path("report")),
        ("kit", runs, Path("kit")),
    ]
    assert shown == [cache / "preview.png"]


def test_the_training_notebook_trains_what_inference_needs(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KIT_TRAIN", "KIT_PREPARE"):
        monkeypatch.delenv(name, raising=False)
    source = json.loads((kit.ROOT / "kernels" / "train" / "train.ipynb").read_text())
    [cell] = [c for c in source["cells"] if any("TRAIN = " in x for x in c["source"])]
    names: dict[str, Any] = {"os": os, "kit": kit.ROOT}
    exec("".join(cell["source"]), names)
    tasks = []
    for flags in names["TRAIN"]:
        argv = ["train.py", "--cache", "c", "--runs", "r", *flags.split()]
        monkeypatch.setattr(sys, "argv", argv)
        given = train_script.parse()
        tasks.append(given.task)
        views = train_script.with_preset(given, given.backbone[0]).views
        assert (views == "all") == (given.task == "severity")
    assert tasks == ["location", "severity", "condition"]
    prepare = names["PREPARE"]
    assert prepare[prepare.index("--views") + 1] == "all"

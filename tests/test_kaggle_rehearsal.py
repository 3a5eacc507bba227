"""The notebooks themselves, run as Kaggle would: offline, on read-only mounts."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kaggle_kit import FAILS, make_kit

from src.competition import submission
from src.kaggle.kit import ROOT, stage_kit
from src.kaggle.manifest import read_manifest, verify
from src.kaggle.names import COMPETITION
from src.kaggle.rehearse import hidden_test, run_notebook

NOTEBOOK = ROOT / "kernels" / "inference" / "inference.ipynb"
PLAYS = f"competition:{COMPETITION}"
KIT = "dataset:alice/rsna-lumbar-kit"


def has_namespaces() -> bool:
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    command = ["unshare", "-n", "-m", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


in_namespaces = pytest.mark.skipif(
    not has_namespaces(), reason="needs root and namespaces"
)


@pytest.fixture
def hidden(phantom: Path, tmp_path: Path) -> Path:
    hidden_test(phantom, tmp_path / "hidden", 2)
    return tmp_path / "hidden"


def outputs(work: Path) -> list[dict[str, Any]]:
    notebook = json.loads((work / "__notebook__.ipynb").read_text())
    return [each for cell in notebook["cells"] for each in cell.get("outputs", [])]


@in_namespaces
@pytest.mark.parametrize("layout", ["new", "old"])
def test_a_kaggler_sees_tables_and_pictures(
    hidden: Path, tmp_path: Path, layout: str
) -> None:
    make_kit(tmp_path)
    work = tmp_path / "work"
    mounts = {hidden: PLAYS, tmp_path / "dataset": KIT}
    done = run_notebook(NOTEBOOK, work, layout, mounts)
    assert done.returncode == 0, done.stderr
    submission.check_submission(
        submission.read_submission(work / "submission.csv"), [101, 102]
    )
    kinds = [kind for each in outputs(work) for kind in each.get("data", {})]
    assert kinds.count("image/png") == 2
    assert kinds.count("text/html") >= 3


@in_namespaces
def test_the_rerun_survives_a_broken_kit_and_a_commit_does_not(
    hidden: Path, tmp_path: Path
) -> None:
    make_kit(tmp_path, FAILS)
    mounts = {hidden: PLAYS, tmp_path / "dataset": KIT}
    done = run_notebook(NOTEBOOK, tmp_path / "rerun", "new", mounts, RERUN="1")
    assert done.returncode == 0, done.stderr
    submission.check_submission(
        submission.read_submission(tmp_path / "rerun" / "submission.csv"), [101, 102]
    )
    done = run_notebook(NOTEBOOK, tmp_path / "commit", "new", mounts)
    assert done.returncode == 1
    assert "NOT FIT TO SUBMIT: predict_submission.py failed" in done.stderr


@in_namespaces
def test_the_rehearsal_is_offline_read_only_and_without_optional_decoders(
    hidden: Path, tmp_path: Path
) -> None:
    probe = """
import errno, os, socket
from pathlib import Path
try: socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error: assert error.errno == errno.ENETUNREACH, error
else: raise AssertionError("there is a network")
try: Path("/kaggle/input/competitions").joinpath(NAME, "x").write_text("x")
except OSError as error: assert error.errno == errno.EROFS, error
else: raise AssertionError("the input can be written to")
try: import pylibjpeg
except ImportError: pass
else: raise AssertionError("an optional decoder is there")
assert not os.listdir(os.environ["HOME"]) or os.listdir(os.environ["HOME"])[0][0] == "."
assert "KAGGLE_KEY" not in os.environ
Path("done").write_text("done")
"""
    notebook = json.loads(NOTEBOOK.read_text())
    source = f"NAME = {COMPETITION!r}\n{probe}"
    notebook["cells"] = [
        {**cell, "source": source} for cell in notebook["cells"] if "outputs" in cell
    ][:1]
    path = tmp_path / "probe.ipynb"
    path.write_text(json.dumps(notebook))
    secret = {"KAGGLE_KEY": "secret"}
    done = run_notebook(path, tmp_path / "work", "new", {hidden: PLAYS}, **secret)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "done").is_file()


@in_namespaces
def test_the_time_limit_ends_a_rehearsal(hidden: Path, tmp_path: Path) -> None:
    mounts = {hidden: PLAYS}
    done = run_notebook(NOTEBOOK, tmp_path / "work", "new", mounts, LIMIT_S="0.1")
    assert done.returncode == 124


def test_a_machine_without_root_rehearses_too(hidden: Path, tmp_path: Path) -> None:
    make_kit(tmp_path)
    work = tmp_path / "work"
    mounts = {hidden: PLAYS, tmp_path / "dataset": KIT}
    done = run_notebook(NOTEBOOK, work, "old", mounts, WITHOUT_ROOT="1", RERUN="1")
    assert done.returncode == 0, done.stderr
    submission.check_submission(
        submission.read_submission(work / "submission.csv"), [101, 102]
    )


def test_a_notebook_without_a_kit_says_what_is_mounted(
    hidden: Path, tmp_path: Path
) -> None:
    mounts = {hidden: PLAYS}
    done = run_notebook(NOTEBOOK, tmp_path / "w", "new", mounts, WITHOUT_ROOT="1")
    assert done.returncode == 1
    assert "No kit in" in done.stderr
    assert "['competitions']" in done.stderr


@pytest.mark.slow
def test_the_training_notebook_writes_a_kit_for_inference(
    phantom: Path, tmp_path: Path
) -> None:
    stage_kit(None, tmp_path / "dataset" / "kit")
    notebook = ROOT / "kernels" / "train" / "train.ipynb"
    mounts = {phantom: PLAYS, tmp_path / "dataset": KIT}
    settings = {
        "KIT_PREPARE": "--crop-px 40 --workers 2",
        "KIT_TRAIN": "--task condition --backbone resnet10t --epochs 1",
    }
    work = tmp_path / "train"
    done = run_notebook(notebook, work, "new", mounts, **settings)
    assert done.returncode == 0, done.stderr
    assert verify(work / "kit") == []
    assert len(read_manifest(work / "kit")["runs"]) == 1
    mounts[work] = "notebook:alice/rsna-lumbar-train"
    done = run_notebook(NOTEBOOK, tmp_path / "inference", "new", mounts, RERUN="1")
    assert done.returncode == 0, done.stderr
    assert "notebooks/alice/rsna-lumbar-train/kit" in done.stderr + done.stdout

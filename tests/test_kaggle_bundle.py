"""The kit holds what inference needs, nothing else, and says what it holds."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from kaggle_kit import write_run

from src.errors import InputError
from src.kaggle import bundle
from src.kaggle.kit import SCRIPTS, stage_kit
from src.kaggle.manifest import faults, read_manifest

PRIVATE = ("kaggle.json", ".env", "notes.txt", "slice.dcm", "labels.csv")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "runs")
    for name in PRIVATE:
        (folder / name).write_text("private")
        (tmp_path / "runs" / name).write_text("private")
    return tmp_path / "runs"


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_kit_holds_code_and_weights_alone(runs: Path, tmp_path: Path) -> None:
    # A run's config is JSON, and so is a credential: only named files are copied.
    stage_kit(runs, tmp_path / "kit")
    held = files(tmp_path / "kit")
    assert set(SCRIPTS) <= held
    assert "src/reading/findings.py" in held
    assert {name for name in held if name.startswith("runs/")} == {
        "runs/condition-tiny/config.json",
        "runs/condition-tiny/weights.safetensors",
    }
    assert {Path(name).suffix for name in held} <= {
        *(".py", ".json", ".safetensors", ".txt", ".toml", "")
    }
    assert not any(name.startswith(("tests/", ".git", "kernels/")) for name in held)


def test_the_manifest_names_every_file_with_its_hash(
    runs: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    identity = stage_kit(runs, kit)
    manifest = read_manifest(kit)
    assert manifest["kit"] == identity
    assert set(manifest["files"]) == files(kit) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        data = (kit / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
    assert manifest["packages"]["pandas"]
    # The epoch whose weights were kept is the last one marked as best.
    [run] = manifest["runs"]
    assert (run["name"], run["task"]) == ("condition-tiny", "condition")
    assert (run["validation_loss"], run["validation_top1"]) == (0.7, 0.6)


def test_another_weight_is_another_kit(runs: Path, tmp_path: Path) -> None:
    first = stage_kit(runs, tmp_path / "kit")
    assert stage_kit(runs, tmp_path / "kit") == first
    (runs / "condition-tiny" / "weights.safetensors").write_bytes(b"others")
    assert stage_kit(runs, tmp_path / "kit") != first


def test_what_did_not_arrive_is_named(runs: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    stage_kit(runs, kit, add_wheel)
    assert faults(kit) == []
    (kit / "runs" / "condition-tiny" / "weights.safetensors").unlink()
    (kit / "train.py").write_text("changed")
    missing, changed = faults(kit)
    assert missing.endswith("missing from the kit: " + weights_name())
    assert "train.py" in changed
    (kit / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="stage the kit again"):
        faults(kit)


def add_wheel(folder: Path) -> None:
    folder.mkdir()
    (folder / "decoder.whl").write_bytes(b"wheel")


def weights_name() -> str:
    return "runs/condition-tiny/weights.safetensors"


def test_an_unpacked_wheel_and_a_lost_empty_file_are_no_faults(
    runs: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    stage_kit(runs, kit, add_wheel)
    (kit / "wheels" / "decoder.whl").unlink()
    (kit / "src" / "__init__.py").unlink()
    assert faults(kit) == []


def test_runs_without_weights_are_refused(runs: Path, tmp_path: Path) -> None:
    (runs / "condition-tiny" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="holds no finished run"):
        stage_kit(runs, tmp_path / "kit")


def test_a_folder_of_something_else_is_left_alone(runs: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        stage_kit(runs, kit)
    assert files(kit) == {"thesis.txt"}


def test_the_command_stages_dataset_and_notebooks(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    module = [sys.executable, "-m", "src.kaggle.bundle", "--runs", runs]
    flags = ["--owner", "alice", "--stem", "my-spine", "--weights-from", "train"]
    root = Path(bundle.__file__).parents[2]
    done = subprocess.run(
        [*module, *flags, "--out", out], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    dataset = json.loads((out / "dataset" / "dataset-metadata.json").read_text())
    assert dataset["id"] == "alice/my-spine-kit"
    assert "condition-tiny" in dataset["description"]
    kernel = json.loads((out / "inference" / "kernel-metadata.json").read_text())
    assert kernel["id"] == "alice/my-spine-inference"
    assert kernel["dataset_sources"] == ["alice/my-spine-kit"]
    assert kernel["kernel_sources"] == ["alice/my-spine-train"]
    assert (out / "inference" / kernel["code_file"]).is_file()


def test_a_kit_can_stage_a_kit_as_the_training_notebook_does(
    runs: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    stage_kit(None, kit)
    command = [sys.executable, "-m", "src.kaggle.bundle", "--kit-only", "--runs", runs]
    done = subprocess.run(
        [*command, "--out", tmp_path / "out"], cwd=kit, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = tmp_path / "out" / "kit"
    assert faults(made) == []
    assert read_manifest(made)["commit"] == read_manifest(kit)["commit"]
    assert (made / weights_name()).is_file()

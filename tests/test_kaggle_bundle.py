"""The kit holds what inference needs, nothing else, and says what it holds."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from kaggle_kit import write_run

from src.errors import UserError
from src.kaggle import bundle
from src.kaggle import kit as kits
from src.kaggle.kit import SCRIPTS, stage_kit
from src.kaggle.manifest import read_manifest, verify

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
    assert "src/inference/findings.py" in held
    assert {name for name in held if name.startswith("runs/")} == {
        "runs/condition-tiny/config.json",
        "runs/condition-tiny/weights.safetensors",
    }
    assert {Path(name).suffix for name in held} <= {
        *(".py", ".jinja", ".css", ".js", ".json", ".safetensors", ".txt", ".toml", "")
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
    assert manifest["packages"]["pandas"] == pd.__version__
    assert manifest["python"] == platform.python_version()
    # The epoch whose weights were kept is the last one marked as best.
    [run] = manifest["runs"]
    assert run == {
        **{"name": "condition-tiny", "task": "condition", "backbone": "tiny"},
        **{"split": "study", "fold": "0"},
        **{"validation_loss": 0.7, "validation_top1": 0.6},
    }


def test_another_weight_is_another_kit(runs: Path, tmp_path: Path) -> None:
    first = stage_kit(runs, tmp_path / "kit")
    assert stage_kit(runs, tmp_path / "kit") == first
    (runs / "condition-tiny" / "weights.safetensors").write_bytes(b"others")
    assert stage_kit(runs, tmp_path / "kit") != first


def test_missing_and_changed_files_are_named(runs: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    stage_kit(runs, kit, add_wheel)
    assert verify(kit) == []
    (kit / "runs" / "condition-tiny" / "weights.safetensors").unlink()
    (kit / "train.py").write_text("changed")
    missing, changed = verify(kit)
    assert missing.endswith("missing from the kit: " + weights_name())
    assert "train.py" in changed
    (kit / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="stage the kit again"):
        verify(kit)


def add_wheel(folder: Path) -> None:
    folder.mkdir()
    (folder / "decoder.whl").write_bytes(b"wheel")


def weights_name() -> str:
    return "runs/condition-tiny/weights.safetensors"


def test_an_unpacked_wheel_and_a_lost_empty_file_are_ignored(
    runs: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"

    def add(folder: Path) -> None:
        add_wheel(folder)
        (kit / "empty.txt").touch()

    stage_kit(runs, kit, add)
    assert "empty.txt" in read_manifest(kit)["files"]
    (kit / "wheels" / "decoder.whl").unlink()
    (kit / "empty.txt").unlink()
    assert verify(kit) == []


def test_runs_without_weights_are_refused(runs: Path, tmp_path: Path) -> None:
    (runs / "condition-tiny" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="holds no finished run"):
        stage_kit(runs, tmp_path / "kit")


def test_a_folder_of_something_else_is_left_alone(runs: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds something else"):
        stage_kit(runs, kit)
    assert files(kit) == {"thesis.txt"}


def test_the_command_stages_dataset_and_notebooks(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    module = [sys.executable, "-m", "src.kaggle.bundle", "--runs", runs]
    flags = ["--owner", "alice", "--slug-prefix", "my-spine", "--weights-from", "train"]
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
    assert verify(made) == []
    assert read_manifest(made)["commit"] == read_manifest(kit)["commit"]
    assert (made / weights_name()).is_file()


def rewrite(path: Path) -> None:
    """Change a file's first byte, and not its size."""
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", [weights_name(), "src/kaggle/wheels.py", "requirements.txt"]
)
def test_a_change_that_keeps_a_files_size_is_noticed(
    runs: Path, tmp_path: Path, name: str
) -> None:
    kit = tmp_path / "kit"
    first = stage_kit(runs, kit)
    rewrite(kit / name)
    assert verify(kit) == [f"changed from the kit: {name}"]
    rewrite(runs / "condition-tiny" / "weights.safetensors")
    assert stage_kit(runs, kit) != first


def test_a_kits_id_depends_on_its_file_names(runs: Path, tmp_path: Path) -> None:
    first = stage_kit(runs, tmp_path / "kit")
    (runs / "condition-tiny").rename(runs / "condition-tinz")
    assert stage_kit(runs, tmp_path / "kit") != first


def test_three_lost_files_are_named_and_the_others_counted(
    runs: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    stage_kit(runs, kit)
    for name in SCRIPTS:
        (kit / name).unlink()
    [problem] = verify(kit)
    names = ", ".join(sorted(SCRIPTS)[:3])
    assert problem == f"missing from the kit: {names} and 1 more"


def test_the_calibration_lies_beside_the_runs_it_was_fitted_on(
    runs: Path, tmp_path: Path
) -> None:
    (runs / "calibration.json").write_text('{"gain": 0.1}')
    stage_kit(runs, tmp_path / "kit")
    held = tmp_path / "kit" / "runs" / "calibration.json"
    assert held.read_text() == '{"gain": 0.1}'
    assert "runs/calibration.json" in read_manifest(tmp_path / "kit")["files"]


def test_every_preset_travels_with_the_code(tmp_path: Path) -> None:
    stage_kit(None, tmp_path / "kit")
    presets = {path.name for path in (kits.ROOT / "configs").glob("*.toml")}
    assert {path.name for path in (tmp_path / "kit" / "configs").iterdir()} == presets
    assert len(presets) > 1


def test_the_kit_holds_every_file_of_the_library(tmp_path: Path) -> None:
    stage_kit(None, tmp_path / "kit")
    library = {name for name in files(kits.ROOT / "src") if "__pycache__" not in name}
    assert files(tmp_path / "kit" / "src") == library
    assert {f"reporting/templates/{n}" for n in ("style.css", "report.html.jinja")} <= (
        library
    )


def test_an_unfinished_run_is_not_staged(runs: Path, tmp_path: Path) -> None:
    write_run(runs, ".condition-being-written")
    (write_run(runs, "condition-no-config") / "config.json").unlink()
    (write_run(runs, "condition-no-weights") / "weights.safetensors").unlink()
    stage_kit(runs, tmp_path / "kit")
    staged = [path.name for path in (tmp_path / "kit" / "runs").iterdir()]
    assert staged == ["condition-tiny"]


def test_nothing_of_an_earlier_kit_is_left(runs: Path, tmp_path: Path) -> None:
    stage_kit(runs, tmp_path / "kit", add_wheel)
    stage_kit(None, tmp_path / "kit")
    held = files(tmp_path / "kit")
    assert not any(name.startswith(("runs/", "wheels/")) for name in held)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", *who, *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_kit_of_a_changed_clone_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    (clone / "src").mkdir(parents=True)
    (clone / "src" / "a.py").write_text("A = 1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        git(clone, *words)
    monkeypatch.setattr(kits, "ROOT", clone)
    stage_kit(None, tmp_path / "kit")
    commit = read_manifest(tmp_path / "kit")["commit"]
    assert git(clone, "rev-parse", "HEAD").startswith(commit)
    assert len(commit) == 12
    (clone / "src" / "a.py").write_text("A = 2")
    stage_kit(None, tmp_path / "kit")
    assert read_manifest(tmp_path / "kit")["commit"] == f"{commit}+"


def bundled(
    monkeypatch: pytest.MonkeyPatch, runs: Path, out: Path, *flags: str
) -> dict[str, dict]:
    """Run the command; return what it wrote for the dataset and both notebooks."""
    words = ["--runs", str(runs), "--owner", "alice", "--out", str(out), *flags]
    monkeypatch.setattr(sys, "argv", ["bundle", *words])
    bundle.main()
    paths = [out / "dataset" / "dataset-metadata.json"]
    paths += [out / name / "kernel-metadata.json" for name in ("inference", "train")]
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


@pytest.mark.parametrize(
    ("flags", "trained"),
    [
        ((), []),
        (("--weights-from", "dataset"), []),
        (("--weights-from", "train"), ["alice/rsna-lumbar-train"]),
    ],
)
def test_inference_mounts_the_training_notebook_where_it_has_the_weights(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    trained: list[str],
) -> None:
    metadata = bundled(monkeypatch, runs, tmp_path / "out", *flags)
    assert metadata["inference"]["kernel_sources"] == trained
    assert metadata["train"]["kernel_sources"] == []
    assert metadata["train"]["id"] == "alice/rsna-lumbar-train"
    manifest = read_manifest(tmp_path / "out" / "dataset" / "kit")
    words = metadata["dataset"]["description"]
    assert f"Kit {manifest['kit']}, commit {manifest['commit']}." in words


@pytest.mark.parametrize("flags", [(), ("--wheels",)])
def test_wheels_are_fetched_on_request(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr(bundle, "fetch_wheels", add_wheel)
    bundled(monkeypatch, runs, tmp_path / "out", *flags)
    held = files(tmp_path / "out" / "dataset" / "kit")
    assert ("wheels/decoder.whl" in held) == bool(flags)


def test_the_command_prints_the_kits_size_and_its_runs_scores(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = runs / "condition-tiny" / "weights.safetensors"
    weights.write_bytes(bytes(3_000_000))
    bundled(monkeypatch, runs, tmp_path / "out")
    kit = tmp_path / "out" / "dataset" / "kit"
    held = files(kit) - {"manifest.json"}
    size = sum((kit / name).stat().st_size for name in held) / 1e6
    output = capsys.readouterr().out
    assert f"{len(held)} files, {size:.1f} MB" in output
    [run] = (line for line in output.splitlines() if "condition-tiny" in line)
    assert re.findall(r"0\.\d+", run) == ["0.700", "0.600"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe{}"])
def test_a_damaged_config_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    folder = write_run(tmp_path / "runs")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json .*; train the run again\.$"):
        stage_kit(tmp_path / "runs", tmp_path / "kit")


@pytest.mark.parametrize(
    "content",
    [
        *(b"\xff\xfe", b"[]\n", b"null\n", b"5\n", b'{"epoch": 1, "best": true, "val'),
        b'{"best": true, "validation_loss": "low", "validation_top1": null}\n',
        b'{"best": true, "validation_loss": NaN}\n',
    ],
)
def test_a_damaged_history_gives_no_scores(tmp_path: Path, content: bytes) -> None:
    folder = write_run(tmp_path / "runs")
    (folder / "history.jsonl").write_bytes(content)
    stage_kit(tmp_path / "runs", tmp_path / "kit")
    [run] = read_manifest(tmp_path / "kit")["runs"]
    assert run.keys() == {"name", "task", "backbone", "split", "fold"}


def test_a_kit_of_a_damaged_kit_is_of_an_unknown_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training notebook stages its kit after hours: that must not fail."""
    stage_kit(None, tmp_path / "kit")
    (tmp_path / "kit" / "manifest.json").write_text("[]")
    monkeypatch.setattr(kits, "ROOT", tmp_path / "kit")
    stage_kit(None, tmp_path / "next")
    assert read_manifest(tmp_path / "next")["commit"] == "unknown"

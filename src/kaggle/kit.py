"""The kit: the code and the runs' weights, in one folder that Kaggle can mount.

Only what is named here is copied, so neither data nor credentials can come along.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TypeGuard, cast

from src.classification.calibration import CALIBRATION_FILE
from src.errors import UserError
from src.json_object import read_object
from src.kaggle.manifest import (
    MANIFEST,
    WHEELS,
    RunEntry,
    read_manifest,
    write_manifest,
)

ROOT = Path(__file__).parents[2]
SCRIPTS = ("input_prep.py", "train.py", "evaluate.py", "predict_submission.py")
CODE = (*SCRIPTS, "requirements.txt", "LICENSE", "NOTICE")
SUFFIXES = (".py", ".jinja", ".css", ".js")  # of the files below src
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
# Of a run, what a model is rebuilt from; not its history, nor its predictions.
RUN_FILES = (CONFIG, WEIGHTS)


def stage_kit(
    runs: Path | None, kit: Path, add_wheels: Callable[[Path], None] | None = None
) -> str:
    """Copy code and finished runs into a fresh folder `kit`; return the kit's id.

    Without `runs` it holds code only, for training on Kaggle.
    """
    folders = finished_runs(runs) if runs else []
    _fresh(kit)
    for path in _code():
        _copy(ROOT / path, kit / path)
    for folder in folders:
        for name in RUN_FILES:
            _copy(folder / name, kit / "runs" / folder.name / name)
    if runs and (runs / CALIBRATION_FILE).is_file():
        _copy(runs / CALIBRATION_FILE, kit / "runs" / CALIBRATION_FILE)
    if add_wheels:
        add_wheels(kit / WHEELS)
    return write_manifest(kit, _commit(), [describe(folder) for folder in folders])


def finished_runs(runs: Path) -> list[Path]:
    """List the folders with a config and weights; UserError if there is none."""
    found = sorted(path.parent for path in runs.glob(f"[!.]*/{WEIGHTS}"))
    found = [folder for folder in found if (folder / CONFIG).is_file()]
    if not found:
        raise UserError(
            f"{runs} holds no finished run (a folder with {CONFIG} and {WEIGHTS}); "
            "train one with train.py, or leave --runs out to ship the code alone."
        )
    return found


def describe(folder: Path) -> RunEntry:
    """Say what a run is and how well it did on its validation studies."""
    config = read_object(folder / CONFIG, "train the run again")
    told = {name: config.get(name) for name in ("task", "backbone", "split", "fold")}
    scores = _best_epoch(folder / "history.jsonl")
    return cast(RunEntry, {"name": folder.name, **told, **scores})


def _best_epoch(history: Path) -> dict[str, float]:
    """Find the validation scores of the epoch whose weights were kept.

    A history that is not there or damaged has none: no model is made from it.
    """
    try:
        lines = history.read_text(encoding="utf-8").splitlines()
        epochs = [dict(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    best = next((epoch for epoch in reversed(epochs) if epoch.get("best")), {})
    scores = {name: value for name, value in best.items() if "validation" in name}
    return {name: value for name, value in scores.items() if _is_number(value)}


def _is_number(value: object) -> TypeGuard[float]:
    """Tell a finite number: the manifest's JSON has no other."""
    return isinstance(value, (int, float)) and isfinite(value)


def _code() -> list[Path]:
    named, presets = (ROOT / name for name in CODE), (ROOT / "configs").glob("*.toml")
    library = (p for p in (ROOT / "src").rglob("*") if p.suffix in SUFFIXES)
    found = [*named, *presets, *library]
    return sorted(path.relative_to(ROOT) for path in found if path.is_file())


def _fresh(kit: Path) -> None:
    """Empty the folder if a kit is in it; touch nothing else."""
    if kit.is_dir() and any(kit.iterdir()) and not (kit / MANIFEST).is_file():
        raise UserError(f"{kit} holds something else; choose another --out.")
    shutil.rmtree(kit, ignore_errors=True)
    kit.mkdir(parents=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _commit() -> str:
    """Name the code's commit, `+` if it was changed since; of a kit, its maker's."""
    try:
        if (ROOT / MANIFEST).is_file():
            return read_manifest(ROOT)["commit"]
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain") else "")
    except (UserError, OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()

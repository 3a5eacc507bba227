"""Location runs of one fold at work together."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from src.cache.crop_cache import open_cache
from src.cache.overview_cache import open_overviews
from src.localization.location_task import StudyOverviews
from src.localization.out_of_fold import ensemble_errors, find_unseen
from src.training.run_folder import Run, read_runs

ROOT = Path(__file__).parents[1]
SCORED = ["study_id", "condition", "level"]


@pytest.fixture(scope="module")
def made(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, and two small location runs: seeds 0 and 1."""
    here = tmp_path_factory.mktemp("together")
    prep = ("input_prep.py", "--data", phantom, "--cache", here / "cache")
    learn = ("train.py", "--cache", here / "cache", "--runs", here / "runs")
    learn += ("--task", "location", "--backbone", "resnet10t", "--input-px", 96)
    learn += ("--epochs", 15, "--patience", 0, "--batch-size", 12, "--seed")
    for command in ((*prep, "--crop-px", 32), (*learn, 0), (*learn, 1)):
        words = [sys.executable, *map(str, command)]
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return here


def together(made: Path, runs: Path) -> pd.DataFrame | None:
    cache = open_cache(made / "cache")
    studies = StudyOverviews(open_overviews(cache.path))
    found = read_runs(runs)
    tested = {run.folder.name: studies_of(run) for run in found}
    return ensemble_errors(find_unseen(found, tested, studies), cache.table, studies)


def studies_of(run: Run) -> set[int]:
    return set(pd.read_csv(run.folder / "predictions.csv")["study_id"])


def run_folder(made: Path, seed: int) -> Path:
    return made / "runs" / f"location-resnet10t-neighbours-study-holdout-seed{seed}"


def test_a_run_beside_its_own_copy_finds_what_it_finds_alone(
    made: Path, tmp_path: Path
) -> None:
    first = run_folder(made, 0)
    shutil.copytree(first, tmp_path / "one")
    assert together(made, tmp_path) is None
    shutil.copytree(first, tmp_path / "copy")
    both = together(made, tmp_path).set_index(SCORED)
    alone = pd.read_csv(first / "predictions.csv").set_index(SCORED)
    assert set(both["run"]) == {"holdout"}
    errors = both["error_mm"].to_numpy(float)
    assert pd.notna(errors).sum() > 5
    # Two equal scores are averaged in float32.
    expected = alone.loc[both.index, "error_mm"]
    assert errors == pytest.approx(expected, abs=1e-4, nan_ok=True)
    shutil.copytree(run_folder(made, 1), tmp_path / "other")
    mixed = together(made, tmp_path)["error_mm"].to_numpy(float)
    assert mixed != pytest.approx(errors, abs=1e-4, nan_ok=True)


def test_a_holdout_run_does_not_help_where_it_has_trained(
    made: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(made / "runs", runs)
    config = runs / run_folder(made, 1).name / "config.json"
    config.write_text(config.read_text().replace('"holdout"', '"1"'))
    assert together(made, runs) is None

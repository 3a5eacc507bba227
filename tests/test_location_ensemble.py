"""Location runs of one fold at work together."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from fake_condition_runs import run_config

from src.cache.crop_cache import open_cache
from src.cache.overview_cache import open_overviews
from src.competition.folds import read_folds
from src.localization import location_task
from src.localization.location_task import ensemble_errors
from src.training.run_folder import Run, read_runs

ROOT = Path(__file__).parents[1]
SCORED = ["study_id", "condition", "level"]


class Named(Run):
    """A run whose predictor is its own name."""

    def predictor(self) -> str:
        """Return the run's name."""
        return self.folder.name


def run(name: str, fold: str, limit: int | None = None) -> Run:
    told = run_config(task="location", fold=fold, limit=limit, backbone=name)
    return Named(Path(name), told)


class NoOverviews:
    """A cache of overviews without one."""

    def groups(self) -> list:
        """Yield nothing."""
        return []


def asked(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> tuple[pd.DataFrame | None, list[tuple[list[str], list[str], list[int]]]]:
    """Find by runs; also return who was asked together, and of which studies."""
    calls = []

    def compared(
        studies: object, sites: pd.DataFrame, configs: list, locators: list
    ) -> pd.DataFrame:
        ids = sites["study_id"].tolist()
        calls.append(([one.backbone for one in configs], locators, ids))
        return pd.DataFrame({"study_id": ids})

    monkeypatch.setattr(location_task, "locate_and_compare", compared)
    ids = range(1, 11)
    sites = pd.DataFrame({"study_id": [*ids, 10, 4]})
    split = ["train"] * 6 + ["validation", "train", "test", "test"]
    fold = [number % 5 for number in ids]
    folds = pd.DataFrame({"study_id": ids, "split": split, "fold": fold})
    return ensemble_errors(runs, sites, folds, NoOverviews()), calls


def test_the_runs_of_a_fold_look_together_at_what_it_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run("a", "holdout"), run("b", "4"), run("c", "holdout"), run("d", "1")]
    table, calls = asked(runs, monkeypatch)
    assert calls == [
        (["a", "c"], ["a", "c"], [9, 10, 10]),
        (["b"], ["b"], [4, 9, 4]),
        (["d"], ["d"], [1, 6]),
    ]
    assert table.groupby("run")["study_id"].agg(set).to_dict() == {
        "holdout": {9, 10},
        "4": {4, 9},
        "1": {1, 6},
    }


def test_a_folds_ensemble_is_of_its_runs_of_the_most_studies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run("a", "holdout", 9), run("b", "holdout"), run("c", "holdout")]
    runs += [run("d", "4", 8), run("e", "4", 7), run("f", "4", 8)]
    table, calls = asked(runs, monkeypatch)
    assert calls == [
        (["b", "c"], ["b", "c"], [9, 10, 10]),
        (["d", "f"], ["d", "f"], [4, 4]),
    ]
    assert table["run"].tolist() == ["holdout"] * 3 + ["4"] * 2


def test_a_run_of_all_studies_has_no_ensemble_with_limited_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run("a", "holdout", 9), run("b", "holdout", 9), run("c", "holdout")]
    assert asked(runs, monkeypatch) == (None, [])


def test_runs_of_different_folds_have_nothing_to_do_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked([run("a", "holdout"), run("b", "4")], monkeypatch) == (None, [])


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
    folds = read_folds(cache.path / "folds.csv")
    overviews = open_overviews(cache.path)
    return ensemble_errors(read_runs(runs), cache.table, folds, overviews)


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

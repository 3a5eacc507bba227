"""The tuner: judged on validation, shared by workers, gone on with after a stop."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from src.training.config import Hyperparameters
from src.training.optimizers import OPTIMIZERS
from src.training.tuning import (
    Sampler,
    best_by_optimizer,
    first_recipes,
    suggest,
    write_preset,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cache(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cache."""
    folder = tmp_path_factory.mktemp("tune") / "cache"
    prep = ("--data", phantom, "--cache", folder, "--crop-px", 32)
    subprocess.run(
        [sys.executable, "input_prep.py", *map(str, prep)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def worker(cache: Path, runs: Path, storage: str, trials: int) -> subprocess.Popen:
    flags = ("--cache", cache, "--runs", runs, "--task", "condition", "--epochs", 1)
    tune = ("--backbone", "resnet10t", "--tune", trials, "--storage", storage)
    return subprocess.Popen(
        [sys.executable, "train.py", *map(str, (*flags, *tune))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_two_workers_share_one_search(cache: Path, tmp_path: Path, kind: str) -> None:
    place = tmp_path / f"tune.{kind}"
    storage = f"sqlite:///{place}" if kind == "sqlite" else str(place)
    workers = [worker(cache, tmp_path / "runs", storage, 4) for _ in range(2)]
    said = []
    for one in workers:
        told, errors = one.communicate(timeout=300)
        assert one.returncode == 0, errors
        said += [line for line in told.splitlines() if line.startswith("trial ")]
    if kind == "journal":
        backend = optuna.storages.journal.JournalFileBackend(str(place))
        storage = optuna.storages.JournalStorage(backend)
    [name] = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    done = [t for t in study.trials if t.state.is_finished()]
    assert 4 <= len(done) <= 5  # two may end at once
    numbers = sorted(int(line.split()[1].rstrip(":")) for line in said)
    assert numbers == sorted(t.number for t in done)  # each is told by who made it
    # Whoever ended last has written the best of all.
    written = tmp_path / "runs" / f"tuned-{name}.toml"
    preset = tomllib.loads(written.read_text())
    assert preset == {k.replace("_", "-"): v for k, v in study.best_params.items()}


def test_a_better_trial_that_ends_while_the_preset_is_written_is_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(sampler=Sampler([], 4))
    path = tmp_path / "tuned.toml"

    def end_trial(loss: float, optimizer: str) -> None:
        choices = optuna.distributions.CategoricalDistribution(list(OPTIMIZERS))
        trial = optuna.trial.create_trial(
            params={"optimizer": optimizer},
            distributions={"optimizer": choices},
            value=loss,
            user_attrs={"top1": 0.5},
        )
        study.add_trial(trial)

    def write_late(text: str, target: Path) -> None:
        target.write_text(text)
        if len(study.trials) == 1:
            end_trial(0.2, "sgd")

    monkeypatch.setattr("src.training.tuning.write_text", write_late)
    end_trial(0.4, "adam")
    write_preset(study, SimpleNamespace(name="a run"), path)
    assert tomllib.loads(path.read_text()) == {"optimizer": "sgd"}


@pytest.mark.parametrize(("own", "rate"), [("adamw", 0.001), ("sgd", 0.03)])
def test_every_optimiser_is_tried_first_at_a_rate_of_its_own(
    own: str, rate: float
) -> None:
    hyperparameters = Hyperparameters(optimizer=own, lr=rate)
    recipes = first_recipes(hyperparameters)
    assert recipes[0]["optimizer"] == own
    rates = {recipe["optimizer"]: recipe["lr"] for recipe in recipes}
    expected = {"adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "sgd": 0.03}
    assert rates == pytest.approx(expected)


def test_the_first_trials_get_the_first_recipes_whoever_asks(tmp_path: Path) -> None:
    recipes = first_recipes(Hyperparameters(optimizer="sgd", lr=0.03))
    storage = f"sqlite:///{tmp_path / 'tune.db'}"
    workers = [
        optuna.create_study(
            storage=storage,
            study_name="one",
            sampler=Sampler(recipes, 4),
            load_if_exists=True,
        )
        for _ in range(2)
    ]
    # all ask before any has told what it got
    trials = [workers[i % 2].ask() for i in (0, 1, 1, 0, 0)]
    suggested = [suggest(trial) for trial in trials]
    assert [one["optimizer"] for one in suggested[:4]] == [
        one["optimizer"] for one in recipes
    ]
    assert suggested[0]["lr"] == 0.03
    assert suggested[4] not in suggested[:4]
    for number, trial in enumerate(trials):
        workers[number % 2].tell(trial, float(number))
    assert workers[0].best_params == suggested[0]


def test_each_optimiser_is_told_by_its_best_trial() -> None:
    def trial(name: str, loss: float, state: str = "COMPLETE") -> object:
        params = {"optimizer": name, "lr": loss / 10}
        choices = optuna.distributions.CategoricalDistribution(list(OPTIMIZERS))
        rates = optuna.distributions.FloatDistribution(0, 1)
        return optuna.trial.create_trial(
            params=params,
            distributions={"optimizer": choices, "lr": rates},
            value=loss,
            state=optuna.trial.TrialState[state],
            user_attrs={"top1": 1 - loss},
        )

    trials = [trial("sgd", 0.3), trial("adam", 0.2), trial("sgd", 0.1)]
    trials += [trial("sgd", 0.05, "PRUNED"), trial("rmsprop", 0.5, "PRUNED")]
    sgd, adam = best_by_optimizer(trials)
    assert (sgd["optimizer"], sgd["trials"], sgd["stopped"]) == ("sgd", 3, 1)
    assert (sgd["loss"], sgd["top-1"], sgd["rate"]) == (0.1, 0.9, "0.01")
    assert (adam["optimizer"], adam["trials"]) == ("adam", 1)

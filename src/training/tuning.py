"""Hyperparameter search with Optuna, by the validation loss of the weights kept.

Many workers may share one database: start the same command on each with one --storage.
An interrupted search resumes, counting the trials that are done.
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from src.errors import UserError
from src.files import write_text
from src.training.config import EpochMetrics, Hyperparameters, RunConfig
from src.training.optimizers import OPTIMIZERS
from src.training.selection import choose_selection, kept_loss
from src.training.train_run import TrainingTask, make_trainer
from src.training.trainer import DivergedError

BATCH_SIZES = (16, 32, 64, 128)
RATES = (1e-5, 1e-1)
RECIPE = {
    "lr": "rate",
    "weight_decay": "decay",
    "batch_size": "batch",
    "augment": "augment",
}
SGD_RATE = 30.0  # times the rate of the optimisers that scale their steps themselves
MAX_FAILURES = 5  # diverged trials in a row, after which a search stops
DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # on PyPI
OPENING_TRIES = 5  # two workers that create the same tables at once collide


class Recipe(TypedDict):
    """The hyperparameters that are searched."""

    optimizer: str
    lr: float
    weight_decay: float
    batch_size: int
    augment: float


def tune(
    task: TrainingTask,
    trials: int,
    storage: str | None,
    best: Path,
    log: Callable[[str], None],
    loader_workers: int = 0,
) -> list[dict[str, Any]]:
    """Try recipes until `trials` are done in all; write the best as a preset.

    task: of the run to find a recipe for; its own recipe is tried first, then the same
    with each of the other optimisers. storage: an Optuna URL, or the path of a journal
    file; beside `best` if None. Returns best_by_optimizer of all trials.
    """
    config = task.config
    place = storage or str(best.with_suffix(".journal"))
    own = config.hyperparameters
    sampler = Sampler(first_recipes(own), max(4, trials // 3))
    study = _study(config.name, place, sampler)
    rule = choose_selection(own.select, task.validation_studies)
    rule = rule if own.patience else "last"

    def objective(trial: optuna.Trial) -> float:
        recipe = suggest(trial)
        tried = task.with_hyperparameters(replace(own, **recipe))
        trainer = make_trainer(tried.config, loader_workers)

        def judge(epoch: EpochMetrics) -> None:
            trial.report(epoch.validation_loss, epoch.epoch - 1)  # steps run from 0
            if trial.should_prune():
                raise optuna.TrialPruned

        trainer.fit(tried, judge)
        trial.set_user_attr("top1", max(e.validation_top1 for e in trainer.epochs))
        losses = [epoch.validation_loss for epoch in trainer.epochs]
        return kept_loss(rule, losses)

    failures = _search(study, objective, trials, log)
    if study.get_trials(states=(TrialState.COMPLETE,)):
        write_preset(study, config, best)
    if failures >= MAX_FAILURES:
        raise UserError(
            f"--tune stopped after {failures} diverged trials in a row for "
            f"{config.name}: check the crops and --weights, and begin from a lower "
            f"--lr than {config.hyperparameters.lr:g}"
        )
    return best_by_optimizer(study.trials)


def _search(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    trials: int,
    log: Callable[[str], None],
) -> int:
    """Try recipes until enough are done; return how many diverged in a row at last."""
    failures = 0

    def after(_: optuna.Study, done: optuna.trial.FrozenTrial) -> None:
        nonlocal failures
        failures = failures + 1 if done.state is TrialState.FAIL else 0
        log(_sentence(done))

    tried = (TrialState.COMPLETE, TrialState.PRUNED)
    while failures < MAX_FAILURES and len(study.get_trials(states=tried)) < trials:
        study.optimize(objective, n_trials=1, catch=DivergedError, callbacks=[after])
    return failures


class Sampler(optuna.samplers.TPESampler):
    """Suggests given recipes to the first trials, then what those tried promise.

    By the trial's number, which no two workers share: of a queue of recipes two that
    ask at once may get the same.
    """

    def __init__(self, first: list[Recipe], by_chance: int) -> None:
        """Take the recipes.

        first: of the first trials, each a value by name; by_chance: how many in all
        are tried before their results steer the search.
        """
        super().__init__(n_startup_trials=by_chance)
        self.first = first

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """Return the value of one of a trial's names, as Optuna asks for it."""
        if trial.number < len(self.first):
            return cast(dict[str, Any], self.first[trial.number])[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


def best_by_optimizer(trials: list[optuna.trial.FrozenTrial]) -> list[dict[str, Any]]:
    """Hold the optimisers against each other: a row each, the best one's first.

    Trials tried, of them stopped early, and of the best one the validation loss, the
    top-1 and the recipe.
    """
    rows = []
    for name in OPTIMIZERS:
        tried = [trial for trial in trials if trial.params.get("optimizer") == name]
        whole = [trial for trial in tried if trial.state is TrialState.COMPLETE]
        if not whole:
            continue
        best = min(whole, key=_loss)
        pruned = sum(trial.state is TrialState.PRUNED for trial in tried)
        row = {"optimizer": name, "trials": len(tried), "stopped": pruned}
        row |= {"loss": best.value, "top-1": best.user_attrs["top1"]}
        row |= {word: _short(best.params.get(key)) for key, word in RECIPE.items()}
        rows.append(row)
    return sorted(rows, key=lambda row: row["loss"])


def _loss(trial: optuna.trial.FrozenTrial) -> float:
    assert trial.value is not None, "a complete trial has a value"
    return trial.value


def _study(name: str, place: str, sampler: Sampler) -> optuna.Study:
    """Open the search, or begin it; of workers that begin at once all but one retry."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # of trials `log` tells
    for attempt in range(OPENING_TRIES):
        try:
            return optuna.create_study(
                storage=_storage(place),
                study_name=name,
                sampler=sampler,
                pruner=optuna.pruners.MedianPruner(len(OPTIMIZERS), n_warmup_steps=1),
                load_if_exists=True,
            )
        except ImportError as error:
            raise UserError(_no_driver(place)) from error
        except (ArgumentError, ValueError) as error:  # no such kind of database
            raise UserError(
                f"--storage {_shown(place)} is no URL of a database: give one as "
                "sqlite:///tune.db, or the path of a journal file"
            ) from error
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = type(error).__name__
            time.sleep(1 + attempt)
    raise UserError(
        f"--storage {_shown(place)} cannot be opened ({cause}): check that the "
        "database exists, can be reached and is writable"
    )


def _no_driver(place: str) -> str:
    """Name the package that a database's URL needs."""
    kind, _, driver = place.partition("://")[0].partition("+")
    module = driver or {"postgresql": "psycopg2", "mysql": "MySQLdb"}.get(kind, kind)
    return (
        f"--storage {_shown(place)} needs a driver that is not installed: pip install "
        f"{DRIVERS.get(module, module)}"
    )


def _shown(place: str) -> str:
    """Hide the password of a database's URL."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", place)


def write_preset(study: optuna.Study, config: RunConfig, path: Path) -> None:
    """Write the best recipe found as a TOML preset.

    Of workers that share a search the last to write has the best of all: another's
    trial may have ended while this one wrote, so the best is checked again.
    """
    written = None
    while (best := study.best_trial).number != written:
        write_text(_preset(best, len(study.trials), config.name), path)
        written = best.number


def _preset(trial: optuna.trial.FrozenTrial, trials: int, name: str) -> str:
    lines = [
        f"# Best of {trials} recipes for {name}: validation loss",
        f"# {trial.value:.4f}, top-1 {trial.user_attrs['top1']:.4f}.",
        *(f"{name.replace('_', '-')} = {_toml(v)}" for name, v in trial.params.items()),
    ]
    return "\n".join(lines) + "\n"


def _storage(place: str) -> Any:
    if "://" in place:
        return place
    path = Path(place)
    if path.is_dir():
        raise UserError(f"--storage {place} is a folder: name a file, or a URL")
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(place))


def first_recipes(hyperparameters: Hyperparameters) -> list[Recipe]:
    """List a run's own recipe, then it with every other optimiser: none is missed.

    SGD's steps follow the gradient's size, the others' do not: its rate is another.
    """
    own = _own(hyperparameters)
    recipes = [own]
    for name in OPTIMIZERS:
        if name != own["optimizer"]:
            factor = SGD_RATE ** ((name == "sgd") - (own["optimizer"] == "sgd"))
            rate = float(np.clip(own["lr"] * factor, *RATES))
            recipes.append({**own, "optimizer": name, "lr": rate})
    return recipes


def _own(hyperparameters: Hyperparameters) -> Recipe:
    """Take the searched values from the run's own recipe."""
    own = hyperparameters
    return {
        "optimizer": own.optimizer,
        "lr": own.lr,
        "weight_decay": own.weight_decay,
        "batch_size": min(BATCH_SIZES, key=lambda size: abs(size - own.batch_size)),
        "augment": own.augment,
    }


def suggest(trial: optuna.Trial) -> Recipe:
    """Ask for a trial's recipe."""
    optimizer = trial.suggest_categorical("optimizer", list(OPTIMIZERS))
    return {
        "optimizer": optimizer,
        "lr": trial.suggest_float("lr", *RATES, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", list(BATCH_SIZES)),
        "augment": trial.suggest_float("augment", 0.0, 1.0),
    }


def _sentence(trial: optuna.trial.FrozenTrial) -> str:
    failed = trial.state is TrialState.FAIL
    state = "diverged" if failed else trial.state.name.lower()
    value = "-" if trial.value is None else f"{trial.value:.4f}"
    params = ", ".join(f"{name} {_short(v)}" for name, v in trial.params.items())
    return f"trial {trial.number}: {state}, validation loss {value} ({params})"


def _short(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)

"""What a tuner judges a recipe by, and what it hands on of the best."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_condition_runs import run_config

from src.errors import UserError
from src.training import tuning
from src.training.config import EpochMetrics, Hyperparameters, RunConfig
from src.training.optimizers import OPTIMIZERS
from src.training.trainer import DivergedError
from src.training.tuning import MAX_FAILURES, first_recipes, tune

OWN = Hyperparameters(
    **{"optimizer": "adam", "lr": 0.002, "weight_decay": 0.03, "batch_size": 64},
    **{"augment": 0.25, "epochs": 3, "patience": 1, "schedule": "constant"},
    **{"input_px": 48, "bn_stats": "running", "seed": 9, "select": "best"},
)
CONFIG = replace(run_config(), hyperparameters=OWN)


class Script:
    """A trainer that learns nothing: the losses of its epochs are given."""

    def __init__(self, losses: Sequence[float]) -> None:
        """Take the validation loss of each epoch."""
        self.losses, self.epochs = losses, []
        self.task: SimpleNamespace | None = None

    def fit(self, task: SimpleNamespace, on_epoch: Callable) -> None:
        """Report each epoch in turn."""
        self.task = task
        for number, loss in enumerate(self.losses, 1):
            if loss != loss:
                raise DivergedError("diverged")
            epoch = EpochMetrics(number, 1 / loss, loss, 1 / (1 + loss), 0.1, 1.0, True)
            self.epochs.append(epoch)
            on_epoch(epoch)


class Search:
    """A search whose trials have given losses, in the order they are made."""

    validation_studies = 3  # too few to choose an epoch by

    def __init__(self, best: Path, *losses: Sequence[float]) -> None:
        """Take the losses of each trial, and where the best recipe goes."""
        self.best, self.losses, self.config = best, losses, CONFIG
        self.hyperparameters: list[Hyperparameters] = []
        self.trainers: list[Script] = []
        self.told: list[str] = []

    def run(self, trials: int | None = None) -> list[dict]:
        """Search, until all trials are made if no number is given."""
        count = len(self.losses) if trials is None else trials
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tuning, "make_trainer", self._trainer)
            return tune(self, count, None, self.best, self.told.append, 2)

    def with_hyperparameters(self, new: Hyperparameters) -> SimpleNamespace:
        """Return a task of which the trial's recipe is known."""
        return SimpleNamespace(config=replace(CONFIG, hyperparameters=new))

    def preset(self) -> dict:
        """Read the best recipe."""
        return tomllib.loads(self.best.read_text())

    def _trainer(self, config: RunConfig, loader_workers: int) -> Script:
        assert loader_workers == 2
        self.hyperparameters.append(config.hyperparameters)
        self.trainers.append(Script(self.losses[len(self.trainers)]))
        return self.trainers[-1]


def as_preset(hyperparameters: Hyperparameters) -> dict:
    return {
        **{"optimizer": hyperparameters.optimizer, "lr": hyperparameters.lr},
        **{
            "weight-decay": hyperparameters.weight_decay,
            "batch-size": hyperparameters.batch_size,
        },
        "augment": hyperparameters.augment,
    }


def test_the_best_is_of_the_least_validation_loss_of_any_epoch(tmp_path: Path) -> None:
    # The second's best epoch is its middle one; the third is best to begin with.
    search = Search(tmp_path / "best.toml", (5, 4, 3), (6, 1, 7), (2, 8, 9), (4, 4, 4))
    rows = search.run()
    assert search.preset() == pytest.approx(as_preset(search.hyperparameters[1]))
    assert rows[0]["loss"] == 1
    assert rows[0]["top-1"] == pytest.approx(1 / 2)
    assert rows[0]["optimizer"] == search.hyperparameters[1].optimizer
    assert len(search.told) == 4


@pytest.mark.parametrize(
    ("changed", "loss"),
    [
        ({"select": "best"}, 0.5),
        ({"select": "smoothed"}, 2.5),  # epochs 4 to 6; 3 to 5 come to 3
        ({"select": "last"}, 4.0),
        ({"select": "auto"}, 4.0),  # since few studies validate
        ({"select": "best", "patience": 0}, 4.0),
    ],
)
def test_a_trial_is_judged_by_the_weights_that_its_rule_keeps(
    changed: dict, loss: float, tmp_path: Path
) -> None:
    search = Search(tmp_path / "best.toml", (9.0, 0.5, 6.0, 2.0, 1.0, 4.5, 6.5, 1.0))
    search.config = replace(CONFIG, hyperparameters=replace(OWN, **changed))
    assert search.run()[0]["loss"] == loss


def test_a_trial_is_the_runs_own_recipe_but_for_what_is_searched(
    tmp_path: Path,
) -> None:
    search = Search(tmp_path / "best.toml", *[(3.0, 2.0)] * 6)
    search.run()
    kept = ("epochs", "patience", "schedule", "input_px", "bn_stats", "seed")
    for hyperparameters in search.hyperparameters:
        assert [getattr(hyperparameters, name) for name in kept] == [
            getattr(OWN, name) for name in kept
        ]
    for one, trainer in zip(search.hyperparameters, search.trainers, strict=True):
        assert trainer.task.config.hyperparameters == one
    assert search.hyperparameters[0] == OWN
    firsts = [
        hyperparameters.optimizer
        for hyperparameters in search.hyperparameters[: len(OPTIMIZERS)]
    ]
    assert sorted(firsts) == sorted(OPTIMIZERS)
    assert search.hyperparameters[5] != search.hyperparameters[4]


def test_a_trial_worse_than_most_is_stopped_early(tmp_path: Path) -> None:
    good, bad = (3.0, 2.0, 1.0), (9.0, 8.0, 0.5)
    search = Search(tmp_path / "best.toml", *[good] * 4, bad, good)
    rows = search.run()
    trained = [len(trainer.epochs) for trainer in search.trainers]
    assert trained[4] == 2  # the first epoch is warmup
    assert trained[:4] + trained[5:] == [3] * 5
    assert sum(row["stopped"] for row in rows) == 1
    # What it would have come to is not what it is judged by.
    assert rows[0]["loss"] == 1.0


def test_a_search_goes_on_with_the_trials_that_are_done(tmp_path: Path) -> None:
    first = Search(tmp_path / "best.toml", (4, 3), (2, 1), (6, 5))
    first.run()
    second = Search(tmp_path / "best.toml", (8, 7))
    rows = second.run(4)
    assert len(second.trainers) == 1
    assert sum(row["trials"] for row in rows) == 4
    assert second.preset() == pytest.approx(as_preset(first.hyperparameters[1]))
    again = Search(tmp_path / "best.toml")
    again.run(4)
    assert again.trainers == []


def test_two_runs_searches_in_one_place_are_two(tmp_path: Path) -> None:
    first = Search(tmp_path / "best.toml", (2, 1), (4, 3))
    first.run()
    other = Search(tmp_path / "best.toml", (6, 5), (8, 7))
    other.config = replace(CONFIG, fold="3")
    [best, *_] = other.run()
    assert best["loss"] == 5
    assert len(other.trainers) == 2


@pytest.mark.parametrize(
    ("asked", "tried"), [(1, 16), (20, 16), (30, 32), (100, 128), (500, 128)]
)
def test_a_batch_size_that_is_not_searched_gives_way_to_the_nearest(
    asked: int, tried: int
) -> None:
    own = Hyperparameters(batch_size=asked, lr=0.5, optimizer="adam")
    recipes = first_recipes(own)
    assert {recipe["batch_size"] for recipe in recipes} == {tried}
    [sgd] = [recipe for recipe in recipes if recipe["optimizer"] == "sgd"]
    assert sgd["lr"] == 0.1  # the greatest that is searched


def test_every_optimiser_is_tried_with_the_rest_of_the_recipe() -> None:
    own = OWN.to_dict()
    for recipe in first_recipes(OWN):
        for name in ("weight_decay", "batch_size", "augment"):
            assert recipe[name] == own[name]


NAN = float("nan")


def test_a_trial_that_diverges_does_not_end_the_search(tmp_path: Path) -> None:
    search = Search(tmp_path / "best.toml", (NAN,), (3, 2), (5, NAN), (4, 1))
    rows = search.run(2)
    assert len(search.trainers) == 4
    assert rows[0]["loss"] == 1
    assert search.preset() == pytest.approx(as_preset(search.hyperparameters[3]))
    assert ["diverged" in told for told in search.told] == [True, False, True, False]


def test_a_search_of_which_all_trials_diverge_stops(tmp_path: Path) -> None:
    search = Search(tmp_path / "best.toml", (2.0, 1.0), *[(NAN,)] * 50)
    with pytest.raises(UserError, match=f"after {MAX_FAILURES} diverged trials"):
        search.run(10)
    assert len(search.trainers) == 1 + MAX_FAILURES
    assert search.preset() == pytest.approx(as_preset(search.hyperparameters[0]))


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("postgresql://me:secret@host/db", "pip install psycopg2-binary"),
        ("mysql+pymysql://me:secret@host/db", "pip install pymysql"),
        ("nosuch://me:secret@host/db", "no URL of a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(
    storage: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as raised:
        tune(Search(tmp_path / "b.toml"), 1, storage, tmp_path / "b.toml", print)
    assert "secret" not in str(raised.value)

"""One run's training: what is kept when, goes on after a kill, and is published."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from fake_condition_runs import run_config
from safetensors.torch import load_file, save_file
from tiny_training import Scripted, same, tiny_trainer, weights_of
from toy_crops import QUIET, ToyTask, crop_set

from src import __version__
from src.errors import UserError
from src.training import train_run
from src.training.checkpoint import load_checkpoint
from src.training.config import EpochMetrics, RunConfig
from src.training.run_folder import CHECKPOINT_FILE, partial_folder
from src.training.run_lock import run_lock
from src.training.train_run import make_trainer
from src.training.trainer import Trainer

LOSSES = (3.0, 1.0, 2.0, 4.0)
CONFIG = replace(
    run_config(
        backbone="resnet10t", crop={"crop_px": 32, "field_mm": 50.0, "slices": 3}
    ),
    hyperparameters=replace(QUIET, epochs=4, patience=3, lr=0.01),
)


class Killed(Exception):  # noqa: N818  (not an error of anybody's)
    """A training's sudden end."""


class Rehearsal:
    """A run of a tiny model with given validation losses, and what came of it."""

    def __init__(self, runs: Path, config: RunConfig = CONFIG) -> None:
        """Prepare a run that is to lie in a folder of runs."""
        self.runs, self.config = runs, config
        self.validation = Scripted(LOSSES)
        self.predicted_by: list[dict[str, torch.Tensor]] = []

    def train(
        self, on_epoch: Callable[[EpochMetrics], None] | None = None
    ) -> list[int]:
        """Train, and return the epochs that were told of."""
        told: list[int] = []

        def tell(epoch: EpochMetrics) -> None:
            told.append(epoch.epoch)
            if on_epoch:
                on_epoch(epoch)

        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr(train_run, "make_trainer", self._trainer)
            train_run.train_run(self._task(), self.runs, tell)
        return told

    def _task(self) -> ToyTask:
        own = self.config.hyperparameters
        task = ToyTask(crop_set(24), self.validation, own)
        task.config, task.predict = self.config, self._predict
        task.prepare = lambda folder, loader_workers: task
        return task

    def checkpoint_epochs(self, config: RunConfig = CONFIG) -> int | None:
        """Count the epochs in the checkpoint, if there is one."""
        path = partial_folder(self.runs, config) / CHECKPOINT_FILE
        state = load_checkpoint(path, asdict(config))
        return len(state.epochs) if state else None

    @property
    def folder(self) -> Path:
        """Where the finished run lies."""
        return self.runs / self.config.name

    def _trainer(self, config: RunConfig, loader_workers: int) -> Trainer:
        assert loader_workers == 0
        return tiny_trainer(config.hyperparameters)

    def _predict(self, trainer: Trainer) -> pd.DataFrame:
        self.predicted_by.append(weights_of(trainer.model))
        return pd.DataFrame({"crop": [5, 6], "p_a": [0.25, 0.75]})


def kill_after(last: int) -> Callable[[EpochMetrics], None]:
    def kill(epoch: EpochMetrics) -> None:
        if epoch.epoch == last:
            raise Killed

    return kill


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give the training a clock that stands still unless it is moved."""
    clock = SimpleNamespace(now=1000.0)
    stub = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("src.training.train_run.time", stub)
    return clock


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a checkpoint after every epoch."""
    monkeypatch.setattr(train_run, "SAVE_EVERY_S", 0.0)


def test_the_best_weights_predict_and_are_published(tmp_path: Path) -> None:
    one = Rehearsal(tmp_path)
    assert one.train() == [1, 2, 3, 4]
    best = one.validation.judged[2]
    [predicted_by] = one.predicted_by
    assert same(predicted_by, best)
    assert same(load_file(one.folder / "weights.safetensors"), best)
    assert not same(best, one.validation.judged[4])
    written = pd.read_csv(one.folder / "predictions.csv")
    assert written.to_dict("list") == {"crop": [5, 6], "p_a": [0.25, 0.75]}
    config = json.loads((one.folder / "config.json").read_text())
    assert config == {**CONFIG.to_dict(), "kit_version": __version__}
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG.name]


def test_a_runs_recipe_and_workers_are_the_trainers() -> None:
    trainer = make_trainer(CONFIG, 3)
    assert trainer.hyperparameters == CONFIG.hyperparameters
    assert trainer.loader_workers == 3


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_killed_run_trains_what_is_left_and_publishes_its_best(
    killed: int, tmp_path: Path
) -> None:
    whole, one = Rehearsal(tmp_path / "whole"), Rehearsal(tmp_path / "killed")
    whole.train()
    assert one.train(kill_after(killed)) == list(range(1, killed + 1))
    assert not one.folder.exists()
    torch.manual_seed(999)
    # The checkpoint is written before an epoch is told of, so the last one is in it.
    assert one.train() == list(range(killed + 1, 5))
    assert same(*(load_file(r.folder / "weights.safetensors") for r in (whole, one)))
    assert same(one.predicted_by[-1], one.validation.judged[2])
    lines = (one.folder / "history.jsonl").read_text().splitlines()
    losses = [json.loads(line)["validation_loss"] for line in lines]
    assert losses == list(LOSSES)
    assert not (one.folder / CHECKPOINT_FILE).exists()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": replace(CONFIG.hyperparameters, lr=0.02)},
        {"cache_fingerprint": {"points": "1"}},
        {"weights": "imagenet"},
        {"limit": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_with_another_description_begins_anew(
    change: dict, tmp_path: Path
) -> None:
    Rehearsal(tmp_path).train(kill_after(2))
    other = Rehearsal(tmp_path, replace(CONFIG, **change))
    assert other.config.name == CONFIG.name
    assert other.train() == [1, 2, 3, 4]


def test_checkpoints_are_a_minute_apart_and_the_history_is_kept_each_epoch(
    clock: SimpleNamespace, tmp_path: Path
) -> None:
    one, seen, lines = Rehearsal(tmp_path), [], []

    def look(epoch: EpochMetrics) -> None:
        seen.append(one.checkpoint_epochs())
        history = partial_folder(tmp_path, CONFIG) / "history.jsonl"
        lines.append(len(history.read_text().splitlines()))
        clock.now += (30, 30, 59)[epoch.epoch - 1] if epoch.epoch < 4 else 0

    assert one.train(look) == [1, 2, 3, 4]
    # Epoch 3 ends 60 s after the start, epoch 4 another 59 s later.
    assert seen == [None, None, 3, 3]
    assert lines == [1, 2, 3, 4]


def test_after_a_checkpoint_the_next_is_a_minute_away(
    clock: SimpleNamespace, tmp_path: Path
) -> None:
    one, seen = Rehearsal(tmp_path), []

    def look(epoch: EpochMetrics) -> None:
        seen.append(one.checkpoint_epochs())
        clock.now += (60, 30, 30, 0)[epoch.epoch - 1]

    one.train(look)
    assert seen == [None, 2, 2, 4]


def test_another_process_than_the_first_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waited = []
    place = "src.training.distributed."
    monkeypatch.setattr(place + "rank", lambda: 1)
    monkeypatch.setattr(place + "barrier", lambda: waited.append(True))
    monkeypatch.setattr(train_run, "SAVE_EVERY_S", 0.0)
    one = Rehearsal(tmp_path / "runs")
    assert one.train() == [1, 2, 3, 4]
    assert len(one.predicted_by) == 1  # it has its share of the predicting
    assert waited == [True]
    assert not (tmp_path / "runs").exists()


def test_a_run_begins_from_its_weights_and_its_seed(tmp_path: Path) -> None:
    def weights(config: RunConfig) -> dict[str, torch.Tensor]:
        made = weights_of(make_trainer(config).model)
        return {name: value.contiguous() for name, value in made.items()}

    seeded = replace(CONFIG.hyperparameters, seed=1)
    other = weights(replace(CONFIG, hyperparameters=seeded))
    assert same(weights(CONFIG), weights(CONFIG))
    assert not same(weights(CONFIG), other)
    save_file(other, tmp_path / "w.safetensors")
    begun = weights(replace(CONFIG, weights=str(tmp_path / "w.safetensors")))
    assert same(begun, other)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_from_a_cut_checkpoint_a_run_begins_anew_and_says_so(
    keep: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one = Rehearsal(tmp_path)
    one.train(kill_after(2))
    path = partial_folder(tmp_path, CONFIG) / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:keep])
    assert one.train() == [1, 2, 3, 4]
    [sentence] = capsys.readouterr().out.splitlines()
    assert str(path) in sentence
    assert "from the beginning" in sentence
    assert same(load_file(one.folder / "weights.safetensors"), one.validation.judged[2])


def test_a_run_that_diverges_is_named_and_not_finished(tmp_path: Path) -> None:
    one = Rehearsal(tmp_path)
    one.validation.losses = (3.0, float("nan"), 1.0, 1.0)
    with pytest.raises(UserError, match=f"^{CONFIG.name} diverged: .* epoch 2 is nan"):
        one.train()
    assert not one.folder.exists()


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    one = Rehearsal(tmp_path)
    with (
        run_lock(partial_folder(tmp_path, CONFIG)),
        pytest.raises(UserError, match="is being trained by process"),
    ):
        one.train()
    assert one.train() == [1, 2, 3, 4]
    assert one.train() == []  # finished meanwhile: not trained again


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "inception_v3"])
def test_a_backbone_that_needs_another_size_names_the_flag(backbone: str) -> None:
    with pytest.raises(UserError, match=r"images of 32 px .*--input-px (224|96)$"):
        make_trainer(replace(CONFIG, backbone=backbone))


def test_a_backbone_with_a_second_output_in_training_trains_on_one() -> None:
    config = replace(CONFIG, backbone="googlenet")
    model = make_trainer(config).model.train()
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, len(CONFIG.labels))

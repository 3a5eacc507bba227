"""Training one run: from its task to its folder."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch

from src.console import say
from src.training import distributed
from src.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from src.training.config import EpochMetrics, Hyperparameters, RunConfig
from src.training.device import choose_device
from src.training.epoch_bar import epoch_bar
from src.training.predictor import Predictor
from src.training.run_folder import (
    CHECKPOINT_FILE,
    build_model,
    check_images,
    finalize_run,
    is_finished,
    partial_folder,
    write_history,
)
from src.training.run_lock import run_lock
from src.training.trainer import DivergedError, Task, Trainer, no_bar

SAVE_EVERY_S = 60.0  # between checkpoints: VGG-16's is 2 GB


class TrainingTask(Task, Protocol):
    """A trainer's task that describes its run and predicts its test studies."""

    @property
    def config(self) -> RunConfig:
        """The description of the run."""

    def with_hyperparameters(self, new: Hyperparameters) -> "TrainingTask":
        """Return the same task with another recipe."""

    def prepare(self, folder: Path, loader_workers: int) -> "TrainingTask":
        """Return the task as it is trained, after what must be trained before it.

        folder: of the unfinished run, which this process holds.
        """

    def predict(self, model: Predictor) -> pd.DataFrame:
        """Return the rows of predictions.csv."""


def train_run(
    task: TrainingTask,
    runs: Path,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    loader_workers: int = 0,
) -> None:
    """Train a run, from its last checkpoint if there is one, and write its folder.

    Raises UserError where it diverges, or where another process is training it.
    """
    folder = partial_folder(runs, task.config)
    with distributed.first_alone(run_lock(folder)):
        if is_finished(runs, task.config):  # by the process that held the lock before
            return
        _train_run(task, runs, on_epoch, loader_workers)


def _train_run(
    task: TrainingTask,
    runs: Path,
    on_epoch: Callable[[EpochMetrics], None],
    loader_workers: int,
) -> None:
    folder = partial_folder(runs, task.config)
    prepared = task.prepare(folder, loader_workers)
    trainer = fit_task(prepared, folder, on_epoch, loader_workers)
    predictions = task.predict(trainer)
    if distributed.rank() == 0:
        finalize_run(runs, task.config, trainer.model, predictions)
    distributed.barrier()


def fit_task(
    task: TrainingTask,
    folder: Path,
    on_epoch: Callable[[EpochMetrics], None],
    loader_workers: int = 0,
) -> Trainer:
    """Train a task from the last checkpoint in a folder; return it with best weights.

    Raises UserError where it diverges.
    """
    writer = _resumed(task.config, folder, loader_workers)
    trainer = writer.trainer

    def after(metrics: EpochMetrics) -> None:
        writer.keep()
        on_epoch(metrics)

    try:
        trainer.fit(task, after, epoch_bar if distributed.rank() == 0 else no_bar)
    except DivergedError as error:
        raise DivergedError(f"{task.config.name} {error}") from error
    return trainer


def _resumed(
    config: RunConfig, folder: Path, loader_workers: int
) -> "CheckpointWriter":
    """Make a run's trainer and restore its checkpoint, unless that is damaged."""
    writer = CheckpointWriter(make_trainer(config, loader_workers), config, folder)
    try:
        writer.resume()
    except CheckpointError as error:
        if distributed.rank() == 0:
            say(
                f"{folder / CHECKPOINT_FILE} cannot be resumed from ({error}): "
                f"training {config.name} from the beginning"
            )
        anew = make_trainer(config, loader_workers)
        writer = CheckpointWriter(anew, config, folder)
    return writer


def make_trainer(config: RunConfig, loader_workers: int = 0) -> Trainer:
    """Build a run's network and its trainer, the same each time for the same seed.

    Raises UserError for a backbone that cannot take the run's images.
    """
    hyperparameters = config.hyperparameters
    torch.manual_seed(hyperparameters.seed)
    model = build_model(config, config.weights)
    check_images(config, model)
    return Trainer(
        model, hyperparameters, choose_device(), loader_workers=loader_workers
    )


class CheckpointWriter:
    """Writes a training's history each epoch, and its checkpoint once a minute."""

    def __init__(self, trainer: Trainer, config: RunConfig, folder: Path) -> None:
        """Write them into a folder, which need not exist yet."""
        self.trainer, self.config, self.folder = trainer, asdict(config), folder
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Restore the last checkpoint of this very run, if there is one.

        Raises CheckpointError for a damaged one.
        """
        if state := load_checkpoint(self.folder / CHECKPOINT_FILE, self.config):
            self.trainer.restore(state)

    def keep(self) -> None:
        """Write the history, and a checkpoint if the last is long ago."""
        if distributed.rank() != 0:
            return
        write_history(self.trainer.epochs, self.folder)
        if time.monotonic() - self.saved >= SAVE_EVERY_S:
            save_checkpoint(
                self.trainer.checkpoint(self.config), self.folder / CHECKPOINT_FILE
            )
            self.saved = time.monotonic()


def epoch_printer(title: str) -> Callable[[EpochMetrics], None]:
    """Print a training's title; return what prints a line an epoch, and a heading."""
    say(f"\n{title}")
    heading = [
        "epoch  train loss  validation loss  validation top-1  seconds  images/s"
    ]

    def add(epoch: EpochMetrics) -> None:
        while heading:  # with the first epoch, after what is said before it
            say(heading.pop())
        say(
            f"{epoch.epoch:5d}  {epoch.train_loss:10.4f}  {epoch.validation_loss:15.4f}"
            f"  {epoch.validation_top1:16.3f}  {epoch.seconds:7.1f}"
            f"  {epoch.images_per_second or 0:8.0f}"
            f"{' *' if epoch.best else ''}"
        )

    return add

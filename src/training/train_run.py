"""Training one run: from its examples to its folder."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from src.console import say
from src.training import distributed
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.config import EpochMetrics, Hyperparameters, RunConfig
from src.training.run_folder import (
    CHECKPOINT_FILE,
    build_model,
    finalize_run,
    partial_folder,
    write_history,
)
from src.training.trainer import Dataset, Trainer

SAVE_EVERY_S = 60.0  # between checkpoints: VGG-16's is 2 GB


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What a run is to be made of, whatever its task.

    trainer: makes the run's trainer, the same each time for the same settings;
    predict: tells what the trained model says of the run's test studies.
    """

    config: RunConfig
    train: Dataset
    validation: Dataset
    trainer: Callable[[Hyperparameters], Trainer]
    predict: Callable[[Trainer], pd.DataFrame]


def train_and_save(
    job: TrainingTask,
    runs: Path,
    on_epoch: Callable[[EpochMetrics], None] = lambda epoch: None,
) -> None:
    """Train a run, from its last checkpoint if there is one, and write its folder."""
    trainer = job.trainer(Hyperparameters(**job.config.hyperparameters))
    keeper = CheckpointWriter(trainer, job.config, partial_folder(runs, job.config))
    keeper.resume()

    def after(epoch: EpochMetrics) -> None:
        keeper.keep()
        on_epoch(epoch)

    trainer.fit(job.train, job.validation, after)
    predictions = job.predict(trainer)
    if distributed.rank() == 0:
        finalize_run(runs, job.config, trainer.model, predictions)
    distributed.barrier()


def build_seeded_model(
    config: RunConfig, hyperparameters: Hyperparameters
) -> torch.nn.Module:
    """Build a run's network, the same each time for the same seed."""
    torch.manual_seed(hyperparameters.seed)
    return build_model(config, config.weights)


class CheckpointWriter:
    """Keeps a training's history and, every so often, its checkpoint."""

    def __init__(self, trainer: Trainer, config: RunConfig, folder: Path) -> None:
        """Keep them in a folder that need not be there yet."""
        self.trainer, self.config, self.folder = trainer, asdict(config), folder
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Restore the last checkpoint of this very run, if there is one."""
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
    """Print a training's title and heading; return what prints a line an epoch."""
    say(f"\n{title}")
    say("epoch  train loss  validation loss  validation top-1  seconds")

    def add(epoch: EpochMetrics) -> None:
        say(
            f"{epoch.epoch:5d}  {epoch.train_loss:10.4f}  {epoch.validation_loss:15.4f}"
            f"  {epoch.validation_top1:16.3f}  {epoch.seconds:7.1f}"
            f"{' *' if epoch.best else ''}"
        )

    return add

"""Training one run: from its examples to its folder."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from src.learning import distributed
from src.learning.checkpoint import load, save
from src.learning.engine import Examples, Trainer
from src.learning.models import model_for
from src.learning.run_config import RunConfig
from src.learning.runs import STATE_FILE, part_folder, publish_run, write_history
from src.learning.settings import Epoch, Settings

SAVE_EVERY_S = 60.0  # between checkpoints: VGG-16's is 2 GB


@dataclass(frozen=True, eq=False)
class Job:
    """What a run is to be made of, whatever its task.

    trainer: makes the run's trainer, the same each time for the same settings;
    predict: tells what the trained model says of the run's test studies.
    """

    config: RunConfig
    train: Examples
    validation: Examples
    trainer: Callable[[Settings], Trainer]
    predict: Callable[[Trainer], pd.DataFrame]


def train_run(
    job: Job, runs: Path, on_epoch: Callable[[Epoch], None] = lambda epoch: None
) -> None:
    """Train a run, from its last checkpoint if there is one, and write its folder."""
    trainer = job.trainer(Settings(**job.config.settings))
    keeper = _Keeper(trainer, job.config, part_folder(runs, job.config))
    keeper.go_on()

    def after(epoch: Epoch) -> None:
        keeper.keep()
        on_epoch(epoch)

    trainer.fit(job.train, job.validation, after)
    predictions = job.predict(trainer)
    if distributed.rank() == 0:
        publish_run(runs, job.config, trainer.model, predictions)
    distributed.wait_for_all()


def seeded_model(config: RunConfig, settings: Settings) -> torch.nn.Module:
    """Build a run's network, the same each time for the same seed."""
    torch.manual_seed(settings.seed)
    return model_for(config, config.weights)


class _Keeper:
    """Keeps a training's history and, every so often, its checkpoint."""

    def __init__(self, trainer: Trainer, config: RunConfig, folder: Path) -> None:
        self.trainer, self.config, self.folder = trainer, asdict(config), folder
        self.saved = time.monotonic()

    def go_on(self) -> None:
        """Restore the last checkpoint of this very run, if there is one."""
        if state := load(self.folder / STATE_FILE, self.config):
            self.trainer.restore(state)

    def keep(self) -> None:
        """Write the history, and a checkpoint if the last is long ago."""
        if distributed.rank() != 0:
            return
        write_history(self.trainer.epochs, self.folder)
        if time.monotonic() - self.saved >= SAVE_EVERY_S:
            save(self.trainer.checkpoint(self.config), self.folder / STATE_FILE)
            self.saved = time.monotonic()

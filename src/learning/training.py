"""Training one run: a task, a backbone, a fold."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from src.competition.folds import roles, row_roles
from src.competition.prior import fallback, uniform
from src.errors import InputError
from src.imaging.cache import Cache
from src.learning import distributed
from src.learning.backbones import build
from src.learning.checkpoint import load, save
from src.learning.dataset import CropSet
from src.learning.device import choose_device
from src.learning.engine import Trainer
from src.learning.mirror import is_axial
from src.learning.runs import (
    STATE_FILE,
    RunConfig,
    part_folder,
    publish_run,
    write_history,
)
from src.learning.settings import Epoch, Settings
from src.learning.tasks import CROP_TASKS

ROLES = ("train", "validation", "test")
SAVE_EVERY_S = 60.0  # between checkpoints: VGG-16's is 2 GB


def crop_roles(
    cache: Cache, folds: pd.DataFrame, split: str, fold: str, seed: int
) -> pd.Series:
    """Give each row of the cache's table its role: train, validation or test.

    split `study` follows folds.csv; `row` deals single crops out whatever their study,
    as the paper's code did, so that a study's crops are on both sides.
    """
    table = cache.table
    if split == "row":
        return pd.Series(row_roles(len(table), seed), index=table.index)
    return table["study_id"].map(roles(folds, fold_id(fold)))


def fold_id(fold: str) -> int | str:
    """Turn a flag's fold into `folds.roles`'s: "holdout" or a number."""
    if fold == "holdout":
        return fold
    if not fold.isdecimal():
        raise InputError(f"Fold {fold!r} is not holdout, all or one of 0 to 4.")
    return int(fold)


def limited(table: pd.DataFrame, limit: int | None) -> pd.Series:
    """Mark the rows of the first `limit` studies, or all: a quick rehearsal."""
    studies = sorted(table["study_id"].unique())[:limit]
    return table["study_id"].isin(studies)


def prior_of(labels: pd.DataFrame, folds: pd.DataFrame, fold: str) -> pd.DataFrame:
    """Make the prior of the studies that a fold does not test."""
    role = labels["study_id"].map(roles(folds, fold_id(fold)))
    seen = labels[role.isin(["train", "validation"])]
    return fallback(seen) if seen["severity"].notna().any() else uniform()


def train_run(
    cache: Cache,
    folds: pd.DataFrame,
    config: RunConfig,
    runs: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> None:
    """Train a run, from its last checkpoint if there is one, and write its folder."""
    sets = crop_sets(cache, folds, config)
    trainer = new_trainer(config, Settings(**config.settings))
    keeper = _Keeper(trainer, config, part_folder(runs, config))
    keeper.go_on()

    def after(epoch: Epoch) -> None:
        keeper.keep()
        on_epoch(epoch)

    trainer.fit(sets["train"], sets["validation"], after)
    predictions = _predictions(cache, config, sets["test"], trainer)
    if distributed.rank() == 0:
        publish_run(runs, config, trainer.model, predictions)
    distributed.wait_for_all()


def new_trainer(config: RunConfig, settings: Settings) -> Trainer:
    """Build a run's model and its trainer, the same each time for the same seed."""
    torch.manual_seed(settings.seed)
    model = build(config.backbone, len(config.labels), config.weights)
    # One slice three times is its own mirror image: its label could be either.
    mirrors = config.task == "condition" and config.slices == "neighbours"
    return Trainer(model, settings, choose_device(), mirrors)


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


def crop_sets(
    cache: Cache, folds: pd.DataFrame, config: RunConfig
) -> dict[str, CropSet]:
    """Divide the cache's crops into train, validation and test, each with some."""
    seed = config.settings["seed"]
    given = crop_roles(cache, folds, config.split, config.fold, seed)
    given = given.where(limited(cache.table, config.limit))
    sets = {role: _crop_set(cache, config, given == role) for role in ROLES}
    for role in ROLES:
        if not len(sets[role]):
            raise InputError(
                f"No crop is left for {role}: prepare more studies, or raise --limit"
            )
    return sets


def _crop_set(cache: Cache, config: RunConfig, chosen: pd.Series) -> CropSet:
    table = cache.table[chosen]
    return CropSet(
        cache.crops,
        table["crop"].to_numpy(np.int64),
        CROP_TASKS[config.task].classes(table),
        is_axial(table),
        config.slices,
    )


def _predictions(
    cache: Cache, config: RunConfig, test: CropSet, trainer: Trainer
) -> pd.DataFrame:
    """Predict the test crops: their sites, class ids and a probability a label."""
    where = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    table = cache.table.set_index("crop", drop=False).loc[test.rows, where]
    table = table.reset_index(drop=True)
    chances = torch.softmax(trainer.logits(test), dim=1).numpy()
    table["truth"] = test.classes
    table["predicted"] = chances.argmax(axis=1)
    for index, label in enumerate(config.labels):
        table[f"p_{label}"] = chances[:, index]
    return table

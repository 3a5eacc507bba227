"""Training one run: a task, a backbone, a fold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from src.competition.folds import roles, row_roles
from src.competition.prior import fallback, uniform
from src.errors import InputError
from src.imaging.cache import Cache
from src.learning.backbones import build
from src.learning.dataset import CropSet
from src.learning.device import choose_device
from src.learning.engine import Epoch, Settings, Trainer
from src.learning.runs import RunConfig, writing_run
from src.learning.tasks import CROP_TASKS

ROLES = ("train", "validation", "test")


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
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Train a run and write its folder; its test crops are predicted at the end."""
    settings = Settings(**config.settings)
    torch.manual_seed(settings.seed)
    given = crop_roles(cache, folds, config.split, config.fold, settings.seed)
    given = given.where(limited(cache.table, config.limit))
    sets = {role: _crop_set(cache, config, given == role) for role in ROLES}
    for role in ROLES:
        if not len(sets[role]):
            raise InputError(
                f"No crop is left to be {role}: prepare more studies, or raise --limit"
            )
    model = build(config.backbone, len(config.labels), config.weights)
    trainer = Trainer(model, settings, choose_device())
    with writing_run(runs, config) as writer:

        def record(epoch: Epoch) -> None:
            writer.add_epoch(epoch)
            on_epoch(epoch)

        trainer.fit(sets["train"], sets["validation"], record)
        table = _predictions(cache, config, sets["test"], trainer)
        writer.finish(config, trainer.model, table)


def _crop_set(cache: Cache, config: RunConfig, chosen: pd.Series) -> CropSet:
    table = cache.table[chosen]
    classes = CROP_TASKS[config.task].classes(table)
    rows = table["crop"].to_numpy(np.int64)
    return CropSet(cache.crops, rows, classes, config.slices)


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

"""The tasks that are asked of crops: condition and severity."""

from functools import partial

import numpy as np
import pandas as pd
import torch

from src.errors import InputError
from src.imaging.cache import SITE, Cache
from src.learning.augment import Augmenter
from src.learning.dataset import CHANNELS, CropSet
from src.learning.device import choose_device
from src.learning.engine import Trainer
from src.learning.mirror import is_axial
from src.learning.roles import ROLES, crop_roles, limited, require_some
from src.learning.run_config import RunConfig
from src.learning.settings import Settings
from src.learning.tasks import CROP_TASKS
from src.learning.training import Job, seeded_model

# Share of training crops taken one slice beside their own, as a locator's are: the
# competition's winners found the marked slice of 71 %, and of 98 % within one.
SLICE_JITTER = 0.25


def crop_job(cache: Cache, folds: pd.DataFrame, config: RunConfig) -> Job:
    """Put a crop task together. Raises InputError if a role has no crop."""
    if config.slices == "attention" and cache.spec.slices <= CHANNELS:
        raise InputError(
            f"--slices attention looks at more than {CHANNELS} slices and the cache "
            f"has {cache.spec.slices}: prepare one with input_prep.py --crop-slices 5"
        )
    sets = crop_sets(cache, folds, config)
    return Job(
        config,
        sets["train"],
        sets["validation"],
        partial(new_trainer, config),
        lambda trainer: _predictions(cache, config, sets["test"], trainer),
    )


def new_trainer(config: RunConfig, settings: Settings) -> Trainer:
    """Build a run's model and its trainer, the same each time for the same seed."""
    # One slice three times is its own mirror image: its label could be either.
    mirrors = config.task == "condition" and config.slices == "neighbours"
    spare = config.task == "severity" and config.crop["slices"] > CHANNELS
    jitter = SLICE_JITTER if spare else 0.0
    augment = Augmenter(settings.augment, settings.seed, mirrors, jitter)
    model = seeded_model(config, settings)
    return Trainer(model, settings, choose_device(), augment=augment)


def crop_sets(
    cache: Cache, folds: pd.DataFrame, config: RunConfig
) -> dict[str, CropSet]:
    """Divide the cache's crops into train, validation and test, each with some."""
    seed = config.settings["seed"]
    given = crop_roles(cache.table, folds, config.split, config.fold, seed)
    answered = cache.table[CROP_TASKS[config.task].column].notna()
    given = given.where(limited(cache.table, config.limit) & answered)
    sets = {role: _crop_set(cache, config, given == role) for role in ROLES}
    require_some({role: len(sets[role]) for role in ROLES}, "crop")
    return sets


def _crop_set(cache: Cache, config: RunConfig, chosen: pd.Series) -> CropSet:
    table, task = cache.table[chosen], CROP_TASKS[config.task]
    return CropSet(
        cache.crops,
        table["crop"].to_numpy(np.int64),
        task.classes(table),
        is_axial(table),
        config.slices,
        task.mirrored(table["condition"]),
        task.symmetric(table["condition"]) if config.settings["augment"] else None,
        task.weights,
    )


def _predictions(
    cache: Cache, config: RunConfig, test: CropSet, trainer: Trainer
) -> pd.DataFrame:
    """Predict the test crops: their sites, class ids and a probability a label."""
    table = cache.table.set_index("crop", drop=False)
    table = table.loc[test.rows, ["crop", *SITE]].reset_index(drop=True)
    chances = torch.softmax(trainer.logits(test), dim=1).numpy()
    table["truth"] = test.classes
    table["predicted"] = chances.argmax(axis=1)
    for index, label in enumerate(config.labels):
        table[f"p_{label}"] = chances[:, index]
    return table

"""The tasks that are asked of crops: condition and severity."""

from functools import partial

import numpy as np
import pandas as pd
import torch

from src.cache.crop_cache import SITE, CropCache
from src.classification.crop_dataset import CropDataset
from src.classification.labels import CROP_TASKS
from src.errors import UserError
from src.models.backbones import CHANNELS
from src.training.augmentation import Augmenter
from src.training.config import Hyperparameters, RunConfig
from src.training.device import choose_device
from src.training.mirror import is_axial
from src.training.splits import SPLITS, crop_splits, first_studies, require_examples
from src.training.train_run import TrainingTask, build_seeded_model
from src.training.trainer import Trainer

# Share of training crops taken one slice beside their own, as a locator's are: the
# competition's winners found the marked slice of 71 %, and of 98 % within one.
SLICE_JITTER = 0.25


def make_crop_task(
    cache: CropCache, folds: pd.DataFrame, config: RunConfig
) -> TrainingTask:
    """Put a crop task together. Raises UserError if a role has no crop."""
    if config.slices == "attention" and cache.spec.slices <= CHANNELS:
        raise UserError(
            f"--slices attention looks at more than {CHANNELS} slices and the cache "
            f"has {cache.spec.slices}: prepare one with input_prep.py --crop-slices 5"
        )
    sets = crop_datasets(cache, folds, config)
    return TrainingTask(
        config,
        sets["train"],
        sets["validation"],
        partial(make_crop_trainer, config),
        lambda trainer: _predictions(cache, config, sets["test"], trainer),
    )


def make_crop_trainer(config: RunConfig, hyperparameters: Hyperparameters) -> Trainer:
    """Build a run's model and its trainer, the same each time for the same seed."""
    # One slice three times is its own mirror image: its label could be either.
    mirrors = config.task == "condition" and config.slices == "neighbours"
    spare = config.task == "severity" and config.crop["slices"] > CHANNELS
    jitter = SLICE_JITTER if spare else 0.0
    augment = Augmenter(hyperparameters.augment, hyperparameters.seed, mirrors, jitter)
    model = build_seeded_model(config, hyperparameters)
    return Trainer(model, hyperparameters, choose_device(), augment=augment)


def crop_datasets(
    cache: CropCache, folds: pd.DataFrame, config: RunConfig
) -> dict[str, CropDataset]:
    """Divide the cache's crops into train, validation and test, each with some."""
    seed = config.hyperparameters["seed"]
    given = crop_splits(cache.table, folds, config.split, config.fold, seed)
    answered = cache.table[CROP_TASKS[config.task].column].notna()
    given = given.where(first_studies(cache.table, config.limit) & answered)
    sets = {role: _crop_set(cache, config, given == role) for role in SPLITS}
    require_examples({role: len(sets[role]) for role in SPLITS}, "crop")
    return sets


def _crop_set(cache: CropCache, config: RunConfig, chosen: pd.Series) -> CropDataset:
    table, task = cache.table[chosen], CROP_TASKS[config.task]
    return CropDataset(
        cache.crops,
        table["crop"].to_numpy(np.int64),
        task.classes(table),
        is_axial(table),
        config.slices,
        task.mirrored(table["condition"]),
        task.mirror_invariant(table["condition"])
        if config.hyperparameters["augment"]
        else None,
        task.weights,
    )


def _predictions(
    cache: CropCache, config: RunConfig, test: CropDataset, trainer: Trainer
) -> pd.DataFrame:
    """Predict the test crops: their sites, class ids and a probability a label."""
    table = cache.table.set_index("crop", drop=False)
    table = table.loc[test.rows, ["crop", *SITE]].reset_index(drop=True)
    probabilities = torch.softmax(trainer.logits(test), dim=1).numpy()
    table["truth"] = test.classes
    table["predicted"] = probabilities.argmax(axis=1)
    for index, label in enumerate(config.labels):
        table[f"p_{label}"] = probabilities[:, index]
    return table

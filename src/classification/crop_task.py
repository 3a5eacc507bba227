"""The tasks on crops: condition and severity classification."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy, log_softmax

from src.cache.crop_cache import SITE, CropCache
from src.classification.crop_dataset import CropDataset
from src.classification.labels import CROP_LABELS
from src.classification.site_dataset import SiteDataset, view_crops
from src.classification.soft_labels import (
    Lesson,
    second_half,
    soft_labels,
    teachers_answers,
    without_weights,
)
from src.classification.view_loss import view_loss
from src.console import say
from src.errors import UserError
from src.models.backbones import CHANNELS
from src.training import distributed
from src.training.augmentation import Augmenter
from src.training.config import Hyperparameters, RunConfig
from src.training.mirror import is_axial
from src.training.predictor import Predictor
from src.training.site_jitter import PUBLISHED, SiteJitter
from src.training.splits import SPLITS, crop_splits, first_studies, require_examples
from src.training.trainer import Validation


@dataclass(frozen=True, eq=False)
class CropTraining:
    """Crops to train a classifier on and to validate it: trainer.Task.

    batch_size: of the validation.
    """

    train: CropDataset
    validation: CropDataset
    batch_size: int

    @property
    def validation_studies(self) -> int:
        """Count none: crops alone do not tell their studies."""
        return 0

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy [], with class weights.

        target: class ids [n], or probabilities [n, classes]. A crop of several classes
        weighs what its classes do.
        """
        weights = _class_weights(self.train.weights, outputs.device)
        if outputs.ndim == 3:  # of a network in training that sees all views
            return view_loss(outputs, target, weights)
        if target.ndim == 1:
            return cross_entropy(outputs.float(), target, weights)
        weighted = target if weights is None else target * weights
        return -(weighted * log_softmax(outputs.float(), dim=1)).sum() / weighted.sum()

    def validate(self, model: Predictor) -> Validation:
        """Return the mean loss and the top-1 accuracy on the validation crops."""
        logits = model.logits(self.validation, self.batch_size)
        classes = torch.tensor(self.validation.classes)
        top1 = (logits.argmax(dim=1) == classes).float().mean().item()
        return Validation(self.loss(logits, classes).item(), top1)


@dataclass(frozen=True, eq=False)
class CropTask(CropTraining):
    """Which condition a crop shows, or how severe it is: train_run.TrainingTask.

    table: the crops at the marked points, of which `test` are predicted.
    """

    config: RunConfig
    table: pd.DataFrame
    test: CropDataset

    @property
    def validation_studies(self) -> int:
        """The number of studies that validate."""
        chosen = self.table["crop"].isin(self.validation.rows)
        return int(self.table.loc[chosen, "study_id"].nunique())

    def with_hyperparameters(self, new: Hyperparameters) -> "CropTask":
        """Return the same task with another recipe, augmentation included."""
        config = replace(self.config, hyperparameters=new)
        train = replace(
            self.train,
            augment=make_augmenter(config),
            seed=new.seed,
            flips=new.augment > 0,
            mixup=new.mixup,
        )
        size = new.part_size
        return replace(self, config=config, train=train, batch_size=size)

    def prepare(self, folder: Path, loader_workers: int) -> "CropTask":
        """Soften the training labels, where the recipe asks for it.

        folder: where teachers are trained, and their answers kept until the run is
        finished. Raises UserError for a single training study.
        """
        own, train = self.config.hyperparameters, self.train
        if not own.soften:
            return self
        studies = self.table.set_index("crop")["study_id"].loc[train.rows]
        second = second_half(studies.to_numpy(), own.seed)
        lessons = [
            Lesson(replace(self, train=train.subset(half)), train.subset(~half))
            for half in (second, ~second)
        ]
        given = (lessons, train.rows, self.config, folder, loader_workers)
        answers = without_weights(teachers_answers(*given), train.weights)
        if distributed.rank() == 0:
            others = (answers.argmax(axis=1) != train.classes).sum()
            say(f"The teachers contradict {others} of {len(train)} training labels")
        soft = soft_labels(train.classes, answers, own.soften)
        return replace(self, train=replace(train, soft=soft))

    def predict(self, model: Predictor) -> pd.DataFrame:
        """Predict the test crops: their sites, class ids and a probability a label."""
        table = self.table.set_index("crop", drop=False)
        table = table.loc[self.test.rows, ["crop", *SITE]].reset_index(drop=True)
        logits = model.logits(self.test, self.batch_size)
        probabilities = torch.softmax(logits, dim=1).numpy()
        table["truth"] = self.test.classes
        table["predicted"] = probabilities.argmax(axis=1)
        for index, label in enumerate(self.config.labels):
            table[f"p_{label}"] = probabilities[:, index]
        return table


@lru_cache
def _class_weights(
    weights: tuple[float, ...] | None, device: torch.device
) -> torch.Tensor | None:
    """Put class weights on a device, once and not at every step."""
    if weights is None:
        return None
    return torch.tensor(weights, dtype=torch.float32, device=device)


def make_crop_task(
    cache: CropCache, folds: pd.DataFrame, config: RunConfig
) -> CropTask:
    """Make a crop task. Raises UserError if a split has no crop."""
    narrow = cache.spec.slices <= CHANNELS
    if config.slices == "attention" and config.views == "own" and narrow:
        raise UserError(
            f"--slices attention looks at more than {CHANNELS} slices and the cache "
            f"has {cache.spec.slices}: prepare one with input_prep.py --crop-slices 5"
        )
    own = config.hyperparameters
    sets = crop_datasets(cache, folds, config)
    task = CropTask(config=config, table=cache.sites, batch_size=own.part_size, **sets)
    return task.with_hyperparameters(own)  # which gives the train crops augmentation


def make_augmenter(config: RunConfig) -> Augmenter:
    """Make the augmentation of a run's training crops."""
    # One slice three times is its own mirror image: its label could be either.
    mirrors = config.task == "condition" and config.slices == "neighbours"
    own = config.hyperparameters
    return Augmenter(own.augment, own.seed, mirrors, make_jitter(config))


def make_jitter(config: RunConfig) -> SiteJitter | None:
    """Make the jitter of a severity run's training crops; None where there is none.

    Raises UserError for measured errors and crops without a known pixel size.
    """
    spare = (config.crop["slices"] - CHANNELS) // 2
    if config.task != "severity" or config.site_errors == []:
        return None
    if config.site_errors is None:  # published ones, of slices alone
        return SiteJitter(PUBLISHED, 1.0, spare) if spare > 0 else None
    if config.crop["field_mm"] is None:
        raise UserError(
            "--jitter shifts crops by millimetres and this cache's are of native "
            "pixels: prepare one without --native-px, or give --jitter none"
        )
    mm_per_px = config.crop["field_mm"] / config.crop["crop_px"]
    return SiteJitter(config.site_errors, mm_per_px, max(0, spare))


def crop_datasets(
    cache: CropCache, folds: pd.DataFrame, config: RunConfig
) -> dict[str, CropDataset]:
    """Split the crops at the marked points into train, validation and test."""
    seed = config.hyperparameters.seed
    given = crop_splits(cache.sites, folds, config.split, config.fold, seed)
    answered = cache.sites[CROP_LABELS[config.task].column].notna()
    given = given.where(first_studies(cache.sites, config.limit) & answered)
    sets = {split: _crop_dataset(cache, config, given == split) for split in SPLITS}
    require_examples({split: len(sets[split]) for split in SPLITS}, "crop")
    return sets


def _crop_dataset(
    cache: CropCache, config: RunConfig, chosen: pd.Series
) -> CropDataset:
    table, labels = cache.sites[chosen], CROP_LABELS[config.task]
    own = CropDataset(
        cache.crops,
        table["crop"].to_numpy(np.int64),
        labels.classes(table),
        is_axial(table),
        config.slices,
        labels.mirrored(table["condition"]),
        labels.mirror_invariant(table["condition"]),
        labels.weights,
        class_count=len(labels.labels),
    )
    if config.views == "own":
        return own
    return SiteDataset(**vars(own), views=view_crops(cache, table["site"]))

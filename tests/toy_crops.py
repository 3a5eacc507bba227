"""Crops whose class can be seen with half an eye, and a training on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTraining
from src.models.backbones import build
from src.training.augmentation import Augmenter
from src.training.config import EpochMetrics, Hyperparameters
from src.training.predictor import Predictor
from src.training.trainer import Trainer, Validation

QUIET = Hyperparameters(
    augment=0.0, batch_size=12, epochs=3, schedule="constant", select="best"
)


def crop_set(
    count: int = 24, classes: int = 3, slices: str = "neighbours"
) -> CropDataset:
    """Make crops in which a bright bar's place is the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    crops = rng.integers(0, 60, (count, 3, 32, 32)).astype(np.uint8)
    for crop, label in zip(crops, labels, strict=True):
        crop[:, 4:28, 10 * label : 10 * label + 9] = 230
    axial = np.zeros(count, bool)
    return CropDataset(crops, np.arange(count), labels.astype(np.int64), axial, slices)


def trainer(hyperparameters: Hyperparameters, backbone: str = "resnet10t") -> Trainer:
    """Make a small network's trainer, the same for the same settings."""
    torch.manual_seed(hyperparameters.seed)
    return Trainer(build(backbone, 3), hyperparameters, torch.device("cpu"))


class ToyTask:
    """Crops, or batches made by hand, to train on, and a validation of either kind."""

    def __init__(self, train: Any, validation: Any, own: Hyperparameters) -> None:
        """Augment training crops as the hyperparameters say, without label swaps."""
        if isinstance(train, CropDataset):
            augment = Augmenter(own.augment, own.seed, mirrors=False)
            train = replace(train, augment=augment, seed=own.seed)
        self.train, self.validation, self.batch_size = train, validation, own.batch_size

    @property
    def validation_studies(self) -> int:
        """Count none: what is kept is asked for by name."""
        return 0

    def loss(self, outputs: torch.Tensor, target: Any) -> torch.Tensor:
        """Return the crops' cross entropy, or the loss that was given by hand."""
        if isinstance(self.train, CropDataset):
            return CropTraining(self.train, self.train, 1).loss(outputs, target)
        return self.train.loss(outputs, target)

    def validate(self, model: Predictor) -> Validation:
        """Validate on crops, or as a script says."""
        if isinstance(some := self.validation, CropDataset):
            return CropTraining(some, some, self.batch_size).validate(model)
        return some.validate(model)


def fit(
    one: Trainer,
    train: Any,
    validation: Any,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> None:
    """Train on crops or on batches made by hand."""
    one.fit(ToyTask(train, validation, one.hyperparameters), on_epoch)


def train_epoch(one: Trainer, train: Any, epoch: int) -> float:
    """Train a single epoch; return its mean loss."""
    task = ToyTask(train, None, one.hyperparameters)
    return one.train_epoch(task, one.start(task), epoch)

"""Crops whose class can be seen with half an eye, and a training on them."""

import numpy as np
import torch

from src.classification.crop_dataset import CropDataset
from src.models.backbones import build
from src.training.config import Hyperparameters
from src.training.trainer import Trainer

QUIET = Hyperparameters(augment=0.0, batch_size=12, epochs=3, schedule="constant")


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

"""Crops whose class can be seen with half an eye, and a training on them."""

import numpy as np
import torch

from src.learning.backbones import build
from src.learning.dataset import CropSet
from src.learning.engine import Trainer
from src.learning.settings import Settings

QUIET = Settings(augment=0.0, batch_size=12, epochs=3, schedule="constant")


def crop_set(count: int = 24, classes: int = 3, slices: str = "neighbours") -> CropSet:
    """Make crops in which a bright bar's place is the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    crops = rng.integers(0, 60, (count, 3, 32, 32)).astype(np.uint8)
    for crop, label in zip(crops, labels, strict=True):
        crop[:, 4:28, 10 * label : 10 * label + 9] = 230
    axial = np.zeros(count, bool)
    return CropSet(crops, np.arange(count), labels.astype(np.int64), axial, slices)


def trainer(settings: Settings, backbone: str = "resnet10t") -> Trainer:
    """Make a small network's trainer, the same for the same settings."""
    torch.manual_seed(settings.seed)
    return Trainer(build(backbone, 3), settings, torch.device("cpu"))

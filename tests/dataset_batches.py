"""The batches that a dataset gives a trainer, without a loader's processes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTraining
from src.localization.series_dataset import SeriesDataset
from src.training.data_loading import EpochSampler, unaugmented
from src.training.predictor import Predictor
from src.training.trainer import Validation


def training_batches(
    dataset: CropDataset | SeriesDataset,
    size: int,
    epoch: int,
    seed: int,
    augment: Any,
    accumulate: int = 1,
) -> Iterator[tuple[torch.Tensor, Any, float]]:
    """Yield images, target and loss scale of this process's share of each batch."""
    changed = replace(dataset, augment=augment, seed=seed)
    sampler = EpochSampler(changed, size, seed, accumulate)
    sampler.set_epoch(epoch)
    return (changed[key][:3] for key in sampler)


def series_batches(
    dataset: SeriesDataset,
    size: int,
    epoch: int,
    seed: int,
    augment: Any,
    accumulate: int = 1,
) -> Iterator[tuple[torch.Tensor, list, float]]:
    """Yield training_batches with each target as a list, one a series."""
    given = (dataset, size, epoch, seed, augment, accumulate)
    for images, target, scale in training_batches(*given):
        yield images, list(target.series), scale


def plain_images(
    dataset: CropDataset | SeriesDataset, size: int, rows: np.ndarray
) -> list[torch.Tensor]:
    """List the images of some rows as they are, `size` rows at once."""
    return [batch.images for batch in unaugmented(dataset, rows, size)]


def steps(dataset: CropDataset | SeriesDataset, size: int) -> int:
    """Count the training batches of an epoch."""
    return len(dataset.split_batches(np.arange(len(dataset)), size))


def validate_crops(crops: CropDataset, model: Predictor) -> Validation:
    """Validate a model on some crops."""
    return CropTraining(crops, crops, 32).validate(model)

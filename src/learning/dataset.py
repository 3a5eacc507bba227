"""Crops of the cache as batches of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from src.learning.augment import Augmenter

# Mean and deviation of the crops' pixels; the authors of the paper measured these.
MEAN, DEVIATION = 0.2124, 0.1608


@dataclass(frozen=True, eq=False)
class CropSet:
    """Some rows of a cache with their classes.

    crops: uint8 [all, slices, px, px], memory-mapped; rows: [n] into it; classes: [n];
    slices: `neighbours`, or `repeat` for the labelled slice in every channel.
    """

    crops: np.ndarray
    rows: np.ndarray
    classes: np.ndarray
    slices: str

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.rows)

    def batches(
        self,
        size: int,
        shuffle: np.random.Generator | None = None,
        augment: Augmenter | None = None,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images float32 [size, slices, px, px] and classes int64 [size].

        With `shuffle` the order is random, and a last batch of one is left out: batch
        normalisation cannot train on it.
        """
        order = (
            np.arange(len(self)) if shuffle is None else shuffle.permutation(len(self))
        )
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            if shuffle is not None and len(chosen) == 1 < len(order):
                continue
            crops = np.asarray(self.crops[self.rows[chosen]])
            if augment is not None:
                crops = augment(crops)
            if self.slices == "repeat":
                middle = crops.shape[1] // 2
                crops = np.repeat(crops[:, middle : middle + 1], crops.shape[1], axis=1)
            yield as_images(crops), torch.from_numpy(self.classes[chosen])


def as_images(crops: np.ndarray) -> torch.Tensor:
    """Normalise uint8 crops [n, slices, px, px] to float32 images."""
    images = torch.from_numpy(crops).float() / 255
    return (images - MEAN) / DEVIATION

"""Crops of the cache as batches of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from src.learning import distributed
from src.learning.augment import Augmenter

# Mean and deviation of the crops' pixels; the authors of the paper measured these.
MEAN, DEVIATION = 0.2124, 0.1608


@dataclass(frozen=True, eq=False)
class CropSet:
    """Some rows of a cache with their classes.

    crops: uint8 [all, slices, px, px], memory-mapped; rows: [n] into it; classes: [n];
    axial: [n] bool; slices: `neighbours`, or `repeat` for the labelled slice in every
    channel.
    """

    crops: np.ndarray
    rows: np.ndarray
    classes: np.ndarray
    axial: np.ndarray
    slices: str

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.rows)

    def steps(self, size: int) -> int:
        """Count the training batches of an epoch."""
        return sum(1 for _ in self._training_batches(np.arange(len(self)), size))

    def training(
        self, size: int, epoch: int, seed: int, augment: Augmenter
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Yield this process's share of each batch of an epoch, in its random order.

        Crops uint8 [share, slices, px, px], classes int64 [share], and by what to
        weigh their mean loss, so that averaged over the processes it is the batch's.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        rank, world = distributed.rank(), distributed.world_size()
        for batch in self._training_batches(order, size):
            own = batch[rank::world]
            crops, classes = augment(
                np.asarray(self.crops[self.rows[own]]),
                self.classes[own],
                self.axial[own],
                self.rows[own],
                epoch,
            )
            weight = len(own) * world / len(batch)
            yield self._tensor(crops), torch.from_numpy(classes.copy()), weight

    def batches(self, size: int, places: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield the uint8 crops at some places of this set as they are, in order."""
        for start in range(0, len(places), size):
            chosen = places[start : start + size]
            yield self._tensor(np.asarray(self.crops[self.rows[chosen]]))

    def _training_batches(self, order: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Cut an order into batches; a rest too small to normalise over is left out."""
        least = 2 * distributed.world_size()
        for start in range(0, len(order), size):
            if len(batch := order[start : start + size]) >= least:
                yield batch

    def _tensor(self, crops: np.ndarray) -> torch.Tensor:
        if self.slices == "repeat":
            middle = crops.shape[1] // 2
            crops = np.repeat(crops[:, middle : middle + 1], crops.shape[1], axis=1)
        return torch.from_numpy(np.ascontiguousarray(crops))


def as_images(crops: torch.Tensor) -> torch.Tensor:
    """Normalise uint8 crops [n, slices, px, px] to float32 images, where they are."""
    return (crops.float() / 255 - MEAN) / DEVIATION

"""Crops of the cache as batches of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from src.models.backbones import CHANNELS
from src.training import distributed
from src.training.augmentation import Augmenter, derive_seed
from src.training.mirror import mirror_where

if TYPE_CHECKING:
    from src.training.trainer import Trainer


@dataclass(frozen=True, eq=False)
class CropDataset:
    """Some rows of a cache with their classes.

    crops: uint8 [all, slices, px, px], memory-mapped; rows: [n] into it; classes: [n];
    axial: [n] bool; slices: as `select_slices` takes it; mirrored: [n] bool, the crops
    that are always flipped, or None; mirror_invariant: [n] bool, those whose label a
    flip leaves true, so that training flips half of them, or None; weights: how much
    each class counts, or None for alike.
    """

    crops: np.ndarray
    rows: np.ndarray
    classes: np.ndarray
    axial: np.ndarray
    slices: str
    mirrored: np.ndarray | None = None
    mirror_invariant: np.ndarray | None = None
    weights: tuple[float, ...] | None = None

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.rows)

    def steps(self, size: int) -> int:
        """Count the training batches of an epoch."""
        return sum(1 for _ in training_batches(np.arange(len(self)), size))

    def training(
        self, size: int, epoch: int, seed: int, augment: Augmenter
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Yield this process's share of each batch of an epoch, in its random order.

        Crops uint8 [share, channels, px, px], classes int64 [share], and by what to
        weigh their mean loss, so that averaged over the processes it is the batch's.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        rank, world = distributed.rank(), distributed.world_size()
        for batch in training_batches(order, size):
            own = batch[rank::world]
            crops, classes = augment(
                self._turned(own, epoch, seed),
                self.classes[own],
                self.axial[own],
                self.rows[own],
                epoch,
            )
            weight = self._weight(own) * world / self._weight(batch)
            yield self._tensor(crops), torch.from_numpy(classes.copy()), weight

    def batches(self, size: int, places: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield the uint8 crops at some places of this set as they are, in order."""
        for start in range(0, len(places), size):
            yield self._tensor(self._cut(places[start : start + size]))

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy [1] of classes, each counting by its weight."""
        weights = self.weights and outputs.new_tensor(self.weights).float()
        return cross_entropy(outputs.float(), target.to(outputs.device), weights)

    def judge(self, trainer: "Trainer") -> tuple[float, float]:
        """Return the mean loss and the top-1 accuracy of a trainer's model."""
        logits, classes = trainer.logits(self), torch.tensor(self.classes)
        top1 = (logits.argmax(dim=1) == classes).float().mean().item()
        return self.loss(logits, classes).item(), top1

    def _weight(self, places: np.ndarray) -> float:
        if self.weights is None:
            return float(len(places))
        return float(np.take(self.weights, self.classes[places]).sum())

    def _cut(self, places: np.ndarray) -> np.ndarray:
        crops = np.asarray(self.crops[self.rows[places]])
        if self.mirrored is None:
            return crops
        return mirror_where(crops, self.mirrored[places], self.axial[places])

    def _turned(self, places: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        """Cut crops, every other symmetric one in the mirror."""
        crops = self._cut(places)
        if self.mirror_invariant is None:
            return crops
        coins = [derive_seed(seed, epoch, int(row)) % 2 for row in self.rows[places]]
        turned = self.mirror_invariant[places] & (np.array(coins) == 1)
        return mirror_where(crops, turned, self.axial[places])

    def _tensor(self, crops: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(select_slices(crops, self.slices)))


def select_slices(crops: np.ndarray, slices: str) -> np.ndarray:
    """Choose from crops [n, slices, px, px] what a network sees of them.

    `neighbours`: the middle slice and one on each side; `repeat`: the middle one three
    times, as the paper; `attention`: all that were cut.
    """
    middle = crops.shape[1] // 2
    if slices == "repeat":
        return np.repeat(crops[:, middle : middle + 1], CHANNELS, axis=1)
    if slices == "neighbours":
        return crops[:, middle - CHANNELS // 2 : middle + CHANNELS // 2 + 1]
    return crops


def training_batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut an order into batches; a rest too small to normalise over is left out."""
    least = 2 * distributed.world_size()
    for start in range(0, len(order), size):
        if len(batch := order[start : start + size]) >= least:
            yield batch

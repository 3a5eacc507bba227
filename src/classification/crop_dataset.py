"""Crops of the cache as batches of tensors."""

from dataclasses import dataclass

import numpy as np
import torch

from src.cache.mapped_array import MappedArray
from src.models.backbones import CHANNELS
from src.training import distributed
from src.training.augmentation import Augmenter, derive_seed
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.mirror import mirror_where


@dataclass(frozen=True, eq=False)
class CropDataset(BatchDataset):
    """Some rows of a cache with their classes, indexed by whole batches.

    crops: uint8 [all, slices, px, px]; rows: [n] into it; classes: [n]; axial: [n]
    bool; slices: as `select_slices` takes it; mirrored: [n] bool, the crops that are
    always flipped, or None; mirror_invariant: [n] bool, those whose label a flip leaves
    true, or None; flips: whether training flips half of those; weights: class weights
    of the loss, or None; augment: of training batches, by `seed`.
    """

    crops: np.ndarray | MappedArray
    rows: np.ndarray
    classes: np.ndarray
    axial: np.ndarray
    slices: str
    mirrored: np.ndarray | None = None
    mirror_invariant: np.ndarray | None = None
    weights: tuple[float, ...] | None = None
    augment: Augmenter | None = None
    seed: int = 0
    flips: bool = True

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.rows)

    def __getitem__(self, key: BatchKey) -> Batch:
        """Return uint8 crops [n, channels, px, px] and their classes, int64 [n]."""
        crops, classes = self._cut(key.rows), self.classes[key.rows]
        if key.epoch is not None:
            crops = self._flipped(crops, key.rows, key.epoch)
            if self.augment is not None:
                own = (self.axial[key.rows], self.rows[key.rows], key.epoch)
                crops, classes = self.augment(crops, classes, *own)
        images = np.ascontiguousarray(select_slices(crops, self.slices))
        target = torch.from_numpy(np.array(classes))
        return Batch(torch.from_numpy(images), target, key.loss_scale, key.steps)

    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut an order into batches; a last one too small for batch norm is skipped."""
        least = 2 * distributed.world_size()
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        return [part for part in parts if len(part) >= least]

    def loss_weight(self, rows: np.ndarray, epoch: int) -> float:
        """Return the sum of the rows' class weights."""
        if self.weights is None:
            return float(len(rows))
        return float(np.take(self.weights, self.classes[rows]).sum())

    def _cut(self, places: np.ndarray) -> np.ndarray:
        crops = np.asarray(self.crops[self.rows[places]])
        if self.mirrored is None:
            return crops
        return mirror_where(crops, self.mirrored[places], self.axial[places])

    def _flipped(self, crops: np.ndarray, places: np.ndarray, epoch: int) -> np.ndarray:
        """Flip half of the crops whose label a flip leaves true."""
        if self.mirror_invariant is None or not self.flips:
            return crops
        seeds = [derive_seed(self.seed, epoch, int(row)) for row in self.rows[places]]
        flip = self.mirror_invariant[places] & (np.array(seeds) % 2 == 1)
        return mirror_where(crops, flip, self.axial[places])


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

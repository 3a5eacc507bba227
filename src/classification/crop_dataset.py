"""Crops of the cache as batches of tensors."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch

from src.cache.mapped_array import MappedArray
from src.models.backbones import CHANNELS
from src.training import distributed
from src.training.augmentation import Augmenter, derive_seed
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.mirror import mirror_where
from src.training.mixup import mix


@dataclass(frozen=True, eq=False)
class CropDataset(BatchDataset):
    """Some rows of a cache with their classes, indexed by whole batches.

    crops: uint8 [all, slices, px, px]; rows: [n] into it; classes: [n]; axial: [n]
    bool; slices: as `select_slices` takes it; mirrored: [n] bool, the crops that are
    always flipped, or None; mirror_invariant: [n] bool, those whose label a flip leaves
    true, or None; flips: whether training flips half of those; weights: class weights
    of the loss, or None; augment: of training batches, by `seed`; mixup: the alpha of
    theirs, 0 for none; class_count: of the classes, for mixup; soft: probabilities
    [n, class_count] to train on instead of the classes, or None.
    """

    PER_ROW: ClassVar[tuple[str, ...]] = (
        *("rows", "classes", "axial", "mirrored", "mirror_invariant", "soft"),
    )

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
    mixup: float = 0.0
    class_count: int = 0
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        """Count the crops."""
        return len(self.rows)

    def __getitem__(self, key: BatchKey) -> Batch:
        """Return uint8 crops [n, channels, px, px] and their classes, int64 [n].

        With mixup or soft labels, training crops have probabilities instead, float32
        [n, class_count].
        """
        images, given = self._images(key)
        target = np.array(given)
        if self.mixup and key.epoch is not None:
            seed = derive_seed(self.seed, key.epoch, *self.rows[key.rows].tolist())
            if self.soft is None:
                target = np.eye(self.class_count, dtype=np.float32)[target]
            images, target = mix(images, target, self.mixup, seed)
        tensors = torch.from_numpy(images), torch.from_numpy(target)
        return Batch(*tensors, key.loss_scale, key.steps)

    def subset(self, chosen: np.ndarray) -> Self:
        """Return some of the rows alone; chosen: [n] bool."""
        whole = {name: getattr(self, name) for name in self.PER_ROW}
        parts = {k: v[chosen] for k, v in whole.items() if v is not None}
        return replace(self, **parts)

    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut an order into batches; a last one too small for batch norm is skipped."""
        least = 2 * distributed.world_size()
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        return [part for part in parts if len(part) >= least]

    def loss_weight(self, rows: np.ndarray, epoch: int) -> float:
        """Return the sum of the rows' class weights."""
        if self.weights is None:
            return float(len(rows))
        if self.soft is not None:
            return float((self.soft[rows] @ np.asarray(self.weights)).sum())
        return float(np.take(self.weights, self.classes[rows]).sum())

    def _images(self, key: BatchKey) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch's crops as a network sees them, and their target."""
        crops, target = self._cut(key, self.rows[key.rows], self.axial[key.rows])
        return np.ascontiguousarray(select_slices(crops, self.slices)), target

    def _target(self, key: BatchKey) -> np.ndarray:
        """Return a batch's classes [n], or in training its soft labels, if any."""
        if self.soft is None or key.epoch is None:
            return self.classes[key.rows]
        return self.soft[key.rows]

    def _cut(
        self, key: BatchKey, numbers: np.ndarray, axial: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the crops of these numbers [n], flipped and augmented as key.rows."""
        crops, target = np.asarray(self.crops[numbers]), self._target(key)
        if self.mirrored is not None:
            crops = mirror_where(crops, self.mirrored[key.rows], axial)
        if key.epoch is None:
            return crops, target
        crops = mirror_where(crops, self._flips(key.rows, key.epoch), axial)
        if self.augment is None:
            return crops, target
        return self.augment(crops, target, axial, numbers, key.epoch)

    def _flips(self, places: np.ndarray, epoch: int) -> np.ndarray:
        """Mark half of the rows whose label a flip leaves true."""
        if self.mirror_invariant is None or not self.flips:
            return np.zeros(len(places), bool)
        seeds = [derive_seed(self.seed, epoch, int(row)) for row in self.rows[places]]
        return self.mirror_invariant[places] & (np.array(seeds) % 2 == 1)


def select_slices(crops: np.ndarray, slices: str) -> np.ndarray:
    """Choose from crops [..., slices, px, px] what a network sees of them.

    `neighbours`: the middle slice and one on each side; `repeat`: the middle one three
    times, as the paper; `attention`: all that were cut.
    """
    middle = crops.shape[-3] // 2
    if slices == "repeat":
        return np.repeat(crops[..., middle : middle + 1, :, :], CHANNELS, axis=-3)
    if slices == "neighbours":
        first = middle - CHANNELS // 2
        return crops[..., first : first + CHANNELS, :, :]
    return crops

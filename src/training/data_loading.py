"""Training batches from a torch DataLoader, the same bytes for any number of workers.

A batch follows from the seed, the epoch and the rows alone: the sampler, in the
training process, yields an epoch and rows; a worker turns them into tensors.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from src.training import distributed
from src.workers import keep_to_one_core

PREFETCHED = 4  # batches that each worker keeps ready


class BatchKey(NamedTuple):
    """The index of a batch: rows [n], and the epoch that their augmentation follows.

    epoch: None for no augmentation. loss_scale: the factor of these rows' mean loss,
    so that averaged over the processes, and added up over the parts of a batch that
    gradient accumulation cuts, it is the mean of the whole batch. steps: whether the
    optimizer steps after it, as after the last part of a batch alone.
    """

    rows: np.ndarray
    epoch: int | None = None
    loss_scale: float = 1.0
    steps: bool = True


class Batch(NamedTuple):
    """images: uint8 [n, channels, px, px]; target: the argument of the task's loss."""

    images: torch.Tensor
    target: Any
    loss_scale: float
    steps: bool = True


class BatchDataset(Dataset[Batch], ABC):
    """A map-style dataset that is indexed by whole batches.

    fixed_shape: whether all full batches have one shape.
    """

    fixed_shape: ClassVar[bool] = True

    @abstractmethod
    def __len__(self) -> int:
        """Count the rows."""

    @abstractmethod
    def __getitem__(self, key: BatchKey) -> Batch:
        """Make the batch of the key's rows, augmented for the key's epoch."""

    @abstractmethod
    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut an order of the rows into batches that leave no process idle."""

    @abstractmethod
    def loss_weight(self, rows: np.ndarray, epoch: int) -> float:
        """Return the sum of weights over which the rows' mean loss is taken."""


class EpochSampler(Sampler[BatchKey]):
    """This process's share of each batch of an epoch, in the epoch's random order."""

    def __init__(
        self, dataset: BatchDataset, batch_size: int, seed: int, accumulate: int = 1
    ) -> None:
        """Deal out a dataset.

        batch_size: rows a step, over all processes; accumulate: the parts in which a
        process takes its share of them.
        """
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.accumulate = accumulate
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 1, that the next pass deals out."""
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Count the batches of an epoch, each a step of the optimizer."""
        return len(self._batches(np.arange(len(self.dataset))))

    def __len__(self) -> int:
        """Count the parts of an epoch's batches."""
        return sum(map(self._parts, self._batches(np.arange(len(self.dataset)))))

    def __iter__(self) -> Iterator[BatchKey]:
        """Yield a key for each part of each batch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.dataset))
        rank, processes = distributed.rank(), distributed.world_size()
        for batch in self._batches(order):
            own = batch[rank::processes]
            whole = self.dataset.loss_weight(batch, self.epoch)
            parts = np.array_split(own, self._parts(batch))
            for number, rows in enumerate(parts, start=1):
                share = self.dataset.loss_weight(rows, self.epoch) / whole
                last = number == len(parts)
                yield BatchKey(rows, self.epoch, share * processes, last)

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return self.dataset.split_batches(order, self.batch_size)

    def _parts(self, batch: np.ndarray) -> int:
        """Count a batch's parts: alike in every process, each of two rows or more.

        Batch norm cannot train on one row.
        """
        own = len(batch) // distributed.world_size()
        return max(1, min(self.accumulate, own // 2))


def training_loader(
    dataset: BatchDataset,
    batch_size: int,
    seed: int,
    device: torch.device,
    workers: int = 0,
    start_method: str | None = None,
    accumulate: int = 1,
) -> "DataLoader[Batch]":
    """Make the loader of a training's batches; its sampler chooses the epoch.

    workers: processes that make batches ahead, 0 for none; start_method: how they are
    started, `fork` or `spawn`, as the platform does if None; accumulate: the parts in
    which a batch comes.
    """
    if workers:
        # OpenCV's threads do not survive a fork: a worker would wait for them forever.
        keep_to_one_core()
    return DataLoader(
        dataset,
        sampler=EpochSampler(dataset, batch_size, seed, accumulate),
        batch_size=None,  # the sampler's keys are of whole batches
        collate_fn=_unchanged,  # type: ignore[arg-type]  # one batch, not a list
        num_workers=workers,
        worker_init_fn=_one_core,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        prefetch_factor=PREFETCHED if workers else None,
        multiprocessing_context=start_method if workers else None,
    )


def unaugmented(
    dataset: BatchDataset, rows: Sequence[int] | np.ndarray, size: int
) -> Iterator[Batch]:
    """Yield some rows as they are, in order, `size` at once."""
    for start in range(0, len(rows), size):
        yield dataset[BatchKey(np.asarray(rows[start : start + size]))]


def _unchanged(batch: Batch) -> Batch:
    return batch


def _one_core(worker: int = 0) -> None:
    """Keep OpenCV, which augments, to a worker's own core."""
    keep_to_one_core()

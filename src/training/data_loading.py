"""Training batches from a torch DataLoader, the same bytes for any number of workers.

A batch follows from the seed, the epoch and the rows alone: the sampler, in the
training process, yields an epoch and rows; a worker turns them into tensors.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from src.training import distributed

PREFETCHED = 4  # batches that each worker keeps ready


class BatchKey(NamedTuple):
    """The index of a batch: rows [n], and the epoch that their augmentation follows.

    epoch: None for no augmentation. loss_scale: the factor of this process' mean loss,
    so that averaged over the processes it is the mean of the whole batch.
    """

    rows: np.ndarray
    epoch: int | None = None
    loss_scale: float = 1.0


class Batch(NamedTuple):
    """images: uint8 [n, channels, px, px]; target: the argument of the task's loss."""

    images: torch.Tensor
    target: Any
    loss_scale: float


class BatchDataset(Dataset[Batch], ABC):
    """A map-style dataset that is indexed by whole batches."""

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
    def loss_weight(self, rows: np.ndarray) -> float:
        """Return the sum of weights over which the rows' mean loss is taken."""


class EpochSampler(Sampler[BatchKey]):
    """This process's share of each batch of an epoch, in the epoch's random order."""

    def __init__(self, dataset: BatchDataset, batch_size: int, seed: int) -> None:
        """Deal out a dataset; batch_size: rows a step, over all processes."""
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 1, that the next pass deals out."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        order = np.arange(len(self.dataset))
        return len(self.dataset.split_batches(order, self.batch_size))

    def __iter__(self) -> Iterator[BatchKey]:
        """Yield a key for each batch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.dataset))
        rank, processes = distributed.rank(), distributed.world_size()
        for batch in self.dataset.split_batches(order, self.batch_size):
            own = batch[rank::processes]
            share = self.dataset.loss_weight(own) / self.dataset.loss_weight(batch)
            yield BatchKey(own, self.epoch, share * processes)


def training_loader(
    dataset: BatchDataset,
    batch_size: int,
    seed: int,
    device: torch.device,
    workers: int = 0,
    start_method: str | None = None,
) -> "DataLoader[Batch]":
    """Make the loader of a training's batches; its sampler chooses the epoch.

    workers: processes that make batches ahead, 0 for none; start_method: how they are
    started, `fork` or `spawn`, as the platform does if None.
    """
    if workers:
        # OpenCV's threads do not survive a fork: a worker would wait for them forever.
        _one_thread()
    return DataLoader(
        dataset,
        sampler=EpochSampler(dataset, batch_size, seed),
        batch_size=None,  # the sampler's keys are of whole batches
        collate_fn=_unchanged,  # type: ignore[arg-type]  # one batch, not a list
        num_workers=workers,
        worker_init_fn=_one_thread,
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


def _one_thread(worker: int = 0) -> None:
    """Keep OpenCV, which augments, to a worker's own core."""
    cv2.setNumThreads(1)

"""One backbone's training as users run it, and the bounds that it is held against.

fed: the loader's batches; resident: one batch that stays on the device, which no
loader can beat; waiting: how long a step waits for its batch.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader

from src.cache.crop_cache import CropCache
from src.classification.crop_dataset import CropDataset
from src.classification.labels import CROP_LABELS
from src.training.augmentation import Augmenter
from src.training.data_loading import Batch
from src.training.mirror import is_axial
from src.training.trainer import Task, Trainer

Loader = DataLoader[Batch]


def crop_set(cache: CropCache, rows: np.ndarray, augment: float = 0.0) -> CropDataset:
    """Make a condition set of some of the cache's rows, repeats allowed."""
    table = cache.sites.iloc[rows]
    classes = CROP_LABELS["condition"].classes(table)
    made = CropDataset(cache.crops, rows, classes, is_axial(table), "neighbours")
    return replace(made, augment=Augmenter(augment, seed=0, mirrors=True))


class ResidentBatch:
    """A loader that gives its first batch over and over, on the device."""

    def __init__(self, loader: Loader, device: torch.device) -> None:
        """Take a loader's first batch, and its length."""
        self.sampler, self._length = loader.sampler, len(loader)
        first = next(iter(loader))
        images, target = first.images.to(device), first.target.to(device)
        self._batch = first._replace(images=images, target=target)

    def __len__(self) -> int:
        """Count the batches."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batch as often as the loader yields one."""
        for _ in range(self._length):
            yield self._batch


class WaitClock:
    """A loader that measures how long it lets a step wait.

    On a GPU it first lets the step end, since the loader would else be asked before
    the step has begun.
    """

    def __init__(self, loader: Loader, device: torch.device) -> None:
        """Wrap a loader."""
        self.sampler, self._loader, self._device = loader.sampler, loader, device
        self.waited_s = 0.0

    def __len__(self) -> int:
        """Count the batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the loader's batches."""
        batches = iter(self._loader)
        while True:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - start
            if batch is None:
                return
            yield batch


@dataclass(eq=False)
class FedTraining:
    """A trainer and its task, whose passes are timed."""

    trainer: Trainer
    task: Task

    def __post_init__(self) -> None:
        """Make the loaders."""
        self.loader = self.trainer.start(self.task)
        self.resident = ResidentBatch(self.loader, self.trainer.device)
        self.epoch = 0

    def fed_rate(self) -> float:
        """Train an epoch; return images a second."""
        return self._rate(self.loader)

    def resident_rate(self) -> float:
        """Train as many steps on the one resident batch; return images a second."""
        return self._rate(cast(Loader, self.resident))

    def waiting_share(self) -> float:
        """Train an epoch; return the share of its time that steps wait for data."""
        clock = WaitClock(self.loader, self.trainer.device)
        start = time.perf_counter()
        self._rate(cast(Loader, clock))
        return clock.waited_s / (time.perf_counter() - start)

    def _rate(self, loader: Loader) -> float:
        self.epoch += 1
        self.trainer.train_epoch(self.task, loader, self.epoch)
        return self.trainer.images_per_second

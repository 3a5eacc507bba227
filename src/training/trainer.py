"""The training loop: epochs until validation stops improving, best weights kept."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader

from src.errors import UserError
from src.models.backbones import load_state
from src.training import distributed
from src.training.augmentation import derive_seed
from src.training.batch_norm import BATCHES, needs_recompute, recompute_statistics
from src.training.checkpoint import Checkpoint, Tensors, restoring
from src.training.config import EpochMetrics, Hyperparameters
from src.training.data_loading import (
    Batch,
    BatchDataset,
    BatchKey,
    EpochSampler,
    training_loader,
)
from src.training.device import keep_malloc_arena, search_convolutions
from src.training.optimizers import load_optimizer, make_optimizer, make_scheduler
from src.training.predictor import Predictor
from src.training.selection import choose_selection, is_best

CLIP_NORM = 5.0
OnBatch = Callable[[int, int, int], None]  # batches done, of how many; images so far
EpochBar = Callable[[int], AbstractContextManager[OnBatch]]  # of an epoch's number


def no_bar(epoch: int) -> AbstractContextManager[OnBatch]:
    """Show nothing."""
    return nullcontext(lambda done, total, images: None)


class DivergedError(UserError):
    """A training without a finite loss."""


class Validation(NamedTuple):
    """A model's mean loss on the validation studies, and its accuracy."""

    loss: float
    accuracy: float


class Task(Protocol):
    """The goal of a training: its examples, its loss and its validation."""

    @property
    def train(self) -> BatchDataset:
        """The training examples."""

    @property
    def validation_studies(self) -> int:
        """The number of studies that validate."""

    def loss(self, outputs: torch.Tensor, target: Any) -> torch.Tensor:
        """Return the mean loss [] of a batch's outputs; both are on the device."""

    def validate(self, model: Predictor) -> Validation:
        """Validate a model on the validation studies, over all processes."""


class Trainer(Predictor):
    """A model in training: its optimizer, its schedule and its history."""

    def __init__(
        self,
        model: nn.Module,
        hyperparameters: Hyperparameters,
        device: torch.device,
        precision: torch.dtype | None = None,
        loader_workers: int = 0,
    ) -> None:
        """Move the model to the device.

        precision: the device's fastest if None. loader_workers: processes that make
        batches; they change no batch.
        """
        if hyperparameters.sync_bn:
            model = distributed.sync_batch_norms(model, device)
        super().__init__(model, hyperparameters.input_px, device, precision)
        keep_malloc_arena()
        self.hyperparameters, self.loader_workers = hyperparameters, loader_workers
        self.optimizer = make_optimizer(
            hyperparameters.optimizer,
            self.model.parameters(),
            hyperparameters.lr,
            hyperparameters.weight_decay,
        )
        halved = self.precision is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=halved)
        self.average = self._make_average() if hyperparameters.ema else None
        self.epochs: list[EpochMetrics] = []
        self.best: Tensors = {}

    def _make_average(self) -> ModelEmaV3:
        """Begin a moving average of the weights and of batch norm's statistics.

        Its decay grows from 0 to --ema over the first steps, so that a short training
        does not end near its random beginning.
        """
        return ModelEmaV3(self.model, self.hyperparameters.ema, use_warmup=True)

    @property
    def evaluated(self) -> Predictor:
        """The network that is validated and kept: averaged, where --ema asks for it."""
        if self.average is None:
            return self
        averaged = self.average.module
        return Predictor(averaged, self.input_px, self.device, self.precision)

    def fit(
        self,
        task: Task,
        on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
        epoch_bar: EpochBar = no_bar,
    ) -> None:
        """Train from the beginning, or resume after restore().

        on_epoch is called after each new epoch; epoch_bar shows one in progress. At
        the end the model holds the weights of the best epoch, as --select chooses it
        (early stopping); with patience 0, those of the last. Raises DivergedError after
        an epoch without a finite loss, and UserError where the examples fill no batch.
        """
        loader = self.start(task)
        while not self._finished():
            metrics = self._epoch(task, loader, epoch_bar)
            self.epochs.append(metrics)
            if metrics.best:
                self.best = _copied(self.evaluated.model)
            on_epoch(metrics)
        keeps_best = self.hyperparameters.patience > 0
        kept = self.best if keeps_best else _copied(self.evaluated.model)
        load_state(self.model, kept)

    def start(self, task: Task) -> "DataLoader[Batch]":
        """Make the task's loader, and the schedule from where the history ends."""
        own = self.hyperparameters
        _require_batches(task.train, own.batch_size)
        search_convolutions(self.device, task.train.fixed_shape)
        loader = training_loader(
            task.train,
            own.batch_size,
            own.seed,
            self.device,
            self.loader_workers,
            accumulate=own.accumulate,
        )
        steps = _sampler(loader).steps
        self.scheduler = make_scheduler(
            self.optimizer,
            own.schedule,
            done=len(self.epochs) * steps,
            total=own.epochs * steps,
        )
        return loader

    def _finished(self) -> bool:
        """Return whether all epochs are done, or early stopping is due."""
        since_best = 0
        for epoch in self.epochs:
            since_best = 0 if epoch.best else since_best + 1
        done = len(self.epochs) >= self.hyperparameters.epochs
        return done or 0 < self.hyperparameters.patience <= since_best

    def _epoch(
        self, task: Task, loader: "DataLoader[Batch]", epoch_bar: EpochBar
    ) -> EpochMetrics:
        start = time.perf_counter()
        number = len(self.epochs) + 1
        with epoch_bar(number) as on_batch:
            train_loss = self.train_epoch(task, loader, number, on_batch)
        self._require_finite("train", train_loss, number)
        evaluated = self.evaluated
        if needs_recompute(evaluated.model, self.hyperparameters.bn_stats):
            self._recompute(evaluated.model, task.train)
        distributed.average_statistics(evaluated.model)
        evaluated.model.eval()
        loss, accuracy = task.validate(evaluated)
        self._require_finite("validation", loss, number)
        losses = [*(epoch.validation_loss for epoch in self.epochs), loss]
        select = self.hyperparameters.select
        improved = is_best(choose_selection(select, task.validation_studies), losses)
        seconds = time.perf_counter() - start
        figures = (number, train_loss, loss, accuracy, self.last_lr, seconds, improved)
        return EpochMetrics(*figures, self.images_per_second)

    def _require_finite(self, which: str, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"diverged: its {which} loss in epoch {epoch} is {loss}; lower --lr "
                f"(here {self.hyperparameters.lr:g}), or raise --batch-size "
                f"(here {self.hyperparameters.batch_size})"
            )

    def train_epoch(
        self,
        task: Task,
        loader: "DataLoader[Batch]",
        epoch: int,
        on_batch: OnBatch = lambda done, total, images: None,
    ) -> float:
        """Pass over the training examples once; return their mean loss.

        The loss is summed on the device and read once, since a read waits for it.
        """
        start = time.perf_counter()
        _sampler(loader).set_epoch(epoch)
        batches = iter(loader)  # which draws from torch's generator
        # Drop-out follows from seed and epoch too, and differs between processes.
        seed = self.hyperparameters.seed
        torch.manual_seed(derive_seed(seed, epoch, distributed.rank()))
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        images, all_batches = 0, len(loader)
        with distributed.wrap_ddp(self.model, self.device) as model:
            model.train()
            for done, batch in enumerate(batches, start=1):
                loss = self._backward(task, model, batch)
                totals[0] += loss.double() * len(batch.images)
                totals[1] += len(batch.images)
                if batch.steps:
                    self._step()
                images += len(batch.images)
                on_batch(done, all_batches, images)
        total, count = distributed.all_reduce_sum(totals).tolist()
        self.images_per_second = count / (time.perf_counter() - start)
        return total / count

    def _backward(self, task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Add a batch's gradient; return its mean loss, still on the device."""
        target = batch.target.to(self.device, non_blocking=True)
        with nullcontext() if batch.steps else distributed.defer_sync(model):
            with self._autocast(batch.images):
                loss = task.loss(model(self._images(batch.images)), target)
            self.scaler.scale(loss * batch.loss_scale).backward()
        return loss.detach()

    def _step(self) -> None:
        """Take one step along the gradients, and let go of them."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.last_lr = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        if self.average is not None:
            self.average.update(self.model, step=self.scheduler.last_epoch)

    def _recompute(self, model: nn.Module, train: BatchDataset) -> None:
        """Recompute batch-norm statistics over unaugmented training examples."""
        own = self.hyperparameters
        order = np.random.default_rng([own.seed, len(self.epochs)])
        batches = train.split_batches(order.permutation(len(train)), own.batch_size)
        rank, processes = distributed.rank(), distributed.world_size()
        keys = [BatchKey(rows[rank::processes]) for rows in batches[:BATCHES]]
        images = (train[key].images for key in keys)
        first = next(images)
        with self._autocast(first):
            recompute_statistics(model, map(self._images, chain([first], images)))

    def checkpoint(self, config: dict[str, Any]) -> Checkpoint:
        """Return the training's present state."""
        return Checkpoint(
            config,
            [epoch.to_dict() for epoch in self.epochs],
            dict(self.model.state_dict()),
            self.best,
            self.optimizer.state_dict(),
            self.scaler.state_dict(),
            dict(self.average.module.state_dict()) if self.average else {},
        )

    def restore(self, state: Checkpoint) -> None:
        """Resume from a checkpoint.

        Raises CheckpointError for one that does not fit, and is then of no more use.
        """
        with restoring():
            self.epochs = [EpochMetrics.from_dict(epoch) for epoch in state.epochs]
            self.best = state.best
            if self.epochs:
                load_state(self.model, self.best)  # which sees that they fit
            load_state(self.model, state.weights)
            if self.average:
                load_state(self.average.module, state.average)
            load_optimizer(self.optimizer, state.optimizer)
            self.scaler.load_state_dict(state.scaler)


def _require_batches(train: BatchDataset, size: int) -> None:
    """Raise UserError where examples are too few, or a batch too small, to train."""
    if train.split_batches(np.arange(len(train)), size):
        return
    processes = distributed.world_size()
    least = 2 * processes  # batch norm needs two a process
    split = f" over {processes} processes (--nproc-per-node)" if processes > 1 else ""
    if size < least:
        raise UserError(
            f"--batch-size {size} is too small{split}: give at least {least}, two a "
            "process"
        )
    raise UserError(
        f"{len(train)} training examples are too few{split}: {least} are needed, two a "
        "process; prepare more studies, or raise --limit"
    )


def _sampler(loader: "DataLoader[Batch]") -> EpochSampler:
    assert isinstance(loader.sampler, EpochSampler)
    return loader.sampler


def _copied(model: nn.Module) -> Tensors:
    """Copy a model's tensors, on their device: to fetch them would wait for it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}

"""The training loop: epochs until validation stops improving, best weights kept."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from src.models.backbones import load_state
from src.training import distributed
from src.training.augmentation import Augmenter, derive_seed
from src.training.batch_norm import BATCHES, needs_recompute, recompute_statistics
from src.training.checkpoint import Checkpoint, Tensors
from src.training.config import EpochMetrics, Hyperparameters
from src.training.device import keep_malloc_arena
from src.training.optimizers import load_optimizer, lr_factor, make_optimizer
from src.training.predictor import Predictor

CLIP_NORM = 5.0
# An epoch's uint8 images, what is asked of them, and by what to weigh their mean loss.
Batches = Iterator[tuple[torch.Tensor, Any, float]]


class Dataset(Protocol):
    """What a model is trained and validated on: a CropDataset or a SeriesDataset."""

    def __len__(self) -> int:
        """Count the examples."""

    def steps(self, size: int) -> int:
        """Count the training batches of an epoch."""

    def training(self, size: int, epoch: int, seed: int, augment: Any) -> Batches:
        """Yield this process's share of each batch of an epoch."""

    def batches(self, size: int, places: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield the uint8 images of some examples as they are."""

    def loss(self, outputs: torch.Tensor, target: Any) -> torch.Tensor:
        """Hold a batch's outputs against its target: a mean."""

    def judge(self, trainer: "Trainer") -> tuple[float, float]:
        """Return the trained model's mean loss and its share of right answers."""


class Trainer(Predictor):
    """A model, its optimiser and its number format, on one device."""

    def __init__(
        self,
        model: nn.Module,
        hyperparameters: Hyperparameters,
        device: torch.device,
        mirrors: bool = False,
        precision: torch.dtype | None = None,
        augment: Any = None,
    ) -> None:
        """Move the model to the device.

        mirrors: whether crops may change sides, labels with them. precision: as the
        device likes it if None. augment: of crops if None.
        """
        super().__init__(model, hyperparameters.input_px, device, precision)
        keep_malloc_arena()
        self.hyperparameters = hyperparameters
        self.optimizer = make_optimizer(
            hyperparameters.optimizer,
            self.model.parameters(),
            hyperparameters.lr,
            hyperparameters.weight_decay,
        )
        halved = self.precision is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=halved)
        own = Augmenter(hyperparameters.augment, hyperparameters.seed, mirrors)
        self.augment = augment or own
        self.epochs: list[EpochMetrics] = []
        self.best: Tensors = {}

    def fit(
        self,
        train: Dataset,
        validation: Dataset,
        on_epoch: Callable[[EpochMetrics], None] = lambda epoch: None,
    ) -> None:
        """Train, from the beginning or from what restore() gave.

        on_epoch is called after each new epoch. At the end the model holds the weights
        of the least validation loss; with patience 0, those of the last epoch.
        """
        while not self._finished():
            epoch = self._epoch(train, validation)
            self.epochs.append(epoch)
            if epoch.best:
                self.best = _copied(self.model)
            on_epoch(epoch)
        if self.hyperparameters.patience:
            load_state(self.model, self.best)

    def _finished(self) -> bool:
        """Say whether all epochs are done, or too many since the best."""
        since_best = 0
        for epoch in self.epochs:
            since_best = 0 if epoch.best else since_best + 1
        done = len(self.epochs) >= self.hyperparameters.epochs
        return done or 0 < self.hyperparameters.patience <= since_best

    def _epoch(self, train: Dataset, validation: Dataset) -> EpochMetrics:
        start = time.perf_counter()
        number = len(self.epochs) + 1
        train_loss = self.train_epoch(train, number)
        if needs_recompute(self.model, self.hyperparameters.bn_stats):
            self._recompute(train)
        self.model.eval()
        loss, top1 = validation.judge(self)
        improved = loss < min((e.validation_loss for e in self.epochs), default=np.inf)
        rate = self.optimizer.param_groups[0]["lr"]
        seconds = time.perf_counter() - start
        return EpochMetrics(number, train_loss, loss, top1, rate, seconds, improved)

    def train_epoch(self, train: Dataset, epoch: int) -> float:
        """Pass over the training examples once; return their mean loss."""
        hyperparameters = self.hyperparameters
        # Drop-out follows from seed and epoch too, and differs between processes.
        torch.manual_seed(derive_seed(hyperparameters.seed, epoch, distributed.rank()))
        steps = train.steps(hyperparameters.batch_size)
        totals = torch.zeros(2, dtype=torch.float64)
        batches = train.training(
            hyperparameters.batch_size, epoch, hyperparameters.seed, self.augment
        )
        with distributed.wrap_ddp(self.model, self.device) as model:
            model.train()
            for index, (images, target, weight) in enumerate(batches):
                step = (epoch - 1) * steps + index
                factor = lr_factor(
                    hyperparameters.schedule, step, hyperparameters.epochs * steps
                )
                for group in self.optimizer.param_groups:
                    group["lr"] = hyperparameters.lr * factor
                loss = self._step(train, model, images, target, weight)
                totals += torch.tensor([loss * len(images), len(images)])
        total, count = distributed.all_reduce_sum(totals.to(self.device)).tolist()
        return total / count

    def _step(
        self,
        train: Dataset,
        model: nn.Module,
        images: torch.Tensor,
        target: Any,
        weight: float,
    ) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            outputs = model(self._images(images))
            loss = train.loss(outputs, target)
        self.scaler.scale(loss * weight).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def _recompute(self, train: Dataset) -> None:
        """Measure the norms' statistics over some training examples as they are."""
        size = self.hyperparameters.batch_size
        rng = np.random.default_rng([self.hyperparameters.seed, len(self.epochs)])
        chosen = rng.permutation(len(train))[: BATCHES * size]
        own = chosen[distributed.rank() :: distributed.world_size()]
        with self._autocast():
            recompute_statistics(
                self.model,
                (self._images(images) for images in train.batches(size, own)),
            )
        distributed.average_statistics(self.model)

    @torch.inference_mode()
    def logits(self, crops: Dataset) -> torch.Tensor:
        """Return the model's float32 outputs [n, classes] on the CPU, in crop order."""
        own = np.arange(len(crops))[distributed.rank() :: distributed.world_size()]
        size = self.hyperparameters.batch_size
        mine = torch.cat([self.outputs(batch) for batch in crops.batches(size, own)])
        every = mine.new_zeros(len(crops), mine.shape[1])
        every[torch.from_numpy(own)] = mine
        return distributed.all_reduce_sum(every).cpu()

    def checkpoint(self, config: dict) -> Checkpoint:
        """Describe where the training is."""
        return Checkpoint(
            config,
            [epoch.to_dict() for epoch in self.epochs],
            dict(self.model.state_dict()),
            self.best,
            self.optimizer.state_dict(),
            self.scaler.state_dict(),
        )

    def restore(self, state: Checkpoint) -> None:
        """Go back to where a checkpoint was taken."""
        self.epochs = [EpochMetrics(**epoch) for epoch in state.epochs]
        self.best = state.best
        load_state(self.model, state.weights)
        load_optimizer(self.optimizer, state.optimizer)
        self.scaler.load_state_dict(state.scaler)


def _copied(model: nn.Module) -> Tensors:
    return {
        name: value.detach().cpu().clone() for name, value in model.state_dict().items()
    }

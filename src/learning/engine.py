"""The training loop: epochs until validation stops improving, best weights kept."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from src.learning import distributed
from src.learning.augment import Augmenter, mixed_seed
from src.learning.backbones import load_state
from src.learning.batch_norm import BATCHES, needs_reestimate, reestimate
from src.learning.checkpoint import Checkpoint, Tensors
from src.learning.dataset import CropSet, as_images
from src.learning.device import choose_precision
from src.learning.optimizers import make_optimizer, rate_factor
from src.learning.settings import Epoch, Settings

CLIP_NORM = 5.0


class Trainer:
    """A model, its optimiser and its number format, on one device."""

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        device: torch.device,
        mirrors: bool = False,
        precision: torch.dtype | None = None,
    ) -> None:
        """Move the model to the device; precision: as the device likes it if None."""
        self.settings, self.device = settings, device
        self.precision = precision or choose_precision(device)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.shared = distributed.share_model(self.model, device)
        self.model = distributed.own_model(self.shared)
        self.optimizer = make_optimizer(
            settings.optimizer,
            self.model.parameters(),
            settings.lr,
            settings.weight_decay,
        )
        halved = self.precision is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=halved)
        self.augment = Augmenter(settings.augment, settings.seed, mirrors)
        self.epochs: list[Epoch] = []
        self.best: Tensors = {}

    def fit(
        self,
        train: CropSet,
        validation: CropSet,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    ) -> None:
        """Train, from the beginning or from what restore() gave.

        on_epoch is called after each new epoch. At the end the model holds the weights
        of the least validation loss.
        """
        while not self._finished():
            epoch = self._epoch(train, validation)
            self.epochs.append(epoch)
            if epoch.best:
                self.best = _copied(self.model)
            on_epoch(epoch)
        load_state(self.model, self.best)

    def _finished(self) -> bool:
        """Say whether all epochs are done, or too many since the best."""
        since_best = 0
        for epoch in self.epochs:
            since_best = 0 if epoch.best else since_best + 1
        done = len(self.epochs) >= self.settings.epochs
        return done or since_best >= self.settings.patience

    def _epoch(self, train: CropSet, validation: CropSet) -> Epoch:
        start = time.perf_counter()
        number = len(self.epochs) + 1
        train_loss = self.train_epoch(train, number)
        if needs_reestimate(self.model, self.settings.batch_norm):
            self._reestimate(train)
        logits = self.logits(validation)
        classes = torch.from_numpy(validation.classes)
        loss = cross_entropy(logits, classes).item()
        top1 = (logits.argmax(dim=1) == classes).float().mean().item()
        improved = loss < min((e.validation_loss for e in self.epochs), default=np.inf)
        rate = self.optimizer.param_groups[0]["lr"]
        seconds = time.perf_counter() - start
        return Epoch(number, train_loss, loss, top1, rate, seconds, improved)

    def train_epoch(self, train: CropSet, epoch: int) -> float:
        """Pass over the training crops once; return their mean loss."""
        settings = self.settings
        # Drop-out follows from seed and epoch too, and differs between processes.
        torch.manual_seed(mixed_seed(settings.seed, epoch, distributed.rank()))
        steps = train.steps(settings.batch_size)
        self.shared.train()
        totals = torch.zeros(2, dtype=torch.float64)
        batches = train.training(
            settings.batch_size, epoch, settings.seed, self.augment
        )
        for index, (crops, classes, weight) in enumerate(batches):
            step = (epoch - 1) * steps + index
            factor = rate_factor(settings.schedule, step, settings.epochs * steps)
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * factor
            loss = self._step(crops, classes.to(self.device), weight)
            totals += torch.tensor([loss * len(crops), len(crops)])
        total, count = distributed.sum_over_all(totals.to(self.device)).tolist()
        return total / count

    def _step(self, crops: torch.Tensor, classes: torch.Tensor, weight: float) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = cross_entropy(self.shared(self._images(crops)), classes)
        self.scaler.scale(loss * weight).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def _reestimate(self, train: CropSet) -> None:
        """Measure the norms' statistics over some training crops as they are."""
        size = self.settings.batch_size
        rng = np.random.default_rng([self.settings.seed, len(self.epochs)])
        chosen = rng.permutation(len(train))[: BATCHES * size]
        own = chosen[distributed.rank() :: distributed.world_size()]
        with self._autocast():
            reestimate(
                self.model, (self._images(crops) for crops in train.batches(size, own))
            )
        distributed.average_statistics(self.model)

    @torch.inference_mode()
    def logits(self, crops: CropSet) -> torch.Tensor:
        """Return the model's float32 outputs [n, classes] on the CPU, in crop order."""
        self.model.eval()
        own = np.arange(len(crops))[distributed.rank() :: distributed.world_size()]
        outputs = []
        for batch in crops.batches(self.settings.batch_size, own):
            with self._autocast():
                outputs.append(self.model(self._images(batch)).float())
        mine = torch.cat(outputs)
        every = mine.new_zeros(len(crops), mine.shape[1])
        every[torch.from_numpy(own)] = mine
        return distributed.sum_over_all(every).cpu()

    def checkpoint(self, config: dict) -> Checkpoint:
        """Describe where the training is."""
        return Checkpoint(
            config,
            [epoch.as_dict() for epoch in self.epochs],
            dict(self.model.state_dict()),
            self.best,
            self.optimizer.state_dict(),
            self.scaler.state_dict(),
        )

    def restore(self, state: Checkpoint) -> None:
        """Go back to where a checkpoint was taken."""
        self.epochs = [Epoch(**epoch) for epoch in state.epochs]
        self.best = state.best
        load_state(self.model, state.weights)
        self.optimizer.load_state_dict(state.optimizer)
        self.scaler.load_state_dict(state.scaler)

    def _images(self, crops: torch.Tensor) -> torch.Tensor:
        """Send uint8 crops to the device, a quarter of float32's bytes, then scale."""
        crops = crops.to(self.device, memory_format=torch.channels_last)
        images = as_images(crops)
        if side := self.settings.input_px:
            images = interpolate(images, (side, side), mode="bilinear", antialias=True)
        return images

    def _autocast(self) -> torch.autocast:
        mixed = self.precision is not torch.float32
        dtype = self.precision if mixed else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=mixed)


def _copied(model: nn.Module) -> Tensors:
    return {
        name: value.detach().cpu().clone() for name, value in model.state_dict().items()
    }

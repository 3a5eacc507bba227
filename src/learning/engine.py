"""The training loop: epochs until validation stops improving, best weights kept."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from src.learning.augment import Augmenter
from src.learning.backbones import load_state
from src.learning.dataset import CropSet
from src.learning.device import choose_precision

CLIP_NORM = 5.0


@dataclass(frozen=True)
class Settings:
    """How to train: the flags of train.py of the same names."""

    optimizer: str = "adamw"
    lr: float = 1e-3
    epochs: int = 20
    patience: int = 5
    batch_size: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """One row of a training's history; losses are mean cross entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    seconds: float
    best: bool

    as_dict = asdict


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
}


class Trainer:
    """A model, its optimiser and its numbers' format, on one device."""

    def __init__(
        self, model: nn.Module, settings: Settings, device: torch.device
    ) -> None:
        """Move the model to the device and start its optimiser."""
        self.model = model.to(device, memory_format=torch.channels_last)
        self.settings, self.device = settings, device
        self.precision = choose_precision(device)
        self.optimizer = OPTIMIZERS[settings.optimizer](
            self.model.parameters(), lr=settings.lr
        )
        halved = self.precision is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=halved)
        self.shuffle = np.random.default_rng(settings.seed)
        self.augment = Augmenter(settings.seed)

    def fit(
        self,
        train: CropSet,
        validation: CropSet,
        on_epoch: Callable[[Epoch], None],
    ) -> None:
        """Train; afterwards the model holds the weights of the best validation loss."""
        best_loss, best_state, waited = float("inf"), None, 0
        for number in range(1, self.settings.epochs + 1):
            start = time.perf_counter()
            train_loss = self._train_epoch(train)
            logits = self.logits(validation)
            classes = torch.from_numpy(validation.classes)
            loss = cross_entropy(logits, classes).item()
            top1 = (logits.argmax(1) == classes).float().mean().item()
            improved = loss < best_loss
            if improved:
                best_loss, waited = loss, 0
                best_state = {
                    name: value.detach().cpu().clone()
                    for name, value in self.model.state_dict().items()
                }
            else:
                waited += 1
            seconds = time.perf_counter() - start
            on_epoch(Epoch(number, train_loss, loss, top1, seconds, improved))
            if waited >= self.settings.patience:
                break
        if best_state is not None:
            load_state(self.model, best_state)

    def _train_epoch(self, train: CropSet) -> float:
        """Pass over the training crops once; return their mean loss."""
        self.model.train()
        total, count = 0.0, 0
        size = self.settings.batch_size
        for images, classes in train.batches(size, self.shuffle, self.augment):
            loss = self._step(images, classes.to(self.device))
            total, count = total + loss * len(images), count + len(images)
        return total / count

    def _step(self, images: torch.Tensor, classes: torch.Tensor) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = cross_entropy(self.model(self._placed(images)), classes)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    @torch.inference_mode()
    def logits(self, crops: CropSet) -> torch.Tensor:
        """Return the model's float32 outputs [n, classes] on the CPU, in crop order."""
        self.model.eval()
        outputs = []
        for images, _ in crops.batches(self.settings.batch_size):
            with self._autocast():
                outputs.append(self.model(self._placed(images)).float().cpu())
        return torch.cat(outputs)

    def _placed(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(self.device, memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        mixed = self.precision is not torch.float32
        dtype = self.precision if mixed else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=mixed)

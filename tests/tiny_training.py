"""A network of a few weights, and a validation whose losses are given."""

from collections.abc import Sequence

import torch
from torch import nn

from src.training.config import Hyperparameters
from src.training.trainer import Trainer, Validation

CPU = torch.device("cpu")


def tiny_model(dropout: float = 0.0, norm: bool = True, seed: int = 0) -> nn.Module:
    """Make a network of three classes, batch normalisation first where it has one."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.BatchNorm2d(3) if norm else nn.Identity(),
        nn.Conv2d(3, 8, 5, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((2, 4)),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, 3),
    )


def tiny_trainer(
    hyperparameters: Hyperparameters, model: nn.Module | None = None
) -> Trainer:
    """Make a trainer in float32, of a tiny model if none is given."""
    return Trainer(model or tiny_model(), hyperparameters, CPU, precision=torch.float32)


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy a model's tensors."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Say whether two sets of tensors are equal by name."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )


class Scripted:
    """A validation with given losses, which keeps the weights that it judged."""

    def __init__(self, losses: Sequence[float]) -> None:
        """Take the loss of each epoch."""
        self.losses = losses
        self.judged: dict[int, dict[str, torch.Tensor]] = {}

    def validate(self, trainer: Trainer) -> Validation:
        """Return the epoch's loss, and its number in hundredths for an accuracy."""
        epoch = len(trainer.epochs) + 1
        self.judged[epoch] = weights_of(trainer.model)
        return Validation(self.losses[epoch - 1], epoch / 100)

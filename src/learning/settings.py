"""How to train: every number that changes what a run learns, and what an epoch gave."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The flags of train.py of the same names.

    patience: epochs without a better validation loss after which training stops; 0 to
    train them all and keep the last weights, where validation is too small to choose.
    input_px: side to which crops are scaled for the backbone, 0 for as they are;
    augment: strength of the random changes, 0 for none; batch_norm: `reestimate` the
    statistics before each evaluation, `keep` them as training left them, or `auto`.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: str = "cosine"
    epochs: int = 20
    patience: int = 5
    batch_size: int = 32
    input_px: int = 0
    augment: float = 0.5
    batch_norm: str = "auto"
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)


@dataclass(frozen=True)
class Epoch:
    """One row of a training's history; losses are mean cross entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    lr: float
    seconds: float
    best: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)

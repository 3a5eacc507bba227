"""What makes a run: its hyperparameters and its data; and the metrics of an epoch."""

import json
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Hyperparameters:
    """The flags of train.py of the same names.

    patience: early stopping, epochs without a better validation loss; 0 to train all
    epochs and keep the last weights, where validation is too small to choose.
    input_px: side to which crops are scaled for the backbone, 0 for as they are;
    augment: strength of the augmentation, 0 for none; bn_stats: `recompute` the
    statistics before each evaluation, `running` for those of training, or `auto`.
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
    bn_stats: str = "auto"
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the hyperparameters by name."""
        return asdict(self)


@dataclass(frozen=True)
class EpochMetrics:
    """One row of a training's history; losses are mean cross entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    lr: float
    seconds: float
    best: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True)
class RunConfig:
    """What makes a run, and what a reader of it needs.

    labels: class names in the order of the model's outputs; crop: the cache's crop
    specification; cache_fingerprint: hashes of its tables; prior: severity shares by
    condition and level of the training studies, the fallback of inference;
    canal_offsets, level_spacing: of a location run, where sites lie from the canal's
    and how far levels lie apart in its training studies.
    """

    task: str
    backbone: str
    split: str
    fold: str
    slices: str
    labels: list[str]
    hyperparameters: dict[str, Any]
    weights: str
    crop: dict[str, Any]
    cache_fingerprint: dict[str, Any]
    limit: int | None
    prior: list[dict[Hashable, Any]]
    canal_offsets: list[dict[str, Any]] | None = None
    level_spacing: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name; of a weights file the name without its folder."""
        plain = json.loads(json.dumps(asdict(self)))
        return {**plain, "weights": Path(self.weights).name}

    @property
    def name(self) -> str:
        """The run folder's name: what distinguishes runs of one cache."""
        fold = self.fold if self.fold == "holdout" else f"fold{self.fold}"
        parts = (self.task, self.backbone, self.slices, self.split, fold)
        return "-".join((*parts, f"seed{self.hyperparameters['seed']}"))

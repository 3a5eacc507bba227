"""What makes a run: its hyperparameters and its data; and the metrics of an epoch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Hyperparameters:
    """The flags of train.py of the same names.

    patience: epochs without a better validation loss after which training stops; 0 to
    train them all and keep the last weights, where validation is too small to choose.
    input_px: side to which crops are scaled for the backbone, 0 for as they are;
    augment: strength of the random changes, 0 for none; batch_norm: `recompute` the
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
    prior: list[dict[str, Any]]
    canal_offsets: list[dict[str, Any]] | None = None
    level_spacing: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it by name; of a file of weights the name, not where it lay."""
        told = json.loads(json.dumps(asdict(self)))
        return {**told, "weights": Path(self.weights).name}

    @property
    def name(self) -> str:
        """Name the run's folder by what tells runs apart."""
        fold = self.fold if self.fold == "holdout" else f"fold{self.fold}"
        parts = (self.task, self.backbone, self.slices, self.split, fold)
        return "-".join((*parts, f"seed{self.hyperparameters['seed']}"))

"""What makes a run: its hyperparameters and its data; and the metrics of an epoch."""

import json
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any, TypedDict

from src.competition.constants import CONDITIONS, SEVERITIES, TARGETS

# What the outputs of each task's models are called, in order.
LABELS = {"condition": CONDITIONS, "severity": SEVERITIES, "location": TARGETS}

SPLIT_WAYS = ("study", "row")
SLICES = ("neighbours", "repeat", "attention")
VIEWS = ("own", "all")
SCHEDULES = ("cosine", "constant")
BN_STATS = ("auto", "recompute", "running")
SELECTIONS = ("auto", "best", "smoothed", "last")
MAX_AUGMENT = 2.0  # beyond it little of a crop is left
MAX_EMA = 0.99999
MAX_MIXUP = 100.0  # near it all pairs are mixed half and half
MAX_INPUT_PX = 1024


@dataclass(frozen=True)
class Hyperparameters:
    """The flags of train.py of the same names.

    patience: early stopping, epochs without a better validation loss; 0 to train all
    epochs and keep the last weights, where validation is too small to choose.
    input_px: side to which crops are scaled for the backbone, 0 for as they are;
    augment: strength of the augmentation, 0 for none; bn_stats: `recompute` the
    statistics before each evaluation, `running` for those of training, or `auto`.
    accumulate: gradient accumulation, the parts of a batch that pass through the
    network one after another; sync_bn: batch norm over all processes. select: the
    epoch whose weights are kept, `auto` by the number of validation studies
    (`selection`); ema: the decay a
    step of a moving average of the weights, 0 for none. mixup: the alpha of the Beta
    distribution of mixup's shares, 0 for none; of crops. soften: the share of teachers'
    out-of-fold answers in the training labels of crops, 0 for the labels as they are.
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
    accumulate: int = 1
    sync_bn: bool = False
    select: str = "auto"
    ema: float = 0.0
    mixup: float = 0.0
    soften: float = 0.0

    @property
    def part_size(self) -> int:
        """Rows that pass through the network at once, over all processes."""
        return ceil(self.batch_size / self.accumulate)

    def to_dict(self) -> dict[str, Any]:
        """Return the hyperparameters by name."""
        return asdict(self)


class CropSize(TypedDict):
    """The fields of the cache's CropSpec."""

    crop_px: int
    field_mm: float | None
    slices: int


class CacheFingerprint(TypedDict):
    """The hashes of a cache's tables."""

    points: str
    labels: str
    series: str


class PriorRow(TypedDict):
    """The probability of each severity at one condition and level."""

    condition: str
    level: str
    normal_mild: float
    moderate: float
    severe: float


class CanalOffsetRow(TypedDict):
    """A site's offset [3] from the canal of its level."""

    condition: str
    level: str
    mean_mm: list[float]
    sd_mm: list[float]


class LevelSpacingRow(TypedDict):
    """The distance from a level to the next."""

    level: str
    mean_mm: float
    sd_mm: float


class SiteErrorRow(TypedDict):
    """How far a locator's sites are off the marked ones in series of one plane.

    error_mm: in plane, quantiles at even levels from 0 to 1; slices_off: the shares of
    sites 0, 1, 2, ... slices off.
    """

    axial: bool
    error_mm: list[float]
    slices_off: list[float]


@dataclass(frozen=True)
class EpochMetrics:
    """One row of a training's history; losses are mean cross entropies.

    images_per_second: of the training pass, over all processes; None in an epoch of
    an older version, which did not measure it.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    lr: float
    seconds: float
    best: bool
    images_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the measured figures by name."""
        return {name: held for name, held in asdict(self).items() if held is not None}

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> "EpochMetrics":
        """Read the figures back. Raises ValueError unless all are finite numbers."""
        if not all(isinstance(v, int | float) and isfinite(v) for v in held.values()):
            raise ValueError("an epoch whose figures are no finite numbers")
        return cls(**held)


@dataclass(frozen=True)
class RunConfig:
    """What makes a run, and what a reader of it needs.

    labels: class names in the order of the model's outputs; crop: the cache's crop
    specification; cache_fingerprint: hashes of its tables; prior: severity shares by
    condition and level of the training studies, the fallback of inference;
    canal_offsets, level_spacing: of a location run, where sites lie from the canal's
    and how far levels lie apart in its training studies; site_errors: of a severity
    run, a locator's, by which its crops are jittered: [] for no jitter, and None for
    published ones; views: `own`, the network sees the marked view of a site, or `all`.
    """

    task: str
    backbone: str
    split: str
    fold: str
    slices: str
    labels: list[str]
    hyperparameters: Hyperparameters
    weights: str
    crop: CropSize
    cache_fingerprint: CacheFingerprint
    limit: int | None
    prior: list[PriorRow]
    canal_offsets: list[CanalOffsetRow] | None = None
    level_spacing: list[LevelSpacingRow] | None = None
    site_errors: list[SiteErrorRow] | None = None
    views: str = "own"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name; of a weights file the name without its folder."""
        plain = json.loads(json.dumps(asdict(self)))
        return {**plain, "weights": Path(self.weights).name}

    @property
    def attends(self) -> bool:
        """Whether the network attends to the slices one by one."""
        return self.slices == "attention"

    @property
    def name(self) -> str:
        """The run folder's name: what distinguishes runs of one cache."""
        fold = self.fold if self.fold == "holdout" else f"fold{self.fold}"
        seen = self.slices if self.views == "own" else f"views-{self.slices}"
        parts = (self.task, self.backbone, seen, self.split, fold)
        return "-".join((*parts, f"seed{self.hyperparameters.seed}"))

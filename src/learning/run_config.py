"""What makes a run, in words that its folder keeps."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunConfig:
    """What makes a run, and what a reader of it needs.

    labels: class names in the order of the model's outputs; crop: the cache's crop
    specification; cache_key: hashes of its tables; prior: severity shares by condition
    and level of the training studies, the answer where nothing can be seen; offsets,
    steps: of a location run, where sites lie from the canal's and how far levels lie
    apart in its training studies.
    """

    task: str
    backbone: str
    split: str
    fold: str
    slices: str
    labels: list[str]
    settings: dict[str, Any]
    weights: str
    crop: dict[str, Any]
    cache_key: dict[str, Any]
    limit: int | None
    prior: list[dict[str, Any]]
    offsets: list[dict[str, Any]] | None = None
    steps: list[dict[str, Any]] | None = None

    def described(self) -> dict[str, Any]:
        """Return all of it by name; of a file of weights the name, not where it lay."""
        told = json.loads(json.dumps(asdict(self)))
        return {**told, "weights": Path(self.weights).name}

    @property
    def name(self) -> str:
        """Name the run's folder by what tells runs apart."""
        fold = self.fold if self.fold == "holdout" else f"fold{self.fold}"
        parts = (self.task, self.backbone, self.slices, self.split, fold)
        return "-".join((*parts, f"seed{self.settings['seed']}"))

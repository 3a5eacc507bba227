"""Classifiers with given predictions that keep the crops they were given."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from fake_condition_runs import run_config

from src.inference.grading import CropClassifier
from src.training.config import LABELS
from src.training.predictor import Predictor
from src.training.run_folder import Run

SPEC = {"crop_px": 16, "field_mm": 16.0, "slices": 3}


class Fixed:
    """A predictor that always returns the same probabilities, by default 1/3 each."""

    def __init__(self, *probabilities: float) -> None:
        """Set the probabilities, of severities or conditions."""
        logits = np.log(probabilities or (1 / 3,) * 3)
        self.logits = torch.tensor(logits, dtype=torch.float32)
        self.shown: list[np.ndarray] = []

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits for uint8 crops [n, channels, px, px]."""
        self.shown += list(images.numpy())
        return self.logits.repeat(len(images), 1)


class ByPixels:
    """A predictor whose logits are sums of a crop's pixels, drawn alike each time."""

    def __init__(self, classes: int = 3) -> None:
        """Set the number of logits."""
        self.classes = classes

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [n, classes] for uint8 crops [n, channels, px, px]."""
        flat = images.float().flatten(1)
        drawn = np.random.default_rng(0).normal(size=(flat.shape[1], self.classes))
        return flat @ torch.from_numpy(drawn.astype(np.float32)) / 10_000


def run_of(task: str, name: str = "run", **changes: Any) -> Run:
    """Make a run of a task; `changes` of its config."""
    usual = {"task": task, "labels": list(LABELS[task]), "crop": SPEC}
    return Run(Path(name), run_config(**{**usual, **changes}))


def fixed(
    predictor: Predictor, task: str = "severity", **changes: Any
) -> CropClassifier:
    """Make a classifier; `changes` of its run's config."""
    return CropClassifier(run_of(task, **changes), predictor)

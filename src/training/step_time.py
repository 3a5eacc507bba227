"""The time of a training step here, on images of noise: the basis of an estimate.

    python -m src.training.step_time '[{"task": "severity", "backbones": ["resnet18"],
                                       "batch_size": 32, "px": 100}]'

prints one JSON object: the device, and by backbone the seconds of a step and the
network's parameters, for each entry. "accumulate" may say in how many parts a batch
comes; "channels" the axes of an example before those of its sides: [3] if not given, or
[views, 3] for a network that sees the neighbours in all views.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from src.command_line import run_script
from src.models.backbones import CHANNELS, build, check_names
from src.models.heatmap_fpn import build_heatmap_fpn
from src.models.view_attention import ViewAttention
from src.training.config import LABELS, Hyperparameters
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.device import choose_device
from src.training.predictor import Predictor
from src.training.trainer import Trainer, Validation

STEPS = 3  # timed, after one that is not


class Noise(BatchDataset):
    """Some batches of the same random image, of class 0 each."""

    def __init__(self, rows: int, px: int, channels: Sequence[int]) -> None:
        """Make as many rows of a side as asked for."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (1, *channels, px, px), dtype=np.uint8)
        self.rows, self.image = rows, torch.from_numpy(image)

    def __len__(self) -> int:
        """Count the rows."""
        return self.rows

    def __getitem__(self, key: BatchKey) -> Batch:
        """Repeat the image for each row."""
        images = self.image.repeat_interleave(len(key.rows), dim=0)
        classes = torch.zeros(len(key.rows), dtype=torch.int64)
        return Batch(images, classes, key.loss_scale, key.steps)

    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut the rows, which fill whole batches."""
        return np.split(order, len(order) // size)

    def loss_weight(self, rows: np.ndarray, epoch: int = 1) -> float:
        """Weigh each row alike."""
        return float(len(rows))


class NoiseTask:
    """A training on noise: its steps cost what a real one's do."""

    def __init__(self, rows: int, px: int, channels: Sequence[int]) -> None:
        """Make a training set of as many rows."""
        self.train = Noise(rows, px, channels)

    @property
    def validation_studies(self) -> int:
        """Count none: noise is of no study."""
        return 0

    def loss(self, outputs: torch.Tensor, target: Any) -> torch.Tensor:
        """Return the mean loss of class scores or of heatmaps.

        Scores: [n, classes], or [n, 1 + views, classes] by all views and by each.
        """
        if outputs.ndim == 2:
            return cross_entropy(outputs, target)
        if outputs.ndim == 3:
            by_view = target[:, None].expand(outputs.shape[:2])
            return cross_entropy(outputs.flatten(0, 1), by_view.flatten())
        return outputs.float().square().mean()

    def validate(self, model: Predictor) -> Validation:
        """Validate nothing."""
        return Validation(0.0, 0.0)


def build_network(task: str, backbone: str, channels: Sequence[int]) -> nn.Module:
    """Build a network as a run of the task has it; channels: see above."""
    outputs = len(LABELS[task])
    if task == "location":
        return build_heatmap_fpn(backbone, outputs)
    if len(channels) > 1:
        views, slices = channels
        return ViewAttention(backbone, outputs, views, slices, "none", slices)
    return build(backbone, outputs)


def time_step(
    model: nn.Module,
    recipe: Hyperparameters,
    px: int,
    channels: Sequence[int],
    device: torch.device,
) -> dict[str, Any]:
    """Return the seconds a step of a network's training, and its parameters."""
    trainer = Trainer(model, recipe, device)
    for steps in (1, STEPS):
        noise = NoiseTask(steps * recipe.batch_size, px, channels)
        loader = trainer.start(noise)
        start = time.perf_counter()
        trainer.train_epoch(noise, loader, 1)  # whose loss is read from the device
        seconds = (time.perf_counter() - start) / steps
    parameters = sum(each.numel() for each in model.parameters())
    return {"seconds": seconds, "parameters": parameters}


def time_all(
    task: str,
    backbones: list[str],
    batch_size: int,
    px: int,
    accumulate: int = 1,
    channels: Sequence[int] = (CHANNELS,),
) -> dict[str, dict[str, Any]]:
    """Time a step of each backbone, `paper` spelled out."""
    device = choose_device()
    recipe = Hyperparameters(batch_size=batch_size, accumulate=accumulate)
    found = {}
    for name in check_names(backbones):
        model = build_network(task, name, channels)
        found[name] = time_step(model, recipe, px, channels, device)
    return found


def main() -> None:
    """Time what the command line asks for, and print it."""
    device = choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    steps = [time_all(**entry) for entry in json.loads(sys.argv[1])]
    print(json.dumps({"device": name, "gpu": device.type == "cuda", "steps": steps}))


if __name__ == "__main__":
    run_script(main)

"""The time of a training step here, on images of noise: the basis of an estimate.

    python -m src.training.step_time '[{"task": "severity", "backbones": ["resnet18"],
                                       "batch_size": 32, "px": 100}]'

prints one JSON object: the device, and by backbone the seconds of a step and the
network's parameters, for each entry. "accumulate" may say in how many parts a batch
comes.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from src.command_line import run_script
from src.models.backbones import CHANNELS, build, check_names
from src.models.heatmap_fpn import build_heatmap_fpn
from src.training.config import LABELS, Hyperparameters
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.device import choose_device
from src.training.predictor import Predictor
from src.training.trainer import Trainer, Validation

STEPS = 3  # timed, after one that is not


class Noise(BatchDataset):
    """Some batches of the same random image, of class 0 each."""

    def __init__(self, rows: int, px: int) -> None:
        """Make as many rows of a side as asked for."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (1, CHANNELS, px, px), dtype=np.uint8)
        self.rows, self.image = rows, torch.from_numpy(image)

    def __len__(self) -> int:
        """Count the rows."""
        return self.rows

    def __getitem__(self, key: BatchKey) -> Batch:
        """Repeat the image for each row."""
        images = self.image.repeat(len(key.rows), 1, 1, 1)
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

    def __init__(self, rows: int, px: int) -> None:
        """Make a training set of as many rows."""
        self.train = Noise(rows, px)

    @property
    def validation_studies(self) -> int:
        """Count none: noise is of no study."""
        return 0

    def loss(self, outputs: torch.Tensor, target: Any) -> torch.Tensor:
        """Return the mean loss of class scores [n, classes] or of heatmaps."""
        if outputs.ndim == 2:
            return cross_entropy(outputs, target)
        return outputs.float().square().mean()

    def validate(self, model: Predictor) -> Validation:
        """Validate nothing."""
        return Validation(0.0, 0.0)


def time_step(
    task: str, backbone: str, recipe: Hyperparameters, px: int, device: torch.device
) -> dict[str, Any]:
    """Return the seconds a step of a network's training, and its parameters."""
    outputs = len(LABELS[task])
    build_model = build_heatmap_fpn if task == "location" else build
    model = build_model(backbone, outputs)
    trainer = Trainer(model, recipe, device)
    for steps in (1, STEPS):
        noise = NoiseTask(steps * recipe.batch_size, px)
        loader = trainer.start(noise)
        start = time.perf_counter()
        trainer.train_epoch(noise, loader, 1)  # whose loss is read from the device
        seconds = (time.perf_counter() - start) / steps
    parameters = sum(each.numel() for each in model.parameters())
    return {"seconds": seconds, "parameters": parameters}


def time_all(
    task: str, backbones: list[str], batch_size: int, px: int, accumulate: int = 1
) -> dict[str, dict[str, Any]]:
    """Time a step of each backbone, `paper` spelled out."""
    device = choose_device()
    recipe = Hyperparameters(batch_size=batch_size, accumulate=accumulate)
    return {
        name: time_step(task, name, recipe, px, device)
        for name in check_names(backbones)
    }


def main() -> None:
    """Time what the command line asks for, and print it."""
    device = choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    steps = [time_all(**entry) for entry in json.loads(sys.argv[1])]
    print(json.dumps({"device": name, "gpu": device.type == "cuda", "steps": steps}))


if __name__ == "__main__":
    run_script(main)

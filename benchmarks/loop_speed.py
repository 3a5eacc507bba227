"""Our training loop against a plain one, in images per second and as a ratio.

    python -m benchmarks.loop_speed --cache cache

Plain is what most notebooks do: PNG files read by PIL in a DataLoader without workers,
float32, the usual memory layout. Both train the same backbone on the same crops with
the same batch, in turn, so that a change in the machine's speed meets both.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import normalize, to_tensor

from src.cache.crop_cache import open_cache
from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTraining
from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.models.backbones import build, check_names
from src.training.config import Hyperparameters
from src.training.device import choose_device
from src.training.predictor import MEAN, STD
from src.training.trainer import Trainer


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--backbone", nargs="+", default=["paper"], metavar="NAME", help="which")
    add("--batch-size", type=positive_int, default=32, help="crops a step")
    add("--steps", type=positive_int, default=3, help="steps a turn")
    add(
        "--turns",
        type=positive_int,
        default=3,
        help="turns of each loop, after one for warmth",
    )
    return parser.parse_args()


class PngCrops(Dataset):
    """Crops as PNG files, decoded each time."""

    def __init__(self, crops: np.ndarray, folder: Path) -> None:
        """Write the files."""
        self.paths = [folder / f"{index}.png" for index in range(len(crops))]
        for crop, path in zip(crops, self.paths, strict=True):
            Image.fromarray(crop.transpose(1, 2, 0)).save(path)

    def __len__(self) -> int:
        """Count the files."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Decode one file into a normalised image, and give it a class."""
        image = to_tensor(Image.open(self.paths[index]).convert("RGB"))
        return normalize(image, [MEAN] * 3, [STD] * 3), index % 5


def plain_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    size: int,
    device: torch.device,
) -> None:
    """Train one epoch as most notebooks do."""
    model.train()
    for images, classes in DataLoader(data, batch_size=size, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images.to(device)), classes.to(device))
        loss.backward()
        optimizer.step()
        loss.item()


def compare(
    name: str, crops: np.ndarray, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Time both loops on one backbone, turn by turn."""
    device = choose_device()
    data = PngCrops(crops, folder)
    model = build(name, 5).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    hyperparameters = Hyperparameters(batch_size=args.batch_size, augment=0.0)
    trainer = Trainer(build(name, 5), hyperparameters, device)
    classes = np.arange(len(crops)) % 5
    ours = CropDataset(
        crops, np.arange(len(crops)), classes, np.zeros(len(crops), bool), "neighbours"
    )
    task = CropTraining(ours, ours, args.batch_size)
    loader = trainer.start(task)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(args.turns + 1):
        start = time.perf_counter()
        plain_epoch(model, optimizer, data, args.batch_size, device)
        middle = time.perf_counter()
        trainer.train_epoch(task, loader, max(turn, 1))
        end = time.perf_counter()
        if turn:
            seconds["plain"].append(middle - start)
            seconds["ours"].append(end - middle)
    ratios = [p / o for p, o in zip(seconds["plain"], seconds["ours"], strict=True)]
    return {
        "backbone": name,
        "ours in": str(trainer.precision).removeprefix("torch."),
        "plain, images/s": round(len(crops) / median(seconds["plain"]), 1),
        "ours, images/s": round(len(crops) / median(seconds["ours"]), 1),
        "ratio": round(median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def main() -> None:
    """Time every backbone and show the table."""
    args = parse()
    cache = open_cache(args.cache)
    crops = np.array(cache.crops[: args.batch_size * args.steps])
    device = choose_device()
    say(
        f"{device}, {torch.get_num_threads()} threads, {crops.shape[-1]} px, "
        f"batch {args.batch_size}"
    )
    rows: list[dict[str, Any]] = []
    for name in check_names(args.backbone):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compare(name, crops, args, Path(folder)))
    show_table("Our loop against a plain one", rows)
    say(f"Median ratio {median(row['ratio'] for row in rows):.2f}")


if __name__ == "__main__":
    run_script(main)

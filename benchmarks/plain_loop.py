"""Training as most notebooks do it, the paper's too: what ours is held against.

PNG files read by PIL in a DataLoader without workers, float32 images in the usual
memory layout, no mixed precision, the loss read back at every step.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import normalize, resize, to_tensor

from src.training.predictor import MEAN, STD

CLASSES = 5


class PngCrops(Dataset[tuple[torch.Tensor, int]]):
    """Crops as PNG files, decoded each time."""

    def __init__(self, crops: np.ndarray, folder: Path, input_px: int = 0) -> None:
        """Write crops [n, 3, px, px]; input_px: scaled to that side, unless 0."""
        self.input_px = input_px
        self.paths = [folder / f"{index}.png" for index in range(len(crops))]
        for crop, path in zip(crops, self.paths, strict=True):
            Image.fromarray(crop.transpose(1, 2, 0)).save(path)

    def __len__(self) -> int:
        """Count the files."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Decode one file into a normalised image, and give it a class."""
        image = Image.open(self.paths[index]).convert("RGB")
        if self.input_px:
            image = resize(image, [self.input_px, self.input_px])
        return normalize(to_tensor(image), [MEAN] * 3, [STD] * 3), index % CLASSES


class PlainLoop:
    """A model and its optimizer, trained the plain way."""

    def __init__(self, model: nn.Module, batch_size: int, device: torch.device) -> None:
        """Move the model to the device; Adam, as the paper's code."""
        self.model, self.batch_size = model.to(device), batch_size
        self.device = device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def train_epoch(self, data: PngCrops) -> None:
        """Pass over the crops once."""
        self.model.train()
        for images, classes in plain_loader(data, self.batch_size):
            self.optimizer.zero_grad()
            outputs = self.model(images.to(self.device))
            loss = nn.functional.cross_entropy(outputs, classes.to(self.device))
            loss.backward()
            self.optimizer.step()
            loss.item()


def plain_loader(
    data: PngCrops, batch_size: int
) -> DataLoader[tuple[torch.Tensor, int]]:
    """Make a loader without workers."""
    return DataLoader(data, batch_size=batch_size, shuffle=True)

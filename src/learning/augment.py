"""Random changes to training crops that leave their labels true, or change both.

What happens to a crop follows from the seed, the epoch and the crop's row alone: a
training that is resumed, or shared by several processes, sees the same crops.
"""

import os

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the web

import albumentations as A  # noqa: N812  (its documented name, after the switch)

from src.learning.mirror import MIRRORED_CLASS, mirror

MIRROR_CHANCE = 0.5


def mixed_seed(*numbers: int) -> int:
    """Make one seed of several numbers, the same in every process and version."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Augmenter:
    """Shift, turn, scale and re-light crops, a crop's slices alike; mirror some."""

    def __init__(self, strength: float, seed: int, mirrors: bool) -> None:
        """Set the strength: 1 turns by up to 25 degrees and shifts by up to 12 %.

        mirrors: whether left and right may change places, labels included.
        """
        self.strength, self.seed, self.mirrors = strength, seed, mirrors
        self._change = A.Compose(
            [
                A.Affine(
                    translate_percent=(-0.12 * strength, 0.12 * strength),
                    rotate=(-25 * strength, 25 * strength),
                    scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
                    p=0.9,
                ),
                A.RandomBrightnessContrast(0.4 * strength, 0.4 * strength, p=0.7),
                A.GaussNoise(std_range=(0.0, 0.06 * strength), p=0.3),
            ]
        )

    def __call__(
        self,
        crops: np.ndarray,
        classes: np.ndarray,
        axial: np.ndarray,
        rows: np.ndarray,
        epoch: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change uint8 crops [n, slices, px, px] and their condition classes [n]."""
        if not self.strength:
            return crops, classes
        seeds = [mixed_seed(self.seed, epoch, int(row)) for row in rows]
        if self.mirrors:
            chosen = np.array(seeds) % 1000 < 1000 * MIRROR_CHANCE
            crops = crops.copy()
            crops[chosen] = mirror(crops[chosen], axial[chosen])
            classes = np.where(chosen, MIRRORED_CLASS[classes], classes)
        changed = [
            self._one(crop, seed) for crop, seed in zip(crops, seeds, strict=True)
        ]
        return np.stack(changed), classes

    def _one(self, crop: np.ndarray, seed: int) -> np.ndarray:
        self._change.set_random_seed(seed)
        return self._change(image=crop.transpose(1, 2, 0))["image"].transpose(2, 0, 1)

"""Random augmentation of training crops; a flip swaps the left and right label.

A crop's augmentation follows from the seed, the epoch and the crop's row alone: a
resumed training, or one of several processes, has the same crops.
"""

import os

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the web

import albumentations as A  # noqa: N812  (its documented name, after the switch)

from src.training.mirror import mirror_where, swap_classes
from src.training.site_jitter import SiteJitter

FLIP_PROBABILITY = 0.5


def derive_seed(*numbers: int) -> int:
    """Make one seed of several numbers, the same in every process and version."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def make_transforms(strength: float) -> list[A.BasicTransform]:
    """List geometric and intensity transforms; at 1: 25 degrees, shifts of 12 %."""
    return [
        A.Affine(
            translate_percent=(-0.12 * strength, 0.12 * strength),
            rotate=(-25 * strength, 25 * strength),
            scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
            p=0.9,
        ),
        A.RandomBrightnessContrast(0.4 * strength, 0.4 * strength, p=0.7),
        A.GaussNoise(std_range=(0.0, 0.06 * strength), p=0.3),
    ]


class Augmenter:
    """Shifts, rotates, scales and relights crops, all slices alike; flips half."""

    def __init__(
        self,
        strength: float,
        seed: int,
        mirrors: bool,
        jitter: SiteJitter | None = None,
    ) -> None:
        """Set the strength, as `make_transforms` takes it.

        mirrors: whether crops may be flipped left to right, with the label swap.
        jitter: of crops, as a locator's sites are off, or None.
        """
        self.strength, self.seed, self.mirrors = strength, seed, mirrors
        self.jitter = jitter
        self._change = A.Compose(make_transforms(strength))

    def __call__(
        self,
        crops: np.ndarray,
        target: np.ndarray,
        axial: np.ndarray,
        rows: np.ndarray,
        epoch: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change uint8 crops [n, slices, px, px] and their target.

        target: condition classes [n], or their probabilities [n, conditions].
        """
        if not self.strength:
            return crops, target
        seeds = [derive_seed(self.seed, epoch, int(row)) for row in rows]
        if self.jitter is not None:
            given = zip(crops, axial.tolist(), seeds, strict=True)
            crops = np.stack([self.jitter(*one) for one in given])
        if self.mirrors:
            chosen = np.array(seeds) % 1000 < 1000 * FLIP_PROBABILITY
            crops = mirror_where(crops, chosen, axial)
            target = target.copy()
            target[chosen] = swap_classes(target[chosen])
        changed = [
            self._one(crop, seed) for crop, seed in zip(crops, seeds, strict=True)
        ]
        return np.stack(changed), target

    def _one(self, crop: np.ndarray, seed: int) -> np.ndarray:
        self._change.set_random_seed(seed)
        return self._change(image=crop.transpose(1, 2, 0))["image"].transpose(2, 0, 1)

"""Small changes to training crops that leave their labels true."""

import os

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the web

import albumentations as A  # noqa: N812  (its documented name, after the switch)


class Augmenter:
    """Shift, turn, scale and re-light crops, the same way for all slices of a crop."""

    def __init__(self, seed: int) -> None:
        """Start the random stream of one training."""
        self._change = A.Compose(
            [
                A.Affine(
                    translate_percent=(-0.06, 0.06),
                    rotate=(-12, 12),
                    scale=(0.9, 1.1),
                    p=0.8,
                ),
                A.RandomBrightnessContrast(0.2, 0.2, p=0.6),
            ],
            seed=seed,
        )

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Change uint8 crops [n, slices, px, px] each in its own way."""
        return np.stack(
            [
                self._change(image=crop.transpose(1, 2, 0))["image"].transpose(2, 0, 1)
                for crop in crops
            ]
        )

"""Random augmentation of a series' slices together with its sites' keypoints."""

import albumentations as A  # noqa: N812  (its documented name)
import numpy as np

from src.competition.constants import TARGETS, swap_side
from src.training.augmentation import FLIP_PROBABILITY, derive_seed, make_transforms

SWAPPED_TARGET = np.array(
    [
        TARGETS.index(f"{swap_side(name[:-6])}_{name[-5:]}")  # ..._l4_l5
        for name in TARGETS
    ]
)


class KeypointAugmenter:
    """Shift, rotate, scale and re-light all slices of a series alike; flip at random.

    Every draw follows from the seed, the epoch and the series' number alone.
    """

    def __init__(self, strength: float, seed: int) -> None:
        """Set the strength, as `make_transforms` takes it; 0 changes nothing."""
        self.strength, self.seed = strength, seed
        keypoints = A.KeypointParams(format="xy", remove_invisible=False)
        self._change = A.Compose(make_transforms(strength), keypoint_params=keypoints)

    def __call__(
        self,
        images: np.ndarray,
        points: np.ndarray,
        targets: np.ndarray,
        axial: bool,
        number: int,
        epoch: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Augment slices uint8 [n, 3, px, px] with their sites.

        points: [m, 2] pixels; targets: [m] indices in TARGETS. A flip swaps left and
        right targets.
        """
        if not self.strength:
            return images, points, targets
        seed = derive_seed(self.seed, epoch, number)
        if seed % 1000 < 1000 * FLIP_PROBABILITY:
            images, points = _flip(images, points, axial)
            targets = SWAPPED_TARGET[targets]
        self._change.set_random_seed(seed)
        flat = images.reshape(-1, *images.shape[2:]).transpose(1, 2, 0)
        out = self._change(image=flat, keypoints=points)
        changed = out["image"].transpose(2, 0, 1).reshape(images.shape)
        return changed, np.asarray(out["keypoints"], float).reshape(-1, 2), targets


def _flip(
    images: np.ndarray, points: np.ndarray, axial: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Flip patient left and right: an axial slice's columns, else the slice order."""
    if not axial:
        return images[:, ::-1], points
    flipped = points.copy()
    flipped[:, 0] = images.shape[-1] - 1 - points[:, 0]
    return images[..., ::-1], flipped

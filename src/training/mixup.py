"""Mixup: training on convex combinations of a batch's crops and of their labels."""

import numpy as np


def mix(
    crops: np.ndarray, targets: np.ndarray, alpha: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mix each crop with the next one of its batch, and their labels alike.

    crops: uint8 [n, slices, px, px]; targets: [n, classes], probabilities. A batch has
    one share, drawn from Beta(alpha, alpha), so that the sum of its targets, by which
    a weighted loss is divided, stays what it was. Formula: Zhang et al., mixup: Beyond
    Empirical Risk Minimization, 2018, equation 1.
    """
    share = np.float32(np.random.default_rng(seed).beta(alpha, alpha))
    mixed = share * crops + (1 - share) * np.roll(crops, 1, axis=0)
    both = share * targets + (1 - share) * np.roll(targets, 1, axis=0)
    return np.rint(mixed).astype(np.uint8), both.astype(np.float32)

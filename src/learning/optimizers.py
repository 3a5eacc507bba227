"""Optimisers by name, and the learning rate's course."""

import math
from collections.abc import Callable, Iterable

import torch

WARM_UP = 0.05  # share of all steps over which the rate grows to its full height
LEAST = 0.01  # what a cosine course ends at, of the full rate

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": lambda parameters, **rest: torch.optim.SGD(parameters, momentum=0.9, **rest),
}


def make_optimizer(
    name: str, parameters: Iterable[torch.nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make the optimiser of that name; SGD has a momentum of .9."""
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def rate_factor(schedule: str, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step of `steps` in all.

    `constant` is 1. `cosine` grows over WARM_UP, then falls along half a cosine to
    LEAST (Loshchilov and Hutter, SGDR, 2017, without restarts).
    """
    if schedule == "constant":
        return 1.0
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * min(share, 1)))

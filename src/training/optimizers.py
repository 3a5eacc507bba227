"""Optimisers by name, and the learning rate's course."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

WARMUP_SHARE = 0.05  # share of all steps over which the rate grows to its full height
MIN_LR_FACTOR = 0.01  # what a cosine course ends at, of the full rate

# Fused: one pass over the weights instead of a dozen, which is a third of VGG's step on
# a CPU. RMSProp has no such form.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, momentum=0.9, fused=True),
}


def make_optimizer(
    name: str, parameters: Iterable[torch.nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make the optimiser of that name; SGD has a momentum of .9."""
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimiser, its moments laid out in memory as their weights are.

    A file keeps tensors row by row; a fused step reads weight and moments side by side
    as they lie, and would pair the wrong ones.
    """
    optimizer.load_state_dict(state)
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.shape == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(value)


def lr_factor(schedule: str, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step of `steps` in all.

    `constant` is 1. `cosine` grows over WARM_UP, then falls along half a cosine to
    LEAST (Loshchilov and Hutter, SGDR, 2017, without restarts).
    """
    if schedule == "constant":
        return 1.0
    warm = max(1, round(WARMUP_SHARE * steps))
    if step < warm:
        return (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    return MIN_LR_FACTOR + (1 - MIN_LR_FACTOR) * 0.5 * (
        1 + math.cos(math.pi * min(share, 1))
    )

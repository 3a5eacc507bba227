"""Optimizers by name, and the learning rate scheduler with warmup and cosine."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

WARMUP_SHARE = 0.05  # of all steps, over which the rate grows to its full value
MIN_LR_FACTOR = 0.01  # of the full rate, at which the cosine ends

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
    """Make the optimizer of that name; SGD has a momentum of .9."""
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer, its moments laid out in memory as their weights are.

    A file keeps tensors row by row; a fused step reads weight and moments side by side
    as they lie, and would pair the wrong ones. Raises ValueError for a state that is
    not this optimizer's.
    """
    own = [group.keys() - {"initial_lr"} for group in optimizer.param_groups]
    given = [group.keys() - {"initial_lr"} for group in state["param_groups"]]
    if own != given:
        raise ValueError("the state of another optimizer")
    optimizer.load_state_dict(state)
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.ndim:
                if value.shape != weight.shape:
                    raise ValueError(f"{name} is of another weight")
                moments[name] = torch.empty_like(weight).copy_(value)


def make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: str, done: int, total: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Make the learning rate's schedule: linear warmup and half a cosine, or constant.

    done: steps taken already, by the training that is resumed; total: of all epochs.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group.get("initial_lr", group["lr"])
    factor = partial(lr_factor, schedule, total)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor, last_epoch=done - 1)


def lr_factor(schedule: str, steps: int, step: int) -> float:
    """Return the factor of the learning rate at a step of `steps` in all.

    `constant` is 1. `cosine` grows linearly over WARMUP_SHARE of the steps (warmup),
    then falls along half a cosine to MIN_LR_FACTOR (Loshchilov and Hutter, SGDR, 2017,
    without restarts).
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

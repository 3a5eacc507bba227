"""Batch normalisation's statistics, measured afresh before a model is judged.

torchvision's MNASNet moves its running statistics by 3e-4 a step: after a few hundred
steps they are still mostly those it started from, and evaluation sees another network
than training did. Measuring them over some training batches with the weights at rest
puts that right, whatever the momentum.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

BATCHES = 12  # enough for a mean over some hundred crops
SLOW_MOMENTUM = 0.01  # below it, `auto` measures afresh


def needs_recompute(model: nn.Module, choice: str) -> bool:
    """Say whether to measure: `recompute` yes, `running` no, `auto` if slow to move."""
    norms = list(_norms(model))
    if choice != "auto" or not norms:
        return choice == "recompute" and bool(norms)
    return min(norm.momentum or 1.0 for norm in norms) < SLOW_MOMENTUM


@torch.inference_mode()
def recompute_statistics(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Set the running statistics to their mean over batches of images."""
    with _accumulating(model):
        for images in batches:
            model(images)


@contextmanager
def _accumulating(model: nn.Module) -> Iterator[None]:
    """Make norms alone learn, as plain means, for the length of the block."""
    norms = list(_norms(model))
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the plain mean of all batches
        norm.train()
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _norms(model: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            yield module

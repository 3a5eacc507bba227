"""Batch-norm statistics, recomputed before validation.

torchvision's MNASNet moves its running statistics by 3e-4 a step: after a few hundred
steps they are still mostly their initial values, and the evaluated network is not the
trained one. Recomputing them over training batches with fixed weights removes that, for
any momentum.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

BATCHES = 12  # a mean over several hundred crops
SLOW_MOMENTUM = 0.01  # below it, `auto` recomputes


def needs_recompute(model: nn.Module, choice: str) -> bool:
    """Return whether to recompute: `auto` does for a small momentum."""
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
    """Let the norms alone update, as plain means, within the block."""
    norms = list(_norms(model))
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _norms(model: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            yield module

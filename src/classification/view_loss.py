"""The loss of a network that sees all views of a site."""

import torch
from torch.nn.functional import log_softmax, one_hot

ALONE_WEIGHT = 0.3  # of the grades by single views, beside that by all of them


def view_loss(
    outputs: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean cross entropy [] of sites, auxiliary ones included.

    outputs: [n, 1 + views, classes], by all views and by each alone, zeros for a
    missing one, as ViewAttention gives them; target: class ids [n], or probabilities
    [n, classes]; weights: of the classes [classes], or None. A site's auxiliary loss
    is the mean over its own views, so that sites weigh alike.
    """
    chosen = target if target.ndim == 2 else one_hot(target, outputs.shape[-1])
    weighted = chosen.float() if weights is None else chosen * weights
    logs = log_softmax(outputs.float(), dim=-1)
    losses = -(weighted[:, None] * logs).sum(dim=-1)
    present = (outputs[:, 1:] != 0).any(dim=-1)
    alone = (losses[:, 1:] * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return (losses[:, 0] + ALONE_WEIGHT * alone).sum() / weighted.sum()

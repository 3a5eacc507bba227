"""Gated attention over features: the pooling that slices and views share."""

import torch
from torch import nn

FEATURES = 128  # of a slice


def gated_scores(
    features: torch.Tensor, values: nn.Module, gates: nn.Module, scores: nn.Module
) -> torch.Tensor:
    """Score features [..., FEATURES] for pooling: [...], before the softmax.

    Ilse, Tomczak, Welling; Attention-based Deep Multiple Instance Learning, 2018,
    equation 9: w (tanh(V h) * sigmoid(U h)).
    """
    gated = torch.tanh(values(features)) * torch.sigmoid(gates(features))
    return scores(gated).squeeze(-1)


def attention_pool(features: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Average features [..., k, FEATURES] by the softmax of their scores [..., k]."""
    share = torch.softmax(scores, dim=-1)
    return (share[..., None] * features).sum(dim=-2)

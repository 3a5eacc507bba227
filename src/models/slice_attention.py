"""Gated-attention pooling over per-slice features of one shared encoder."""

import torch
from torch import nn

from src.models.backbones import CHANNELS, build
from src.models.gated_attention import FEATURES, attention_pool, gated_scores


class SliceAttention(nn.Module):
    """Gated-attention pooling over per-slice features of a backbone.

    With a learned mark of each slice's place in the crop.
    """

    def __init__(self, backbone: str, classes: int, slices: int, weights: str) -> None:
        """Build it; weights: of the backbone, as `backbones.build` takes them."""
        super().__init__()
        self.encoder = build(backbone, FEATURES, weights)
        self.place = nn.Parameter(torch.zeros(slices, FEATURES))
        self.values = nn.Linear(FEATURES, FEATURES)
        self.gates = nn.Linear(FEATURES, FEATURES)
        self.scores = nn.Linear(FEATURES, 1)
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Grade crops [n, slices, px, px]: [n, classes]."""
        return self.head(attention_pool(*self._scored(images)))

    def attention(self, images: torch.Tensor) -> torch.Tensor:
        """Return the shares [n, slices] of crops [n, slices, px, px] in the pooling."""
        return torch.softmax(self._scored(images)[1], dim=1)

    def _scored(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the slices' features [n, slices, FEATURES] and scores [n, slices]."""
        count, slices = images.shape[:2]
        each = images.flatten(0, 1)[:, None].expand(-1, CHANNELS, -1, -1)
        seen = self.encoder(each).view(count, slices, -1) + self.place
        return seen, gated_scores(seen, self.values, self.gates, self.scores)

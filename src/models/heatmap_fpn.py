"""A network that marks each target on a slice: heatmaps from a timm encoder."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate

from src.models.backbones import (
    build_encoder,
    encoder_channels,
    load_matching_weights,
)
from src.models.weights_file import read_state

WIDTH = 48  # channels of the decoder


class HeatmapFPN(nn.Module):
    """An encoder's maps, added up from coarse to fine, then one heatmap a target.

    A feature pyramid (Lin et al., Feature Pyramid Networks, 2017), ending at the
    encoder's finest map, half the image's size for most.
    """

    def __init__(self, backbone: str, targets: int, weights: str = "none") -> None:
        """Build it; weights: of the encoder, as `backbones.build` takes them."""
        super().__init__()
        self.encoder = build_encoder(backbone, weights)
        sizes = encoder_channels(self.encoder)
        self.sides = nn.ModuleList(nn.Conv2d(size, WIDTH, 1) for size in sizes)
        self.merges = nn.ModuleList(_block() for _ in sizes)
        self.head = nn.Conv2d(WIDTH, targets, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score slices [n, 3, px, px], each between its neighbours: [n, targets, h, w].

        The scores are log probabilities, up to one constant a target and series.
        """
        merged: torch.Tensor | None = None
        maps = list(zip(self.encoder(images), self.sides, self.merges, strict=True))
        for features, side, merge in reversed(maps):
            lateral = side(features)
            if merged is not None:
                size = lateral.shape[-2:]
                lateral = lateral + interpolate(merged, size, mode="nearest")
            merged = merge(lateral)
        return self.head(merged)


def build_heatmap_fpn(backbone: str, targets: int, weights: str = "none") -> HeatmapFPN:
    """Build a locator; weights: of its encoder, or of a location run to go on from.

    Raises UserError where they cannot be had or do not fit.
    """
    if weights not in ("none", "imagenet"):
        state = read_state(Path(weights))
        if "head.weight" in state and any(name.startswith("sides.") for name in state):
            locator = HeatmapFPN(backbone, targets)
            load_matching_weights(locator, state, weights)
            return locator
    return HeatmapFPN(backbone, targets, weights)


def _block() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
    )

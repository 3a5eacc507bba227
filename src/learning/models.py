"""The network of a run, as its description says."""

from torch import nn

from src.learning.attention import SliceAttention
from src.learning.backbones import build
from src.learning.locator import build_locator
from src.learning.run_config import RunConfig


def model_for(config: RunConfig, weights: str = "none") -> nn.Module:
    """Build a run's network, with its backbone's weights as `build` takes them."""
    size = len(config.labels)
    if config.task == "location":
        return build_locator(config.backbone, size, weights)
    if config.slices == "attention":
        slices = config.crop["slices"]
        return SliceAttention(config.backbone, size, slices, weights)
    return build(config.backbone, size, weights)

"""Attention over slices, against its formula written out slice by slice."""

import math

import pytest
import torch
from torch import nn

from src.models.slice_attention import FEATURES, SliceAttention

SLICES, CLASSES, PX = 5, 4, 8


@pytest.fixture
def model() -> SliceAttention:
    """Make the network around an encoder of one layer, with marks of the places."""
    torch.manual_seed(0)
    made = SliceAttention("resnet10t", CLASSES, SLICES, "none")
    made.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, FEATURES))
    nn.init.normal_(made.place)
    nn.init.normal_(made.scores.weight)
    return made.eval()


def crops(count: int) -> torch.Tensor:
    made = torch.Generator().manual_seed(1)
    return torch.randn(count, SLICES, PX, PX, generator=made)


@torch.inference_mode()
def by_hand(model: SliceAttention, crop: torch.Tensor) -> torch.Tensor:
    """Grade one crop [slices, px, px] as Ilse, Tomczak and Welling write it down."""
    seen, scores = [], []
    for number, slice_ in enumerate(crop):
        three_alike = torch.stack([slice_] * 3)[None]
        features = model.encoder(three_alike)[0] + model.place[number]
        value = torch.tanh(model.values.weight @ features + model.values.bias)
        gate = model.gates.weight @ features + model.gates.bias
        gated = value / (1 + torch.exp(-gate))
        scores.append((model.scores.weight @ gated + model.scores.bias).item())
        seen.append(features)
    total = sum(math.exp(score) for score in scores)
    pooled = sum(math.exp(s) / total * f for s, f in zip(scores, seen, strict=True))
    return model.head.weight @ pooled + model.head.bias


@pytest.mark.parametrize("count", [1, 3, SLICES])
def test_a_crop_is_graded_by_its_own_slices_alone(
    model: SliceAttention, count: int
) -> None:
    some = crops(count)
    with torch.inference_mode():
        graded = model(some)
    assert graded.shape == (count, CLASSES)
    for crop, outputs in zip(some, graded, strict=True):
        assert torch.allclose(outputs, by_hand(model, crop), atol=1e-4)


def test_the_shares_of_alike_slices_sum_to_one(model: SliceAttention) -> None:
    nn.init.zeros_(model.place)
    alike = crops(2)[:, :1].expand(-1, SLICES, -1, -1)
    with torch.inference_mode():
        one = model.head(model.encoder(alike[:, :1].expand(-1, 3, -1, -1)))
        assert torch.allclose(model(alike), one, atol=1e-4)


def test_the_places_are_learned_and_begin_alike() -> None:
    made = SliceAttention("resnet10t", CLASSES, SLICES, "none")
    assert made.place.requires_grad
    assert made.place.shape == (SLICES, FEATURES)
    assert not made.place.any()

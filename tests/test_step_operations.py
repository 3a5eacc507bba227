"""The operations of a training step against published figures and a real network."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.models.view_attention import ViewAttention
from src.training.step_operations import count_all, count_operations


@pytest.mark.parametrize(
    ("name", "multiply_adds", "parameters"),
    # At 224 px, as torchvision's and timm's tables of weights say.
    [
        ("resnet18", 1.814e9, 11.69e6),
        ("mnasnet1_0", 0.314e9, 4.38e6),
        ("tf_efficientnet_lite0", 0.40e9, 4.65e6),
    ],
)
def test_a_step_is_three_passes_of_the_published_size(
    name: str, multiply_adds: float, parameters: float
) -> None:
    found = count_operations("condition", name, [3], 224)
    assert found["flops"] == pytest.approx(3 * 2 * multiply_adds, rel=0.05)
    assert found["parameters"] < parameters  # the head of 1,000 classes is gone


def test_a_graders_operations_are_those_of_the_network_that_is_trained() -> None:
    model = ViewAttention("resnet10t", 3, 3, 3, "none", channels=3).train()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():  # on pixels, and with every view
        model(torch.rand(1, 3, 3, 32, 32).repeat(2, 1, 1, 1, 1))
    found = count_operations("severity", "resnet10t", [3, 3], 32)
    assert found["flops"] == pytest.approx(3 * counter.get_total_flops() / 2, rel=1e-6)


def test_a_site_takes_about_three_times_an_image() -> None:
    given = {"task": "severity", "backbones": ["resnet18"], "px": 100}
    site, image = (
        count_all(channels=channels, **given)["resnet18"]["flops"]
        for channels in ([3, 3], [3])
    )
    assert site / image == pytest.approx(3, rel=0.05)

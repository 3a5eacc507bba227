"""A training step's memory: the sizes it is estimated from, and what fits."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from src.kaggle import step_memory
from src.kaggle.run_plan import CHANNELS, CROP_PX, ON_CPU, ON_GPU, SERIES_PX, VIEWS
from src.kaggle.step_memory import (
    CLASSIFIERS,
    LOCATORS,
    PAPER,
    parts_that_fit,
    step_gb,
)
from src.machine import Gpu, Machine
from src.models.backbones import PAPER_BACKBONES, build
from src.models.heatmap_fpn import build_heatmap_fpn
from src.models.view_attention import ViewAttention

CPU = Machine("Linux", "a CPU", 16, 64.0, 500.0, ())


def kept_mb(model: nn.Module, images: int, px: int, *channels: int) -> float:
    """Count what autograd saves of a forward pass in bfloat16, in MB."""
    kept: dict[int, torch.UntypedStorage] = {}
    own = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    given = torch.randn(images, *(channels or (3,)), px, px)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        outputs = model.train()(given)
    del outputs
    return sum(storage.nbytes() for storage in kept.values()) / 1e6


def assert_size(model: nn.Module, size: step_memory.Size, px: int) -> None:
    parameters = sum(each.numel() for each in model.parameters())
    assert size.parameters_m == pytest.approx(parameters / 1e6, rel=0.03)
    an_image = (kept_mb(model, 4, px) - kept_mb(model, 2, px)) / 2
    assert size.image_mb == pytest.approx(an_image, rel=0.05)


LARGE = {"vgg11", "vgg16"}  # whose many weights take long to draw


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in sorted(CLASSIFIERS)
    ],
)
def test_a_classifiers_size_is_what_autograd_keeps(name: str) -> None:
    assert_size(build(name, 5), CLASSIFIERS[name], CROP_PX)


@pytest.mark.parametrize("name", sorted(LOCATORS))
def test_a_locators_size_is_what_autograd_keeps(name: str) -> None:
    assert_size(build_heatmap_fpn(name, 5), LOCATORS[name], SERIES_PX)


@pytest.mark.parametrize("name", sorted({*ON_GPU["severity"], *ON_CPU["severity"]}))
def test_a_site_of_all_views_is_as_large_as_its_images(name: str) -> None:
    model = ViewAttention(name, 3, VIEWS, CHANNELS, "none", CHANNELS)
    kept = [kept_mb(model, sites, CROP_PX, VIEWS, CHANNELS) for sites in (1, 2)]
    expected = VIEWS * CLASSIFIERS[name].image_mb
    assert kept[1] - kept[0] == pytest.approx(expected, rel=0.06)


def test_every_planned_network_has_a_size() -> None:
    assert PAPER == PAPER_BACKBONES
    for planned in (ON_GPU, ON_CPU):
        for task, names in planned.items():
            assert step_gb(task, names, 8, gpu=True) > 0


def test_a_step_needs_weights_images_and_the_libraries() -> None:
    # 11.2 M x 16 bytes, 1.5 x 100 x 2.5 MB, and 1.5 GB; on a CPU float32 counts.
    assert step_gb("severity", ["resnet18"], 100, gpu=True) == pytest.approx(2.0542)
    assert step_gb("severity", ["resnet18"], 100, gpu=False) == pytest.approx(2.4292)
    both = ["resnet10t", "resnet18"]
    assert step_gb("severity", both, 100, gpu=True) == pytest.approx(2.0542)


@pytest.mark.parametrize(
    ("size", "memory", "parts"),
    [(100, 2.1, 1), (100, 2.0, 2), (100, 1.75, 6), (100, 1.0, 50), (3, 1.0, 1)],
)
def test_a_batch_comes_in_as_few_parts_as_fit(
    size: int, memory: float, parts: int
) -> None:
    # Of 100 images room is left for 100, 85, 18 and none.
    gpu = Gpu("0", "a GPU", memory)
    machine = replace(CPU, gpus=(gpu, gpu._replace(memory_gb=80.0)))
    assert parts_that_fit("severity", ["resnet18"], size, machine) == parts


def test_a_site_counts_with_all_its_images() -> None:
    # Room for 85 images, or 5 sites of 15.
    machine = replace(CPU, gpus=(Gpu("0", "a GPU", 2.0),))
    assert parts_that_fit("severity", ["resnet18"], 40, machine, images_each=15) == 8
    assert parts_that_fit("severity", ["resnet18"], 40, machine) == 1

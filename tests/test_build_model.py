"""The network of a run is what its description says, weights included."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_condition_runs import run_config
from safetensors.torch import save_file

from src.competition.constants import TARGETS
from src.models.backbones import build, build_encoder
from src.models.heatmap_fpn import HeatmapFPN
from src.models.slice_attention import SliceAttention
from src.training.config import RunConfig
from src.training.run_folder import build_model

CROP = {"crop_px": 32, "field_mm": 50.0, "slices": 5}
CONFIG = run_config(backbone="resnet10t", crop=CROP)
LOCATION = replace(CONFIG, task="location", labels=list(TARGETS))
ATTENTION = replace(CONFIG, slices="attention", labels=["a", "b", "c"])


def outputs(config: RunConfig, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return build_model(config).eval()(images)


def test_a_network_has_an_output_a_label() -> None:
    assert outputs(CONFIG, torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    two = replace(CONFIG, labels=["a", "b"])
    assert outputs(two, torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert outputs(LOCATION, torch.zeros(1, 3, 64, 64)).shape[:2] == (1, len(TARGETS))


def test_attention_looks_at_as_many_slices_as_were_cut() -> None:
    model = build_model(ATTENTION)
    assert isinstance(model, SliceAttention)
    assert len(model.place) == 5
    assert outputs(ATTENTION, torch.zeros(2, 5, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize("config", [CONFIG, ATTENTION, LOCATION])
def test_a_network_begins_from_the_weights_it_is_given(
    config: RunConfig, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    locating = config.task == "location"
    source = build_encoder("resnet10t") if locating else build("resnet10t", 9)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    first = source.conv1[0].weight
    loaded = build_model(config, str(tmp_path / "w.safetensors"))
    encoder = loaded if config is CONFIG else loaded.encoder
    assert torch.equal(encoder.conv1[0].weight, first)
    plain = build_model(config)
    encoder = plain if config is CONFIG else plain.encoder
    assert not torch.equal(encoder.conv1[0].weight, first)


def test_a_locator_goes_on_from_another_locators_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = HeatmapFPN("resnet10t", len(TARGETS))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = build_model(LOCATION, str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded.head.weight, source.head.weight)
    assert torch.equal(loaded.encoder.conv1[0].weight, source.encoder.conv1[0].weight)

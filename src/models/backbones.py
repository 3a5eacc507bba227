"""Backbones by name: torchvision's where it has one, as in the paper, else timm's."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torchvision.models import get_model, list_models

from src.errors import UserError
from src.models.weights_file import read_state

CHANNELS = 3  # that ImageNet's backbones take
MAX_HEAD = 2.0  # times the standard deviation of nn.Linear's weights, in a new head
# Of wrappers around a network: DataParallel's, torch.compile's and common trainers'.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
WITH_AUXILIARY_HEAD = ("googlenet", "inception_v3")  # a second output in training
PAPER_BACKBONES = (
    *("vgg11", "vgg16", "mnasnet0_75", "mnasnet1_0"),
    *("resnet101", "resnet152"),
)


def build(name: str, classes: int, weights: str = "none") -> nn.Module:
    """Build a backbone with a head of `classes` outputs.

    weights: `none` (random), `imagenet` (fetched by torchvision or timm) or the path
    of a state dict (.safetensors or .pth); a head of another size stays random.
    Raises UserError for an unknown name, or weights that cannot be had or do not fit.
    """
    model = _create(name, classes)
    _tame_head(model, classes)
    if weights != "none":
        load_matching_weights(model, *_published(name, weights, _imagenet))
    return model


def _tame_head(model: nn.Module, outputs: int) -> None:
    """Draw a head of large weights again, as nn.Linear does: by its inputs.

    MNASNet and timm's EfficientNets draw it by its outputs, which suits ImageNet's
    1,000. For three their weights are 36 and 20 times nn.Linear's, and no training of
    some dozen steps undoes that: on 24 real patients logits reached 40.
    """
    linear = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    heads = [layer for layer in linear if layer.out_features == outputs]
    for head in heads[-1:]:
        usual = 1 / math.sqrt(3 * head.in_features)
        if head.weight.std() > MAX_HEAD * usual:
            head.reset_parameters()


def build_grey(name: str, classes: int, weights: str = "none") -> nn.Module:
    """Build a backbone for images of one channel: [n, 1, px, px].

    Its first convolution's weights are summed over the colours, so that it computes
    what `build`'s does of three equal ones. Raises UserError also for a backbone
    without such a convolution.
    """
    model = build(name, classes, weights)
    for stem in model.modules():
        if isinstance(stem, nn.Conv2d) and stem.in_channels == CHANNELS:
            summed = stem.weight.detach().sum(dim=1, keepdim=True)
            stem.weight, stem.in_channels = nn.Parameter(summed), 1
            return model
    raise UserError(
        f"Backbone {name} has no first convolution of {CHANNELS} colours, which "
        f"--views all needs: take another, as {', '.join(PAPER_BACKBONES[:3])}"
    )


def build_encoder(name: str, weights: str = "none") -> nn.Module:
    """Build a timm backbone that returns its maps at every scale, finest first.

    weights: as `build` takes them. Raises UserError also where timm has no such
    backbone, or none that gives its maps.
    """
    try:
        if not timm.is_model(name):  # nor an address of a model on the web
            raise ValueError(name)
        model = timm.create_model(name, features_only=True)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise UserError(
            f"timm has no backbone {name!r} that gives maps at every scale, which a "
            "locator is built on: take resnet18, or one of timm.list_models()"
        ) from error
    if weights != "none":
        load_matching_weights(model, *_published(name, weights, _imagenet_timm))
    return model


TRIED_PX = (64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)


def check_input_px(
    model: nn.Module, name: str, outputs: int, channels: tuple[int, ...], px: int
) -> None:
    """Raise UserError unless a new network scores images of px x px, one row each.

    channels: the axes before those of an image's sides.
    """
    if (error := _error_at(model, outputs, channels, px)) is None:
        return
    fitting = (
        tried
        for tried in (_published_px(model), *TRIED_PX)
        if tried != px and _error_at(model, outputs, channels, tried) is None
    )
    if (good := next(fitting, None)) is None:
        raise UserError(
            f"Backbone {name} cannot be trained here ({error}): take another, as "
            f"{', '.join(PAPER_BACKBONES[:3])}"
        )
    raise UserError(
        f"Backbone {name} cannot take images of {px} px ({error}): pass --input-px "
        f"{good}"
    )


def _published_px(model: nn.Module) -> int:
    """Return the side that a timm network was made for."""
    published = getattr(model, "pretrained_cfg", None) or {}
    return int(published.get("input_size", (CHANNELS, 224, 224))[-1])


@torch.inference_mode()
def _error_at(
    model: nn.Module, outputs: int, channels: tuple[int, ...], px: int
) -> str | None:
    """Say in a few words why a network does not score black images of px x px."""
    model.eval()
    try:
        scores = model(torch.zeros(2, *channels, px, px))
    except Exception as error:  # a network may refuse a size by any
        words = " ".join(str(error).split())
        return words[:80].rstrip(" .:") or type(error).__name__
    if not isinstance(scores, torch.Tensor):
        return "it has several outputs"
    shape = tuple(scores.shape[:2])
    return None if shape == (2, outputs) else f"it gives outputs {shape}"


def encoder_channels(encoder: nn.Module) -> list[int]:
    """Return the channels of each map of build_encoder's, finest first."""
    info: Any = encoder.feature_info  # timm's, which has no types
    return list(info.channels())


def check_names(names: list[str]) -> list[str]:
    """Spell `paper` out as the six, and refuse a name that nobody knows."""
    spelt = [
        one
        for name in names
        for one in (PAPER_BACKBONES if name == "paper" else [name])
    ]
    for name in spelt:
        if not (_in_torchvision(name) or timm.is_model(name)):
            raise UserError(
                f"Backbone {name!r} is known to neither torchvision nor timm: take one "
                f"of {', '.join(PAPER_BACKBONES)}, or a name from timm.list_models()"
            )
    return list(dict.fromkeys(spelt))


def _in_torchvision(name: str) -> bool:
    return name in list_models(module=_classifiers())


def _classifiers() -> object:
    import torchvision.models

    return torchvision.models


def _create(name: str, classes: int) -> nn.Module:
    check_names([name])
    if name in WITH_AUXILIARY_HEAD:
        return get_model(name, num_classes=classes, aux_logits=False, init_weights=True)
    if _in_torchvision(name):
        return get_model(name, num_classes=classes)
    return timm.create_model(name, num_classes=classes)


def _published(
    name: str, weights: str, fetch: Callable[[str], nn.Module]
) -> tuple[dict[str, torch.Tensor], str]:
    """Read or fetch weights, and name their source.

    torchvision and timm keep what they fetch for the next time.
    """
    if weights != "imagenet":
        return read_state(Path(weights)), weights
    try:
        return fetch(name).state_dict(), "ImageNet's"
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"ImageNet weights of {name} could not be fetched "
            f"({type(error).__name__}): connect to the network, or pass --weights none "
            "or --weights FILE"
        ) from error


def _imagenet(name: str) -> nn.Module:
    if _in_torchvision(name):
        return get_model(name, weights="IMAGENET1K_V1")
    return _imagenet_timm(name)


def _imagenet_timm(name: str) -> nn.Module:
    return timm.create_model(name, pretrained=True)


def load_matching_weights(
    model: nn.Module, state: dict[str, torch.Tensor], source: str
) -> None:
    """Load all tensors that fit, by name or else by order: all but a new head.

    Names may begin with what a wrapper put before them, as `module.` or `backbone.`.
    """
    own = model.state_dict()
    in_order = dict(zip(_measured(own), _measured(state).values(), strict=False))
    for candidates in (*_without_prefixes(state), in_order):
        fitting = {
            name: value
            for name, value in candidates.items()
            if name in own and own[name].shape == value.shape
        }
        if len(fitting) >= 0.9 * len(_measured(own)):
            load_state(model, {**own, **fitting})
            return
    raise UserError(
        f"{source} weights do not fit the backbone's {len(own)} tensors, by name or by "
        "order: give the weights of the same backbone"
    )


def _without_prefixes(
    state: dict[str, torch.Tensor],
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield a state dict, and it without each wrapper that some names begin with."""
    yield state
    for prefix in PREFIXES:
        inner = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        if inner:
            yield from _without_prefixes(inner)


def _measured(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Drop the counters that some frameworks store beside the tensors."""
    return {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}


def load_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load a whole state dict by name.

    By way of the model's own, which carries the versions that MNASNet asks for and a
    file of tensors has no room for.
    """
    own = model.state_dict()
    if own.keys() != state.keys():
        raise UserError(
            f"The weights hold {len(state)} tensors under other names than the "
            f"backbone's {len(own)}: give the weights of the same backbone"
        )
    own.update(state)
    model.load_state_dict(own)

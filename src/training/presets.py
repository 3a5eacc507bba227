"""A training recipe's flags, and presets of their values in TOML.

optimizer = "adam"        # for every backbone
[vgg11]                   # and for one
batch-size = 64
"""

import argparse
import tomllib
from pathlib import Path
from typing import Any

from src.command_line import (
    bounded_float,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
)
from src.errors import UserError
from src.training.config import (
    BN_STATS,
    MAX_AUGMENT,
    MAX_EMA,
    MAX_MIXUP,
    SCHEDULES,
    SELECTIONS,
    SLICES,
    VIEWS,
    Hyperparameters,
)
from src.training.selection import SMALL_VALIDATION


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that a preset may set; their defaults are Hyperparameters'."""
    _add_image_flags(parser)
    own = Hyperparameters()
    add = parser.add_argument_group("how to train it").add_argument
    add("--weights", default="none", help="none, imagenet, or a state dict's path")
    choices = ["adam", "adamw", "rmsprop", "sgd"]
    add("--optimizer", choices=choices, default=own.optimizer, help="optimizer")
    text = f"learning rate; if not given, {own.lr:g}, or 1e-4 for crops from "
    text += "pretrained weights"
    add("--lr", type=positive_float, default=None, metavar="F", help=text)
    decay = own.weight_decay
    add("--weight-decay", type=non_negative_float, default=decay, help="weight decay")
    text = "learning rate: linear warmup and half a cosine over --epochs, or constant"
    add("--schedule", choices=list(SCHEDULES), default=own.schedule, help=text)
    add("--epochs", type=positive_int, default=own.epochs, help="maximum epochs")
    text = "early stopping: epochs without a better validation loss, then the best "
    text += "weights are kept; 0: train all and keep the last, for a small validation"
    add("--patience", type=non_negative_int, default=own.patience, help=text)
    text = "crops a step, over all processes"
    add("--batch-size", type=positive_int, default=own.batch_size, help=text)
    text = "side in px to which images are scaled for the backbone, 0 for no scaling; "
    text += "if not given, 160 for location, else 0"
    add("--input-px", type=non_negative_int, default=None, help=text)
    text = f"strength of augmentation, flips included: 0 for none, to {MAX_AUGMENT:g}"
    strength = bounded_float(0.0, MAX_AUGMENT)
    add("--augment", type=strength, default=own.augment, help=text)
    text = "recompute batch-norm statistics before validation; auto: where their "
    text += "momentum is small"
    add("--bn-stats", choices=list(BN_STATS), default=own.bn_stats, help=text)
    add("--seed", type=non_negative_int, default=own.seed, help="random seed")
    text = "gradient accumulation: parts of a batch that pass through the network one "
    text += "after another, for a GPU too small for --batch-size; the gradient is the "
    text += "whole batch's, but batch norm sees a part at a time"
    accumulate = own.accumulate
    add("--accumulate", type=positive_int, default=accumulate, metavar="N", help=text)
    text = "batch norm over the crops of all GPUs instead of each GPU's own; slower"
    switch = argparse.BooleanOptionalAction
    add("--sync-bn", action=switch, default=own.sync_bn, help=text)
    text = "epoch whose weights are kept: of the least validation loss, of the least "
    text += "mean over three epochs, or the last of all; auto: smoothed, but last "
    text += f"where fewer than {SMALL_VALIDATION} studies validate"
    add("--select", choices=list(SELECTIONS), default=own.select, help=text)
    text = "moving average of the weights, which is validated and kept: its decay a "
    text += "step, as .999; 0 for none"
    decay_bound = bounded_float(0.0, MAX_EMA)
    add("--ema", type=decay_bound, default=own.ema, metavar="F", help=text)
    text = "mixup of each batch's crops and labels: alpha of the Beta distribution of "
    text += "the shares, as .2; 0 for none"
    alpha = bounded_float(0.0, MAX_MIXUP)
    add("--mixup", type=alpha, default=own.mixup, metavar="F", help=text)
    text = "for noisy labels of condition and severity: share in a training label of "
    text += "the answer of a network trained on the other half of the training studies"
    text += ", as .5; takes about twice the time; 0 for none"
    share = bounded_float(0.0, 1.0)
    add("--soften", type=share, default=own.soften, metavar="F", help=text)


def _add_image_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for what a network sees of a site."""
    add = parser.add_argument_group("what it sees of a site").add_argument
    text = "the channels: slice before, labelled, after; three times the labelled; or "
    text += "all that were cut, each an image, with attention over them; auto: "
    text += "neighbours"
    add("--slices", choices=["auto", *SLICES], default="auto", help=text)
    text = "own: a severity network sees the marked view of a site; all: every series "
    text += "type that shows it, with attention over them, in a cache of input_prep.py "
    text += "--views all"
    add("--views", choices=list(VIEWS), default=VIEWS[0], help=text)


def read_preset(path: Path, backbones: set[str]) -> dict[str, Any]:
    """Read a preset: values by flag, and a table of such by backbone.

    Each value passes through its flag's own type, choices and bounds. backbones: the
    names that may have a table. Raises UserError for anything else.
    """
    try:
        preset = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is no TOML: {error}") from error
    tables = {name: value for name, value in preset.items() if isinstance(value, dict)}
    if unknown := sorted(set(tables) - backbones):
        raise UserError(
            f"{path} has a table [{unknown[0]}], which is none of the backbones "
            f"{', '.join(sorted(backbones))}"
        )
    shared = {name: value for name, value in preset.items() if name not in tables}
    checked = {name: _checked(path, table) for name, table in tables.items()}
    return _checked(path, shared) | checked


def values_for(preset: dict[str, Any], backbone: str) -> dict[str, Any]:
    """Return one backbone's values by Python name; its own table overrides the rest."""
    shared = {k: v for k, v in preset.items() if not isinstance(v, dict)}
    chosen = shared | preset.get(backbone, {})
    return {name.replace("-", "_"): value for name, value in chosen.items()}


def _checked(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Pass values through their flags. Raises UserError for what a flag refuses."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    add_recipe_flags(parser)
    defaults = vars(parser.parse_args([]))
    flags = {name.replace("_", "-"): default for name, default in defaults.items()}
    if unknown := sorted(set(values) - set(flags)):
        raise UserError(
            f"{path} sets {unknown[0]!r}, which is no setting: use one of "
            f"{', '.join(sorted(flags))}"
        )
    out: dict[str, Any] = {}
    for name, value in values.items():
        expected = _kind(flags[name])
        if _kind(value) != expected:
            raise UserError(f"{path} sets {name} = {_toml(value)}: write {expected}")
        if isinstance(value, bool):
            out[name] = value
            continue
        try:
            parsed = parser.parse_args([f"--{name}={value}"])
        except argparse.ArgumentError as error:
            raise UserError(
                f"{path} sets {name} = {_toml(value)}: {error.message}"
            ) from error
        out[name] = getattr(parsed, name.replace("-", "_"))
    return out


def _kind(value: Any) -> str:
    """Say how a value of this kind is written in TOML."""
    if isinstance(value, bool):
        return "true or false without quotes"
    return "text in quotes" if isinstance(value, str) else "a number without quotes"


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)

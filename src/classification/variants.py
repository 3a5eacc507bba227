"""Variants: how a backbone was trained, and a name for each."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from src.imaging.crops import CropSpec
from src.metrics_schema import Setting, Variant
from src.training.config import RunConfig

# Fields of a run's config that runs are pooled over, or that follow from the rest.
NOT_A_VARIANT = {
    "task",
    "fold",
    "labels",
    "cache_fingerprint",
    "prior",
}


@dataclass(frozen=True)
class _Setup:
    """A run's variant; flags: the config's other fields that make one, by name."""

    backbone: str
    split: str
    slices: str
    flags: dict[str, Setting]
    crop: str
    hyperparameters: dict[str, Setting]

    @property
    def recipe(self) -> dict[str, Setting]:
        return {**self.flags, **self.hyperparameters}

    @property
    def settings(self) -> dict[str, Setting]:
        """What variants of one split and slices may differ by, in order."""
        return {**self.flags, "crop": self.crop, **self.hyperparameters}


def name_variants(configs: Sequence[RunConfig]) -> list[tuple[str, Variant]]:
    """Name each run's variant, in the order of the runs' configs.

    The backbone's name alone is its standard variant: study split, neighbouring slices.
    Other variants are described in brackets.
    """
    setups = [_setup(config) for config in configs]
    return [
        _name(setup, [other for other in setups if other.backbone == setup.backbone])
        for setup in setups
    ]


def _setup(config: RunConfig) -> _Setup:
    own = {"backbone", "split", "slices", "crop", "hyperparameters", "site_errors"}
    flags = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in own | NOT_A_VARIANT
    }
    flags["jitter"] = _jitter(config)
    hyperparameters = asdict(config.hyperparameters)
    del hyperparameters["seed"]
    crop = str(CropSpec(**config.crop))
    top = (config.backbone, config.split, config.slices)
    return _Setup(*top, flags, crop, hyperparameters)


def _jitter(config: RunConfig) -> str:
    """Say by which errors a run's crops are jittered, as train.py's --jitter."""
    if config.site_errors is None:
        return "default"
    return "measured" if config.site_errors else "none"


def _name(setup: _Setup, others: Sequence[_Setup]) -> tuple[str, Variant]:
    """Name one of a backbone's variants; `others` are all of them, this one too."""
    differs_by = ", ".join(
        _in_words(key, value)
        for key, value in setup.settings.items()
        if any(other.settings[key] != value for other in others)
    )
    parts = filter(None, (setup.split, setup.slices, differs_by))
    standard = min(others, key=lambda other: _sort_key(other, others.count(other)))
    suffix = "" if setup == standard else f" ({', '.join(parts)})"
    variant: Variant = {
        "backbone": setup.backbone,
        "split": setup.split,
        "slices": setup.slices,
        "crop": setup.crop,
        "recipe": setup.recipe,
        "differs_by": differs_by,
    }
    return setup.backbone + suffix, variant


def _in_words(key: str, value: Setting) -> str:
    """Describe a difference: the crop as it is, a file of weights by its name."""
    return str(value) if key == "crop" else f"{key} {Path(str(value)).name}"


def _sort_key(
    setup: _Setup, runs: int
) -> tuple[bool, bool, bool, bool, bool, int, str]:
    """Sort the standard variant first: study split, neighbouring slices, most runs."""
    return (
        setup.split != "study",
        setup.slices != "neighbours",
        setup.flags["views"] != "own",
        "native" in setup.crop,
        setup.flags["limit"] is not None,
        -runs,
        json.dumps({"slices": setup.slices, **setup.settings}, sort_keys=True),
    )

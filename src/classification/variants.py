"""Variants: how a backbone was trained, and a name for each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.imaging.crops import CropSpec

# Keys of a run's description that runs are pooled over, or that follow from the rest.
NOT_A_VARIANT = {
    "task",
    "fold",
    "labels",
    "hyperparameters",
    "crop",
    "cache_fingerprint",
    "prior",
}
Description = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """How runs were trained, apart from their fold and seed.

    crop: in words; recipe: pretrained weights, limit and hyperparameters; differs_by:
    in words, differences from the backbone's other variants, but split and slices.
    """

    backbone: str
    split: str
    slices: str
    crop: str
    recipe: dict[str, Any]
    differs_by: str


def name_variants(descriptions: list[Description]) -> list[tuple[str, Variant]]:
    """Name each run's variant, in the order of the runs' descriptions.

    The backbone's name alone is its standard variant: study split, neighbouring slices.
    Other variants are described in brackets.
    """
    flat = [_flat(description) for description in descriptions]
    return [
        _name(variant, [other for other in flat if _same(variant, other, "backbone")])
        for variant in flat
    ]


def _name(variant: Description, others: list[Description]) -> tuple[str, Variant]:
    """Name one of a backbone's variants; `others` are all of them, this one too."""
    keys = dict.fromkeys(key for other in others for key in other)
    always = ("split", "slices")
    differing = [
        key for key in keys if not all(_same(variant, other, key) for other in others)
    ]
    differs_by = ", ".join(
        _in_words(key, variant.get(key)) for key in differing if key not in always
    )
    parts = filter(None, (variant["split"], variant["slices"], differs_by))
    standard = min(others, key=lambda other: _sort_key(other, others.count(other)))
    suffix = "" if variant == standard else f" ({', '.join(parts)})"
    top = {key: variant[key] for key in ("backbone", "split", "slices", "crop")}
    recipe = {key: value for key, value in variant.items() if key not in top}
    named = Variant(**top, recipe=recipe, differs_by=differs_by)
    return variant["backbone"] + suffix, named


def _flat(description: Description) -> Description:
    """Flatten a run's variant: flags, crop, and hyperparameters except the seed."""
    flags = {
        key: value for key, value in description.items() if key not in NOT_A_VARIANT
    }
    hyperparameters = {
        key: value
        for key, value in description["hyperparameters"].items()
        if key != "seed"
    }
    return {**flags, "crop": str(CropSpec(**description["crop"])), **hyperparameters}


def _same(variant: Description, other: Description, key: str) -> bool:
    return variant.get(key) == other.get(key)


def _in_words(key: str, value: Any) -> str:
    """Describe a difference: the crop as it is, a file of weights by its name."""
    return str(value) if key == "crop" else f"{key} {Path(str(value)).name}"


def _sort_key(variant: Description, runs: int) -> tuple[Any, ...]:
    """Sort the standard variant first: study split, neighbouring slices, most runs."""
    return (
        variant["split"] != "study",
        variant["slices"] != "neighbours",
        "native" in variant["crop"],
        variant["limit"] is not None,
        -runs,
        json.dumps(variant, sort_keys=True),
    )

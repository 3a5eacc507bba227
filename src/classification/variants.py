"""In which ways a backbone was trained, and a name for each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.imaging.crops import CropSpec

# Of a run's description: what pooling goes across, or what follows from the rest.
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
    """How runs were trained, whatever their fold and seed.

    crop: in words; recipe: weights, limit and settings; apart: in words, what tells it
    from the backbone's other ways beside split and slices.
    """

    backbone: str
    split: str
    slices: str
    crop: str
    recipe: dict[str, Any]
    differs_by: str


def name_variants(descriptions: list[Description]) -> list[tuple[str, Variant]]:
    """Name each run's way, in the order of the runs' descriptions.

    A backbone's name alone is its most usual way: study split, neighbouring slices.
    Any other way of it says in brackets what it is.
    """
    flat = [_flat(description) for description in descriptions]
    return [_named(way, [w for w in flat if _same(way, w, "backbone")]) for way in flat]


def _named(way: Description, others: list[Description]) -> tuple[str, Variant]:
    """Name one of a backbone's ways; `others` are all of them, this one too."""
    keys = dict.fromkeys(key for other in others for key in other)
    told = ("split", "slices")
    differing = [k for k in keys if not all(_same(way, other, k) for other in others)]
    apart = ", ".join(_in_words(k, way.get(k)) for k in differing if k not in told)
    bracket = ", ".join(filter(None, (way["split"], way["slices"], apart)))
    first = min(others, key=lambda other: _unusual(other, others.count(other)))
    name = way["backbone"] if way == first else f"{way['backbone']} ({bracket})"
    top = {key: way[key] for key in ("backbone", "split", "slices", "crop")}
    recipe = {key: value for key, value in way.items() if key not in top}
    return name, Variant(**top, recipe=recipe, differs_by=apart)


def _flat(description: Description) -> Description:
    """Put a run's way on one level: its flags, its settings but the seed, its crop."""
    way = {key: value for key, value in description.items() if key not in NOT_A_VARIANT}
    hyperparameters = {
        k: v for k, v in description["hyperparameters"].items() if k != "seed"
    }
    return {**way, "crop": str(CropSpec(**description["crop"])), **hyperparameters}


def _same(way: Description, other: Description, key: str) -> bool:
    return way.get(key) == other.get(key)


def _in_words(key: str, value: Any) -> str:
    """Say what tells a way apart: the crop by itself, a file of weights by its name."""
    return str(value) if key == "crop" else f"{key} {Path(str(value)).name}"


def _unusual(way: Description, runs: int) -> tuple[Any, ...]:
    """Sort the usual way first: honest split, neighbours seen, most runs."""
    return (
        way["split"] != "study",
        way["slices"] != "neighbours",
        "native" in way["crop"],
        way["limit"] is not None,
        -runs,
        json.dumps(way, sort_keys=True),
    )

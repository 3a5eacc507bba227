"""The fingerprint of a cache's inputs, so that other crops never land in it."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from src.errors import UserError
from src.imaging.crops import CropSpec
from src.json_object import read_object

# Raise it when the same tables and files would give other crops.
CUT_VERSION = 3
KEY_PARTS = ("cut_version", "crop", "views", "sites", "points", "labels", "series")
ADDED_LATER = {"views": "own", "sites": "marked"}  # what older caches are, unsaid
Views = Literal["own", "all"]
Sites = Literal["marked", "found"]
IN_WORDS: dict[Views | Sites, str] = {
    "own": "crops of the sites' own series alone",
    "all": "crops of all views of the sites",
    "marked": "crops at the marked points",
    "found": "crops at the found sites of --sites",
}
PARTS = "parts"  # suffix of the folders of shards

Fingerprint = dict[str, Any]


def crop_fingerprint(
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    spec: CropSpec,
    views: Views = "own",
    sites: Sites = "marked",
) -> Fingerprint:
    """Describe a cache by its crop's size, its views and the SHA-256 of each table.

    sites: what the points are.
    """
    hashes = {"points": points, "labels": labels, "series": series}
    return {
        "cut_version": CUT_VERSION,
        "crop": asdict(spec),
        "views": views,
        "sites": sites,
        **{name: table_hash(frame) for name, frame in hashes.items()},
    }


def table_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's text, independent of the order of its rows."""
    ordered = frame.sort_values(list(frame.columns))
    text = ordered.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def read_fingerprint(path: Path) -> Fingerprint:
    """Read a crop cache's key file: KEY_PARTS and all that is stored beside them."""
    required = [part for part in KEY_PARTS if part not in ADDED_LATER]
    stored = {**ADDED_LATER, **read_key(path, required)}
    try:
        CropSpec(**stored["crop"])
    except TypeError as error:
        raise UserError(
            f"{path} is damaged: it has no size of its crops; delete it and run "
            "input_prep.py again."
        ) from error
    return stored


def read_key(path: Path, required: Sequence[str]) -> Fingerprint:
    """Read a cache's key file; raises UserError if it lacks a required part."""
    # Shards without their key could be another cache's, so they go with it.
    delete = path.parent if path.parent.name.endswith(PARTS) else path
    remedy = f"delete {delete} and run input_prep.py again"
    stored = read_object(path, remedy)
    if absent := [part for part in required if part not in stored]:
        raise UserError(f"{path} is damaged: it has no {absent[0]!r}; {remedy}.")
    return stored


def require_same_fingerprint(
    found: Fingerprint, requested: Fingerprint, cache: Path
) -> None:
    """Raise UserError, naming both, if a cache was made for other crops."""
    if different := [part for part in KEY_PARTS if found[part] != requested[part]]:
        raise UserError(
            f"{cache} holds {_in_words(found, different)}, not the requested "
            f"{_in_words(requested, different)}; delete it or choose another --cache."
        )


def _in_words(key: Fingerprint, parts: list[str]) -> str:
    """Describe the differing parts of a key: the size, or tables by their hashes."""
    if "crop" in parts:
        return f"crops of {CropSpec(**key['crop'])}"
    if "cut_version" in parts:
        return f"crops cut by version {key['cut_version']} of the code"
    for part in ADDED_LATER:
        if part in parts:
            return IN_WORDS.get(key[part], f"crops of {part} {key[part]!r}")
    return "crops of " + ", ".join(f"{part} table {key[part][:8]}" for part in parts)

"""What a cache was made from, so that other crops never land in it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from src.errors import UserError
from src.imaging.crops import CropSpec

# Raise it when the same tables and files would give other crops.
CUT_VERSION = 1
KEY_PARTS = ("cut_version", "crop", "points", "labels", "series")

Fingerprint = dict[str, Any]


def crop_fingerprint(
    points: pd.DataFrame, labels: pd.DataFrame, series: pd.DataFrame, spec: CropSpec
) -> Fingerprint:
    """Describe a cache by its crop's size and the SHA-256 of each table."""
    hashes = {"points": points, "labels": labels, "series": series}
    return {
        "cut_version": CUT_VERSION,
        "crop": asdict(spec),
        **{name: table_hash(frame) for name, frame in hashes.items()},
    }


def table_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's text, whatever the order of its rows."""
    ordered = frame.sort_values(list(frame.columns))
    text = ordered.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def read_fingerprint(path: Path) -> Fingerprint:
    """Read the key at `path`, with whatever else is noted beside it."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        CropSpec(**noted["crop"])
        return {**noted, **{part: noted[part] for part in KEY_PARTS}}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; delete {path.parent}.") from error


def require_same_fingerprint(
    found: Fingerprint, asked: Fingerprint, cache: Path
) -> None:
    """Raise UserError, telling both, if a cache was made for something else."""
    if different := [part for part in KEY_PARTS if found[part] != asked[part]]:
        raise UserError(
            f"{cache} holds {_in_words(found, different)}, and asked for are "
            f"{_in_words(asked, different)}; delete it or choose another --cache."
        )


def _in_words(key: Fingerprint, parts: list[str]) -> str:
    """Say what tells one key from another: the size, or tables by their hashes."""
    if "crop" in parts:
        return f"crops of {CropSpec(**key['crop'])}"
    if "cut_version" in parts:
        return f"crops cut by version {key['cut_version']} of the code"
    return "crops of " + ", ".join(f"{part} table {key[part][:8]}" for part in parts)

"""A finished crop cache: a folder that training reads without decoding anything."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from src.cache.fingerprint import CUT_VERSION, PARTS, Fingerprint, read_fingerprint
from src.cache.mapped_array import MappedArray
from src.competition.constants import (
    CONDITIONS,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SEVERITIES,
)
from src.errors import UserError
from src.files import write_csv
from src.imaging.crops import CropSpec

# Written last: a folder without it is no cache.
KEY_FILE = "cache.json"
# The columns that identify a marked site.
SITE = ["study_id", "series_id", "instance_number", "condition", "level"]
CROP_COLUMNS = (
    "crop",
    "site",
    "view",
    "study_id",
    "series_id",
    "instance_number",
    "condition",
    "level",
    "severity",
    "x",
    "y",
    "series_description",
    "slice",
    "x_mm",
    "y_mm",
    "z_mm",
    "note",
)
NUMERIC_COLUMNS = (
    *("crop", "site", *SITE[:3], "x", "y", "slice", "x_mm", "y_mm", "z_mm"),
)
OWN = "own"  # the view of the crop at the marked point; others are series types
VIEWS = (OWN, *SERIES_DESCRIPTIONS)
LABEL_COLUMNS = ["study_id", "condition", "level", "severity"]
REJECT_COLUMNS = (
    "study_id",
    "series_id",
    "instance_number",
    "condition",
    "level",
    "view",
    "reason",
)


@dataclass(frozen=True, eq=False)
class CropCache:
    """An opened cache.

    crops: uint8 [n, slices, px, px], read-only on the disk; table: one row a crop,
    CROP_COLUMNS, a site's views together and the one at its point first; labels,
    series: the competition's tables; fingerprint: the key file, with the counts and,
    unless an older kit wrote it, the kit_version.
    """

    path: Path
    crops: MappedArray
    table: pd.DataFrame
    labels: pd.DataFrame
    series: pd.DataFrame
    spec: CropSpec
    fingerprint: Fingerprint

    @cached_property
    def sites(self) -> pd.DataFrame:
        """The rows of `table` at the marked points, one a site, numbered from 0."""
        own = self.table["view"] == OWN
        return self.table[own].reset_index(drop=True)

    @property
    def has_found_sites(self) -> bool:
        """Whether a locator found the sites, in place of the marked points."""
        return self.fingerprint.get("sites") == "found"


def open_cache(cache: Path) -> CropCache:
    """Open the cache that input_prep.py made; raises UserError if it is not whole."""
    key = _finished_key(cache)
    spec = CropSpec(**key["crop"])
    try:
        crops = MappedArray(cache / "crops.npy")
        table, labels, series = (
            _read_csv(cache / f"{name}.csv") for name in ("crops", "labels", "series")
        )
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(cache) from error
    shape = (len(table), spec.slices, spec.crop_px, spec.crop_px)
    if crops.shape != shape or crops.dtype != np.uint8 or not _are_whole(table, labels):
        raise _damaged(cache)
    return CropCache(cache, crops, table, labels, series, spec, key)


def add_rejects(cache: Path, rejects: pd.DataFrame) -> None:
    """Add points without a crop to a cache's rejects.csv, unless they are there.

    rejects: REJECT_COLUMNS but `view`.
    """
    path = cache / "rejects.csv"
    held = pd.read_csv(path, dtype=dict.fromkeys(SITE[1:3], "Int64"))
    table = pd.concat([held, rejects.assign(view=OWN)]).drop_duplicates()
    write_csv(table[list(REJECT_COLUMNS)], path)


def _finished_key(cache: Path) -> Fingerprint:
    path = cache / KEY_FILE
    if (cache / PARTS).is_dir() and not path.exists():
        raise UserError(f"{cache} is unfinished; run input_prep.py again: it resumes.")
    if not path.exists():
        raise UserError(f"{cache} is no crop cache; make one with input_prep.py.")
    key = read_fingerprint(path)
    if key["cut_version"] != CUT_VERSION:
        raise UserError(
            f"{cache} was cut by version {key['cut_version']} of the code and this is "
            f"version {CUT_VERSION}; delete it and run input_prep.py again."
        )
    return key


def _are_whole(table: pd.DataFrame, labels: pd.DataFrame) -> bool:
    """Return whether the tables have their columns, and nothing unknown in them."""
    if tuple(table.columns) != CROP_COLUMNS or list(labels) != LABEL_COLUMNS:
        return False
    if not table["view"].isin(VIEWS).all():
        return False
    return all(
        held["condition"].isin(CONDITIONS).all()
        and held["level"].isin(LEVELS).all()
        and held["severity"].dropna().isin(SEVERITIES).all()
        for held in (table, labels)
    ) and all(is_numeric_dtype(table[name]) for name in NUMERIC_COLUMNS)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a table; only an empty severity or description counts as missing."""
    missing = {"severity": [""], "series_description": [""]}
    return pd.read_csv(path, keep_default_na=False, na_values=missing)


def _damaged(cache: Path) -> UserError:
    return UserError(f"{cache} is damaged; delete it and run input_prep.py again.")

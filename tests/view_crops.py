"""A small cache of sites with all their views, written by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from fake_condition_runs import CROP, run_config, sites

from src.cache.crop_cache import CROP_COLUMNS, CropCache
from src.cache.mapped_array import MappedArray
from src.competition.constants import SERIES_DESCRIPTIONS, SEVERITIES
from src.imaging.crops import CropSpec
from src.training.config import Hyperparameters, RunConfig

STUDIES = 12
IDS = np.arange(1, STUDIES + 1)
SPLITS = ["train"] * 9 + ["validation", "test", "test"]
FOLDS = pd.DataFrame({"study_id": IDS, "split": SPLITS, "fold": IDS % 5})
SLICES, PX = 5, 16
WITHOUT = {  # the views that a study lacks
    2: {"Axial T2"},
    3: {"Sagittal T1", "Axial T2"},
    11: {"Sagittal T2/STIR"},
}


def view_table() -> pd.DataFrame:
    """List the crops of STUDIES: each site's own, then its other views."""
    marked = sites(STUDIES).assign(
        severity=lambda t: [SEVERITIES[n % 3] for n in range(len(t))]
    )
    rows = []
    for own in marked.to_dict("records"):
        rows.append(own)
        lacking = WITHOUT.get(own["study_id"], set())
        rows += [
            {**own, "view": name, "series_description": name, "series_id": 900 + place}
            for place, name in enumerate(SERIES_DESCRIPTIONS)
            if name not in lacking | {own["series_description"]}
        ]
    table = pd.DataFrame(rows).assign(crop=range(len(rows)))
    return table[list(CROP_COLUMNS)]


def view_cache(folder: Path, pixels: np.ndarray | None = None) -> CropCache:
    """Make the cache of view_table; its crops are random if they are not given."""
    table = view_table()
    rng = np.random.default_rng(0)
    shape = (len(table), SLICES, PX, PX)
    path = folder / "crops.npy"
    np.save(path, rng.integers(0, 255, shape, np.uint8) if pixels is None else pixels)
    spec = CropSpec(**{**CROP, "slices": SLICES, "crop_px": PX})
    return CropCache(folder, MappedArray(path), table, table, table, spec, {})


def views_config(**changes: object) -> RunConfig:
    """Return a severity run of resnet10t that sees all views."""
    crop = {**CROP, "slices": SLICES, "crop_px": PX}
    labels = list(SEVERITIES)
    config = run_config(task="severity", backbone="resnet10t", labels=labels, crop=crop)
    return replace(config, slices="attention", views="all", **changes)


def strength(augment: float, **changes: object) -> Hyperparameters:
    """Return hyperparameters with this augmentation."""
    return Hyperparameters(augment=augment, batch_size=8, epochs=1, **changes)

"""How much of what a run is tested on it has met in training."""

from typing import Any

import pandas as pd

from src.cache.crop_cache import SITE

# What names one of each; an image is an instance of a series.
UNITS = {"studies": SITE[:1], "series": SITE[:2], "images": SITE[:3], "crops": SITE}


def leakage(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Count the test set's studies, series, images and crops, and those also in train.

    train, test: rows of the cache's crops.csv. For each of UNITS: `test` how many there
    are, `also_in_train` how many of these, `share_of_crops` of the test crops that lie
    in such a one. A crop is in train if its very site is. All zero under a study split.
    """
    return {unit: _shared(train[keys], test[keys]) for unit, keys in UNITS.items()}


def _shared(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    seen = set(train.itertuples(index=False, name=None))
    met = [key in seen for key in test.itertuples(index=False, name=None)]
    held = test.assign(met=met).drop_duplicates()
    return {
        "test": len(held),
        "also_in_train": int(held["met"].sum()),
        "share_of_crops": sum(met) / len(met),
    }

"""Leakage: how much of a run's test set is also in its training set."""

import pandas as pd

from src.cache.crop_cache import SITE
from src.metrics_schema import Leakage, Overlap, Unit

# The columns that identify each unit; an image is an instance of a series.
UNITS: dict[Unit, list[str]] = {
    **{"studies": SITE[:1], "series": SITE[:2]},
    **{"images": SITE[:3], "crops": SITE},
}


def leakage(train: pd.DataFrame, test: pd.DataFrame) -> Leakage:
    """Count the test set's studies, series, images and crops, and those also in train.

    train, test: rows of the cache's crops.csv. For each of UNITS: `test`, the number in
    the test set; `also_in_train`, how many of them the training set has too;
    `share_of_crops`, the share of the test crops that belong to those. A crop is in
    train if its very site is. Under a study split the last two are zero.
    """
    return {unit: _overlap(train[keys], test[keys]) for unit, keys in UNITS.items()}


def _overlap(train: pd.DataFrame, test: pd.DataFrame) -> Overlap:
    trained = set(train.itertuples(index=False, name=None))
    leaks = [key in trained for key in test.itertuples(index=False, name=None)]
    units = test.assign(leaks=leaks).drop_duplicates()
    return {
        "test": len(units),
        "also_in_train": int(units["leaks"].sum()),
        "share_of_crops": sum(leaks) / len(leaks),
    }

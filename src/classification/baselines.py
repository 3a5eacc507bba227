"""Baselines that see no pixel, to compare a network's accuracy with.

Each is evaluated on a run's own test crops, from its own training crops:

majority_class: the most frequent training class of the crop's series type.
random_side: the class family of the series type, with the subarticular side right (an
    axial crop shows it) and a random foraminal side.
nearest_neighbour: the same, but the foraminal class is that of the training crop on the
    nearest slice of the same series, random where there is none. Its advantage over
    random_side is what a network could memorize.
"""

import numpy as np
import pandas as pd

from src.competition.constants import FAMILY_OF

SERIES = ["study_id", "series_id"]
POINT_MM = ["x_mm", "y_mm", "z_mm"]
RANDOM_SIDE_ACCURACY = 0.5


def baseline_accuracy(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return each baseline's probability of being right, for each test crop.

    train, test: rows of the cache's crops.csv. Returns majority_class, random_side,
    nearest_neighbour and foraminal (a foraminal crop that its series type predicts), a
    row a test crop, indexed as `test`.
    """
    family = test["condition"].map(FAMILY_OF)
    majority = _majority(train.assign(family=_families(train)), test, "family")
    known = family == majority
    foraminal = known & (family == "foraminal")
    random_side = known.astype(float).mask(foraminal, RANDOM_SIDE_ACCURACY)
    found = nearest_neighbour(train, test)
    found_right = (found == test["condition"]).astype(float)
    neighbour = foraminal & found.notna()
    same_class = _majority(train, test, "condition") == test["condition"]
    return pd.DataFrame(
        {
            "majority_class": same_class.astype(float),
            "random_side": random_side,
            "nearest_neighbour": random_side.mask(neighbour, found_right),
            "foraminal": foraminal,
        }
    )


def _families(table: pd.DataFrame) -> pd.Series:
    return table["condition"].map(FAMILY_OF)


def _majority(train: pd.DataFrame, test: pd.DataFrame, column: str) -> pd.Series:
    """Predict `column` by the majority of the series type, or of all for a new type."""
    counts = train.groupby(["series_description", column]).size()
    # Ties go to the first by name, so that the order of the rows does not matter.
    ordered = counts.sort_index().sort_values(ascending=False, kind="stable")
    first = ordered.reset_index().drop_duplicates("series_description")
    majority = first.set_index("series_description")[column]
    overall = str(train[column].value_counts().sort_index().idxmax())
    return test["series_description"].map(majority).fillna(overall)


def nearest_neighbour(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Return the class of the nearest training crop of each test crop's series.

    Nearest by slices in patient order, then by mm between the points, because the
    slice determines a foramen's side. Missing where the series has none in train.
    """
    rows_of = train.groupby(SERIES).indices
    slices, points = train["slice"].to_numpy(), train[POINT_MM].to_numpy()
    nearest = np.full(len(test), -1)
    for index, crop in enumerate(test.itertuples()):
        rows = rows_of.get((crop.study_id, crop.series_id))
        if rows is not None:
            offset_mm = points[rows] - (crop.x_mm, crop.y_mm, crop.z_mm)
            steps = np.abs(slices[rows] - crop.slice)
            nearest[index] = rows[np.lexsort(((offset_mm**2).sum(axis=1), steps))[0]]
    classes = train["condition"].to_numpy(dtype=object)[nearest]
    return pd.Series(np.where(nearest >= 0, classes, None), index=test.index)

"""What can be had without looking at a pixel: the lines an accuracy must be held to.

Each reference is worked out on a run's own test crops from its own training crops:

series_type: the most frequent training class of the crop's series type, every time.
side_coin: the class family of the series type, the subarticular side right (an axial
    crop shows it) and a coin for the foraminal side.
look_up: the same, but the foraminal side is looked up: the class of the training crop
    on the nearest slice of the same series, and the coin where there is none. What it
    has over side_coin is what a network could remember instead of see.
"""

import numpy as np
import pandas as pd

from src.competition.constants import FAMILY_OF

SERIES = ["study_id", "series_id"]
POINT_MM = ["x_mm", "y_mm", "z_mm"]
RANDOM_SIDE_ACCURACY = 0.5


def baseline_accuracy(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Give each test crop the probability that each reference is right about it.

    train, test: rows of the cache's crops.csv. Returns series_type, side_coin, look_up
    and foraminal (whether the crop shows a foramen, and its series type says so), one
    row a test crop, indexed as `test`.
    """
    family = test["condition"].map(FAMILY_OF)
    known = family == _usual(train.assign(family=_families(train)), test, "family")
    foraminal = known & (family == "foraminal")
    side_coin = known.astype(float).mask(foraminal, RANDOM_SIDE_ACCURACY)
    found = nearest_neighbour(train, test)
    found_right = (found == test["condition"]).astype(float)
    return pd.DataFrame(
        {
            "majority_class": (
                _usual(train, test, "condition") == test["condition"]
            ).astype(float),
            "random_side": side_coin,
            "nearest_neighbour": side_coin.mask(foraminal & found.notna(), found_right),
            "foraminal": foraminal,
        }
    )


def _families(table: pd.DataFrame) -> pd.Series:
    return table["condition"].map(FAMILY_OF)


def _usual(train: pd.DataFrame, test: pd.DataFrame, column: str) -> pd.Series:
    """Guess a test crop's `column` by its series type; any other type's: by all."""
    counts = train.groupby(["series_description", column]).size()
    # Of equally frequent values the first by name, whatever the order of the rows.
    ordered = counts.sort_index().sort_values(ascending=False, kind="stable")
    usual = ordered.reset_index().drop_duplicates("series_description")
    guesses = usual.set_index("series_description")[column]
    overall = train[column].value_counts().sort_index().idxmax()
    return test["series_description"].map(guesses).fillna(overall)


def nearest_neighbour(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Find each test crop the class of the nearest training crop of its series.

    Nearest by slices in patient order, then by mm between the points, because the
    slice is what tells a foramen's side. Missing where the series has none in train.
    """
    rows_of = train.groupby(SERIES).indices
    slices, points = train["slice"].to_numpy(), train[POINT_MM].to_numpy()
    nearest = np.full(len(test), -1)
    for place, crop in enumerate(test.itertuples()):
        rows = rows_of.get((crop.study_id, crop.series_id))
        if rows is not None:
            apart = points[rows] - (crop.x_mm, crop.y_mm, crop.z_mm)
            steps = np.abs(slices[rows] - crop.slice)
            nearest[place] = rows[np.lexsort(((apart**2).sum(axis=1), steps))[0]]
    classes = train["condition"].to_numpy(dtype=object)[nearest]
    return pd.Series(np.where(nearest >= 0, classes, None), index=test.index)

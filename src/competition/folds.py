"""Which studies train, validate and test: by study, and alike in severity.

Splits and folds follow one order of the studies: by stratum, then at random. Evenly
spaced picks from such an order take from each stratum its share, give or take one.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import SEVERITIES, SPINAL
from src.competition.csv_schema import ColumnParser, category, read_csv, whole_number
from src.errors import UserError

SPLITS = ("train", "validation", "test")
TEST_SHARE, VALIDATION_SHARE = 0.15, 0.05
FOLDS = 5

FOLD_COLUMNS: dict[str, ColumnParser] = {
    "study_id": whole_number,
    "split": category(SPLITS),
    "fold": category(map(str, range(FOLDS))),
}


def make_folds(labels: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Give each study a split (80/5/15) and a fold 0..4: study_id, split, fold.

    Folds are dealt out within a split and stratum, so each fold has its share of both.
    The same seed and studies give the same folds, whatever the order of the rows.
    """
    stratum = strata(labels).sort_index()
    random = np.random.default_rng(seed).permutation(len(stratum))
    order = np.lexsort((random, stratum))
    split = np.empty(len(order), dtype=object)
    split[order] = _split_evenly(len(order))
    fold = np.empty(len(order), dtype=np.int64)
    fold[np.lexsort((random, stratum, split.astype(str)))] = (
        np.arange(len(order)) % FOLDS
    )
    return pd.DataFrame({"study_id": stratum.index, "split": split, "fold": fold})


def read_folds(path: Path) -> pd.DataFrame:
    """Read folds.csv, make_folds' table as it was written."""
    return read_csv(path, FOLD_COLUMNS, key=["study_id"]).astype({"fold": "int64"})


def strata(labels: pd.DataFrame) -> pd.Series:
    """Give each study's stratum, indexed by study_id.

    3 if its spinal canal is severe at any level; else 2, 1 or 0, its worst severity
    anywhere, where a study without a label counts as normal.
    """
    rank = labels["severity"].map({name: i for i, name in enumerate(SEVERITIES)})
    rank = rank.astype(float).fillna(0)
    severe_canal = (labels["condition"] == SPINAL) & (rank == len(SEVERITIES) - 1)
    stratum = rank.mask(severe_canal, len(SEVERITIES)).astype(int)
    return stratum.groupby(labels["study_id"]).max()


def fold_splits(folds: pd.DataFrame, fold: int | str) -> pd.Series:
    """Give each study's role in one run, indexed by study_id.

    "holdout": its split. A fold k: test if in fold k, else validation if that is its
    split, else train; where a small cohort's fold tests every validation study, some
    are taken from train.
    """
    by_study = folds.set_index("study_id")
    if fold == "holdout":
        return by_study["split"].rename("role")
    if fold not in range(FOLDS):
        raise UserError(f"Fold {fold!r} is not holdout or one of 0 to {FOLDS - 1}.")
    role = by_study["split"].where(by_study["split"] == "validation", "train")
    role = role.mask(by_study["fold"] == fold, "test").rename("role")
    if not (role == "validation").any():
        role = _with_validation(role)
    for needed in SPLITS:
        if not (role == needed).any():
            raise UserError(
                f"Fold {fold} of these {len(role)} studies leaves none for {needed}; "
                "use the holdout, or a cohort of at least 30 studies."
            )
    return role


def _with_validation(role: pd.Series) -> pd.Series:
    """Take some validation studies from training, where a fold tests all there are."""
    train = role.index[role == "train"]
    wanted = max(1, round(VALIDATION_SHARE * len(role)))
    places = np.linspace(0, len(train) - 1, wanted + 2)[1:-1].astype(int)
    return role.where(~role.index.isin(train[places]), "validation")


def row_splits(n_rows: int, seed: int = 0) -> np.ndarray:
    """Give each row a role at random, 80/5/15, as the paper's code did.

    This leaks: rows of one study, even of one image, land in train and in test.
    """
    return np.random.default_rng(seed).permutation(_split_evenly(n_rows))


def _split_evenly(count: int) -> np.ndarray:
    """Give the places 0..count-1 of an order their splits, evenly spaced."""
    if count < len(SPLITS):
        raise UserError(
            f"{count} cannot be split into train, validation and test; give at least 3."
        )
    split = np.full(count, "train", dtype=object)
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        left = np.flatnonzero(split == "train")
        wanted = max(1, round(share * count))
        split[left[((np.arange(wanted) + 0.5) * len(left) / wanted).astype(int)]] = name
    return split

"""Splits and folds of the studies, stratified by severity.

Both follow one order of the studies: by stratum, then at random. Evenly spaced picks
from such an order take from each stratum its share, give or take one.
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
    """Assign each study a split (80/5/15) and a fold 0..4: study_id, split, fold.

    Folds are dealt out within a split and stratum, so each fold has its share of both.
    The same seed and studies give the same folds, in any order of the rows.
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
    """Read folds.csv, the table of make_folds."""
    return read_csv(path, FOLD_COLUMNS, key=["study_id"]).astype({"fold": "int64"})


def strata(labels: pd.DataFrame) -> pd.Series:
    """Return each study's stratum, indexed by study_id.

    3 if its spinal canal is severe at any level; else 2, 1 or 0, its worst severity
    anywhere, where a study without a label counts as normal.
    """
    class_ids = {name: float(i) for i, name in enumerate(SEVERITIES)}
    rank = labels["severity"].map(class_ids).astype(float).fillna(0)
    severe_canal = (labels["condition"] == SPINAL) & (rank == len(SEVERITIES) - 1)
    stratum = rank.mask(severe_canal, len(SEVERITIES)).astype(int)
    return stratum.groupby(labels["study_id"]).max()


def fold_splits(folds: pd.DataFrame, fold: int | str) -> pd.Series:
    """Return each study's split in one run, indexed by study_id.

    fold: "holdout" takes the split of folds.csv; a fold k tests the studies of fold k,
    validates on the rest of the validation split and trains on all others. Where a
    small cohort's fold tests every validation study, some are taken from train.
    """
    by_study = folds.set_index("study_id")
    if fold == "holdout":
        return by_study["split"]
    if fold not in range(FOLDS):
        raise UserError(f"Fold {fold!r} is not holdout or one of 0 to {FOLDS - 1}.")
    split = by_study["split"].where(by_study["split"] == "validation", "train")
    split = split.mask(by_study["fold"] == fold, "test").rename("split")
    if not (split == "validation").any():
        split = _with_validation(split)
    for needed in SPLITS:
        if not (split == needed).any():
            raise UserError(
                f"Fold {fold} of these {len(split)} studies leaves none for {needed}; "
                "use the holdout, or a cohort of at least 30 studies."
            )
    return split


def _with_validation(split: pd.Series) -> pd.Series:
    """Move some studies from train to validation, where a fold tests all of these."""
    train = split.index[split == "train"]
    wanted = max(1, round(VALIDATION_SHARE * len(split)))
    positions = np.linspace(0, len(train) - 1, wanted + 2)[1:-1].astype(int)
    return split.where(~split.index.isin(train[positions]), "validation")


def row_splits(n_rows: int, seed: int = 0) -> np.ndarray:
    """Assign each row a split at random, 80/5/15, as the paper's code did.

    This leaks: rows of one study, even of one image, land in train and in test.
    """
    return np.random.default_rng(seed).permutation(_split_evenly(n_rows))


def _split_evenly(count: int) -> np.ndarray:
    """Assign splits, evenly spaced, to the positions 0..count-1 of an order."""
    if count < len(SPLITS):
        raise UserError(
            f"{count} cannot be split into train, validation and test; give at least 3."
        )
    split = np.full(count, "train", dtype=object)
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        free = np.flatnonzero(split == "train")
        wanted = max(1, round(share * count))
        split[free[((np.arange(wanted) + 0.5) * len(free) / wanted).astype(int)]] = name
    return split

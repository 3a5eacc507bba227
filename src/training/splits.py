"""Which rows of a table train, validate and test a run."""

from typing import cast

import pandas as pd

from src.competition.folds import fold_splits, row_splits
from src.competition.prior import smoothed_prior, uniform
from src.errors import UserError
from src.training.config import PriorRow

SPLITS = ("train", "validation", "test")


def crop_splits(
    table: pd.DataFrame, folds: pd.DataFrame, split: str, fold: str, seed: int
) -> pd.Series:
    """Assign each row of a cache's crop table to train, validation or test.

    split `study` follows folds.csv; `row` splits single crops regardless of their
    study, as the paper's code did, so that a study is on both sides: it leaks.
    """
    if split == "row":
        return pd.Series(row_splits(len(table), seed), index=table.index)
    return table["study_id"].map(study_splits(folds, fold))


def study_splits(folds: pd.DataFrame, fold: str) -> pd.Series:
    """Return each study's split, indexed by study_id; fold: `holdout` or a number."""
    if fold == "holdout":
        return fold_splits(folds, fold)
    if not fold.isdecimal():
        raise UserError(f"Fold {fold!r} is not holdout, all or one of 0 to 4.")
    return fold_splits(folds, int(fold))


def first_studies(table: pd.DataFrame, limit: int | None) -> pd.Series:
    """Mark the rows of the first `limit` studies, or all: a quick rehearsal."""
    studies = sorted(table["study_id"].unique())[:limit]
    return table["study_id"].isin(studies)


def training_prior(
    labels: pd.DataFrame, folds: pd.DataFrame, fold: str
) -> pd.DataFrame:
    """Make the prior of the studies that a fold does not test."""
    role = labels["study_id"].map(study_splits(folds, fold))
    seen = labels[role.isin(["train", "validation"])]
    return smoothed_prior(seen) if seen["severity"].notna().any() else uniform()


def prior_rows(prior: pd.DataFrame) -> list[PriorRow]:
    """List a prior's rows, as a run's config.json holds them."""
    return cast(list[PriorRow], prior.to_dict("records"))


def require_examples(counts: dict[str, int], what: str) -> None:
    """Raise UserError if a split has no example."""
    for role in SPLITS:
        if not counts[role]:
            raise UserError(
                f"No {what} is left for {role}: prepare more studies, or raise --limit"
            )

"""Which rows train, validate and test, and what of them a prior may see."""

import numpy as np
import pandas as pd
import pytest

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES
from src.competition.folds import make_folds, row_splits
from src.competition.prior import smoothed_prior, uniform
from src.errors import UserError
from src.training.splits import (
    crop_splits,
    first_studies,
    require_examples,
    study_splits,
    training_prior,
)

STUDIES = 60
PLACES = [(condition, level) for condition in CONDITIONS for level in LEVELS]


def labels_of(severity_by_study: dict[int, str | None]) -> pd.DataFrame:
    """Give every place of a study the same severity."""
    rows = [
        (study, *place, severity)
        for study, severity in severity_by_study.items()
        for place in PLACES
    ]
    return pd.DataFrame(rows, columns=["study_id", "condition", "level", "severity"])


def folds_of(studies: int = STUDIES) -> pd.DataFrame:
    ids = range(900, 900 + studies)
    return make_folds(labels_of(dict.fromkeys(ids, "moderate")))


@pytest.fixture
def table() -> pd.DataFrame:
    """Three crops a study, in no order and under an index of their own."""
    studies = np.repeat(folds_of()["study_id"], 3)
    shuffled = np.random.default_rng(1).permutation(studies)
    return pd.DataFrame({"study_id": shuffled}, index=range(5000, 5180))


@pytest.mark.parametrize("fold", ["holdout", "0", "3"])
def test_a_crop_has_the_role_of_its_study(table: pd.DataFrame, fold: str) -> None:
    folds = folds_of().set_index("study_id")
    role = crop_splits(table, folds.reset_index(), "study", fold, seed=0)
    assert role.index.equals(table.index)
    tested = set(table["study_id"][role == "test"])
    if fold == "holdout":
        assert tested == set(folds.index[folds["split"] == "test"])
    else:
        assert tested == set(folds.index[folds["fold"] == int(fold)])
    for name in ("train", "validation"):
        assert not tested & set(table["study_id"][role == name])
    assert role.notna().all()


@pytest.mark.parametrize("seed", [0, 7])
def test_the_row_split_deals_crops_out_by_the_runs_seed(
    table: pd.DataFrame, seed: int
) -> None:
    role = crop_splits(table, folds_of(), "row", "holdout", seed)
    assert role.index.equals(table.index)
    assert role.tolist() == row_splits(len(table), seed).tolist()
    assert role.tolist() != row_splits(len(table), seed + 1).tolist()
    tested = table["study_id"][role == "test"]
    assert tested.isin(table["study_id"][role == "train"]).any()


@pytest.mark.parametrize("fold", ["all", "5", "-1", "1.0", ""])
def test_a_fold_that_does_not_exist_is_refused(fold: str) -> None:
    with pytest.raises(UserError, match="not holdout"):
        study_splits(folds_of(), fold)


@pytest.mark.parametrize("limit", [1, 4, 60, 99, None])
def test_a_limit_counts_studies_and_keeps_their_every_row(
    table: pd.DataFrame, limit: int | None
) -> None:
    kept = first_studies(table, limit)
    assert kept.index.equals(table.index)
    count = min(limit or STUDIES, STUDIES)
    assert set(table["study_id"][kept]) == set(range(900, 900 + count))
    assert kept.sum() == 3 * count


@pytest.mark.parametrize("fold", ["holdout", "1"])
def test_a_prior_is_of_training_and_validation_studies_alone(fold: str) -> None:
    folds = folds_of()
    role = study_splits(folds, fold)
    severity = {"train": "normal_mild", "validation": "moderate", "test": "severe"}
    labels = labels_of(role.map(severity).to_dict())
    told = training_prior(labels, folds, fold)[list(SEVERITIES)]
    train, validation = ((role == name).sum() for name in ("train", "validation"))
    # Both sides of a family share a row, so that a place has one or two labels a study.
    for rows, sides in ((told.iloc[0], 2), (told.iloc[-1], 1)):
        normal, moderate = train * sides, 2 * validation * sides
        # One row is borrowed, and of it a third where nothing was seen.
        assert rows["moderate"] / rows["normal_mild"] == pytest.approx(
            moderate / normal, rel=0.05
        )
        assert rows["severe"] < 0.001
    pd.testing.assert_frame_equal(
        training_prior(labels, folds, fold),
        smoothed_prior(labels[labels["study_id"].map(role) != "test"]),
    )


def test_a_prior_of_nothing_labelled_is_thirds() -> None:
    folds = folds_of()
    role = study_splits(folds, "holdout")
    only_tests = role.where(role == "test").map({"test": "severe"})
    labels = labels_of(only_tests.astype(object).where(role == "test", None).to_dict())
    pd.testing.assert_frame_equal(training_prior(labels, folds, "holdout"), uniform())


@pytest.mark.parametrize("empty", ["train", "validation", "test"])
def test_a_role_without_an_example_is_named(empty: str) -> None:
    counts = dict.fromkeys(("train", "validation", "test"), 1)
    require_examples(counts, "crop")
    with pytest.raises(UserError, match=f"No crop is left for {empty}"):
        require_examples(counts | {empty: 0}, "crop")

"""Splits and folds: disjoint, in proportion, alike in severity, repeatable."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition.constants import CONDITIONS, LEVELS
from src.competition.folds import (
    fold_splits,
    make_folds,
    read_folds,
    row_splits,
    strata,
)
from src.errors import UserError
from src.files import write_csv

PLACES = [(condition, level) for condition in CONDITIONS for level in LEVELS]


def cohort(kinds: dict[int, str]) -> pd.DataFrame:
    """Make labels of studies that are `normal_mild`, `moderate`, `severe` or `canal`.

    The last has a severe spinal canal; the others have their worst label elsewhere.
    """
    rows = []
    for study, kind in kinds.items():
        place = ("spinal_canal_stenosis", "l4_l5") if kind == "canal" else PLACES[7]
        worst = "severe" if kind == "canal" else kind
        rows += [
            (study, *each, worst if each == place else "normal_mild") for each in PLACES
        ]
    return pd.DataFrame(rows, columns=["study_id", "condition", "level", "severity"])


KINDS = np.array(["normal_mild", "moderate", "severe", "canal"])


def random_kinds(studies: int, seed: int = 0) -> dict[int, str]:
    random = np.random.default_rng(seed)
    ids = random.choice(10**9, studies, replace=False)
    return dict(zip(ids.tolist(), random.choice(KINDS, studies).tolist(), strict=True))


@pytest.mark.parametrize("studies", [*range(3, 13), 20, 61, 100, 197])
def test_every_study_is_in_one_split_and_one_fold(studies: int) -> None:
    kinds = random_kinds(studies)
    folds = make_folds(cohort(kinds))
    assert list(folds.columns) == ["study_id", "split", "fold"]
    assert folds["study_id"].tolist() == sorted(kinds)
    assert set(folds["split"]) == {"train", "validation", "test"}
    assert folds["fold"].isin(range(5)).all()
    sizes = folds["fold"].value_counts().reindex(range(5), fill_value=0)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("studies", "train", "validation", "test"),
    [(3, 1, 1, 1), (10, 7, 1, 2), (100, 80, 5, 15), (200, 160, 10, 30)],
)
def test_the_split_is_80_5_15(
    studies: int, train: int, validation: int, test: int
) -> None:
    sizes = make_folds(cohort(random_kinds(studies)))["split"].value_counts()
    assert sizes.to_dict() == {"train": train, "validation": validation, "test": test}


@pytest.mark.parametrize("seed", range(10))
def test_each_kind_of_study_has_its_share_of_each_split(seed: int) -> None:
    # At random the number of tests in a quarter of 200 has a standard deviation of 2.5.
    kinds = random_kinds(200, seed)
    folds = make_folds(cohort(kinds), seed)
    kind = folds["study_id"].map(kinds)
    for name in KINDS:
        here = folds["split"][kind == name]
        assert abs((here == "test").sum() - 0.15 * len(here)) < 1.5
        assert abs((here == "validation").sum() - 0.05 * len(here)) < 1.5


@pytest.mark.parametrize("seed", range(10))
def test_each_kind_and_split_is_dealt_evenly_to_the_folds(seed: int) -> None:
    kinds = random_kinds(200, seed)
    folds = make_folds(cohort(kinds), seed)
    groups = folds.assign(kind=folds["study_id"].map(kinds)).groupby(["kind", "split"])
    for _, group in groups:
        sizes = group["fold"].value_counts().reindex(range(5), fill_value=0)
        assert sizes.max() - sizes.min() <= 1


def test_a_stratum_is_the_worst_label_and_the_severe_canal_one_above() -> None:
    rows = [
        (9, "spinal_canal_stenosis", "l1_l2", "severe"),
        (9, "left_subarticular_stenosis", "l1_l2", "normal_mild"),
        (8, "spinal_canal_stenosis", "l1_l2", "moderate"),
        (8, "left_subarticular_stenosis", "l1_l2", "severe"),
        (7, "spinal_canal_stenosis", "l1_l2", "moderate"),
        (7, "spinal_canal_stenosis", "l4_l5", None),
        (6, "right_subarticular_stenosis", "l4_l5", "normal_mild"),
        (6, "right_subarticular_stenosis", "l5_s1", "normal_mild"),
        (5, "spinal_canal_stenosis", "l4_l5", None),
    ]
    labels = pd.DataFrame(rows, columns=["study_id", "condition", "level", "severity"])
    assert strata(labels).to_dict() == {9: 3, 8: 2, 7: 1, 6: 0, 5: 0}


def test_the_order_of_the_rows_changes_nothing() -> None:
    labels = cohort(random_kinds(50))
    mixed = labels.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(make_folds(labels, 7), make_folds(mixed, 7))


def test_another_seed_gives_other_folds() -> None:
    labels = cohort(random_kinds(50))
    one, other = make_folds(labels, 0), make_folds(labels, 1)
    assert (one["split"] != other["split"]).any()
    assert (one["fold"] != other["fold"]).any()


def test_ids_do_not_decide_the_split() -> None:
    kinds = dict.fromkeys(range(1000, 1100), "moderate")
    tests = [
        set(folds["study_id"][folds["split"] == "test"])
        for folds in (make_folds(cohort(kinds), seed) for seed in range(30))
    ]
    assert len(set.union(*tests)) > 90


def test_unlabelled_studies_have_a_split_too() -> None:
    labels = cohort(random_kinds(6))
    labels["severity"] = None
    assert len(make_folds(labels)) == 6


@pytest.mark.parametrize("studies", [1, 2])
def test_two_studies_cannot_be_split(studies: int) -> None:
    with pytest.raises(UserError, match=f"{studies} cannot be split .* at least 3"):
        make_folds(cohort(random_kinds(studies)))


# The file


def test_folds_are_read_as_they_were_made(tmp_path: Path) -> None:
    folds = make_folds(cohort(random_kinds(20)))
    write_csv(folds, tmp_path / "folds.csv")
    again = read_folds(tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(again, folds, check_dtype=False)
    assert again["fold"].dtype == np.int64
    assert fold_splits(again, 3).to_dict() == fold_splits(folds, 3).to_dict()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,train,5", "fold '5' on line 2 .* one of 0, 1, 2, 3, 4"),
        ("1,dev,0", "split 'dev' on line 2 .* one of train, validation, test"),
        ("1,train,0\n1,test,0", "study_id 1 on line 3 .* already"),
    ],
)
def test_a_wrong_fold_is_refused(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "folds.csv").write_text(f"study_id,split,fold\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_folds(tmp_path / "folds.csv")


# Roles


def test_the_holdouts_roles_are_the_split() -> None:
    folds = make_folds(cohort(random_kinds(40)))
    role = fold_splits(folds, "holdout")
    assert role.to_dict() == dict(zip(folds["study_id"], folds["split"], strict=True))


@pytest.mark.parametrize("studies", [30, 47, 100])
def test_every_study_is_tested_once_over_the_folds(studies: int) -> None:
    folds = make_folds(cohort(random_kinds(studies)))
    runs = pd.DataFrame({fold: fold_splits(folds, fold) for fold in range(5)})
    assert ((runs == "test").sum(axis=1) == 1).all()
    assert ((runs == "train").any()).all()
    assert ((runs == "validation").any()).all()


def test_a_folds_validation_is_the_holdouts_less_its_tests() -> None:
    folds = make_folds(cohort(random_kinds(100)))
    role = fold_splits(folds, 2)
    by_study = folds.set_index("study_id").loc[role.index]
    assert ((role == "test") == (by_study["fold"] == 2)).all()
    rest = role[role != "test"]
    was_validation = by_study.loc[rest.index, "split"] == "validation"
    assert ((rest == "validation") == was_validation).all()


def test_a_small_cohorts_fold_borrows_its_validation_from_training() -> None:
    folds = make_folds(cohort(random_kinds(12)))
    fold = int(folds["fold"][folds["split"] == "validation"].iloc[0])
    role = fold_splits(folds, fold)
    tested = folds.set_index("study_id")["fold"] == fold
    assert ((role == "test") == tested[role.index]).all()
    assert (role == "validation").sum() == 1


def test_a_fold_without_a_study_is_refused() -> None:
    folds = make_folds(cohort(random_kinds(3)))
    with pytest.raises(UserError, match="none for test"):
        fold_splits(folds, 4)


@pytest.mark.parametrize("fold", [5, -1, "all", "2"])
def test_a_fold_that_does_not_exist_is_refused(fold: int | str) -> None:
    folds = make_folds(cohort(random_kinds(40)))
    with pytest.raises(UserError, match=r"not holdout or one of 0 to 4"):
        fold_splits(folds, fold)


# The paper's rows


def test_rows_are_split_80_5_15_at_random() -> None:
    role = row_splits(2000, seed=4)
    assert [(role == name).sum() for name in ("train", "validation", "test")] == [
        1600,
        100,
        300,
    ]
    assert (role == row_splits(2000, seed=4)).all()
    assert (role != row_splits(2000, seed=5)).any()
    halves = [(half == "test").sum() for half in np.split(role, 2)]
    assert max(halves) < 200


def test_rows_leak_studies_from_train_into_test() -> None:
    study = np.repeat(np.arange(40), 25)
    role = row_splits(len(study))
    assert set(study[role == "test"]) <= set(study[role == "train"])


def test_two_rows_cannot_be_split() -> None:
    with pytest.raises(UserError, match="2 cannot be split"):
        row_splits(2)

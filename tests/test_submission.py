"""Submission files, and what the competition would refuse in one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition import submission
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, TARGETS
from src.errors import UserError

STUDIES = [44036939, 7, 123]


def thirds(studies: list[int] = STUDIES) -> pd.DataFrame:
    ids = [f"{study}_{target}" for study in studies for target in TARGETS]
    return pd.DataFrame({"row_id": ids} | dict.fromkeys(SEVERITIES, 1 / 3))


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=0)


def with_cell(row: int, column: str, value: object) -> pd.DataFrame:
    frame = thirds().astype(object)
    frame.loc[row, column] = value
    return frame


# Making one


def test_rows_ascend_by_study_as_a_number_then_by_name() -> None:
    ids = submission.row_ids(STUDIES)
    assert len(ids) == 75
    assert ids[0] == "7_left_neural_foraminal_narrowing_l1_l2"
    assert ids[1] == "7_left_neural_foraminal_narrowing_l2_l3"
    assert ids[-1] == "44036939_spinal_canal_stenosis_l5_s1"
    assert [int(row_id.split("_")[0]) for row_id in ids[::25]] == [7, 123, 44036939]
    assert all(ids[i : i + 25] == sorted(ids[i : i + 25]) for i in (0, 25, 50))


def test_a_study_listed_twice_is_predicted_once() -> None:
    assert submission.row_ids([123, 7, 123]) == submission.row_ids([7, 123])


def test_labels_are_named_as_the_submission_names_them() -> None:
    labels = pd.DataFrame(
        {"study_id": [5], "condition": ["spinal_canal_stenosis"], "level": ["l4_l5"]}
    )
    assert submission.label_row_ids(labels).tolist() == [
        "5_spinal_canal_stenosis_l4_l5"
    ]


def test_a_prior_predicts_each_study_alike_in_any_order() -> None:
    prior = pd.DataFrame(
        [(c, level, 0.5, 0.3, 0.2) for c in CONDITIONS for level in LEVELS],
        columns=["condition", "level", *SEVERITIES],
    )
    place = (prior["condition"] == CONDITIONS[3]) & (prior["level"] == "l5_s1")
    prior.loc[place, list(SEVERITIES)] = 0.1, 0.2, 0.7
    frame = submission.from_prior(STUDIES, shuffled(prior))
    assert frame["row_id"].tolist() == submission.row_ids(STUDIES)
    special = frame["row_id"].str.endswith(f"{CONDITIONS[3]}_l5_s1")
    assert (
        frame.loc[special, list(SEVERITIES)].to_numpy().tolist()
        == [[0.1, 0.2, 0.7]] * 3
    )
    assert (frame.loc[~special, "normal_mild"] == 0.5).all()
    submission.check_submission(frame, STUDIES)


# What passes


def test_rows_and_columns_may_come_in_any_order() -> None:
    submission.check_submission(
        shuffled(thirds())[["severe", "row_id", "moderate", "normal_mild"]]
    )


def test_an_index_of_any_kind_is_no_matter() -> None:
    submission.check_submission(thirds().set_index(np.zeros(75)), STUDIES)


@pytest.mark.parametrize("row", [(0.333, 0.333, 0.333), (1, 0, 0), (0.34, 0.34, 0.33)])
def test_rounded_and_certain_rows_pass(row: tuple[float, ...]) -> None:
    frame = thirds()
    frame[list(SEVERITIES)] = row
    submission.check_submission(frame)


# What does not

SPINE = "spinal_canal_stenosis_l1_l2"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            thirds().drop(columns="severe"),
            r"columns are row_id, normal_mild, moderate;",
        ),
        (thirds().rename(columns={"severe": "Severe"}), r"moderate, Severe; they must"),
        (thirds().assign(study_id=1), r"severe, study_id; they must"),
        (pd.DataFrame(), r"columns are none"),
        (thirds().iloc[:0], r"no rows; it needs 25"),
    ],
)
def test_other_columns_or_no_rows_are_refused(
    frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        submission.check_submission(frame)


@pytest.mark.parametrize(
    "row_id",
    [
        "7_spinal_canal_stenosis_l6_s1",
        "7_Spinal Canal Stenosis_L4/L5",
        "7_l4_l5_spinal_canal_stenosis",
        f"x7_{SPINE}",
        f"007_{SPINE}",
        f"-7_{SPINE}",
        f"7.0_{SPINE}",
        f"7_{SPINE} ",
        f"7_{SPINE}\n",
        SPINE,
        "",
        7,
        None,
    ],
)
def test_a_malformed_row_id_is_refused(row_id: object) -> None:
    with pytest.raises(
        UserError, match=r"must be \{study_id\}_\{condition\}_\{level\}"
    ):
        submission.check_submission(with_cell(4, "row_id", row_id))


def test_a_missing_row_is_refused() -> None:
    frame = thirds().drop(index=[20, 70])
    with pytest.raises(UserError, match=rf"'123_{SPINE}' .*first of 2 .*is missing"):
        submission.check_submission(frame)


def test_a_row_that_comes_twice_is_refused() -> None:
    frame = pd.concat([thirds(), thirds().iloc[[20]]])
    with pytest.raises(UserError, match=rf"'44036939_{SPINE}' .*is a repeat"):
        submission.check_submission(frame)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("much", "not a finite number"),
        (np.nan, "not a finite number"),
        (None, "not a finite number"),
        (np.inf, "not a finite number"),
        (-1e-3, "outside 0 to 1"),
        (1.001, "outside 0 to 1"),
        (0.3, "do not sum to 1"),
        (0.36, "do not sum to 1"),
    ],
)
def test_a_row_that_is_no_distribution_is_refused(value: object, message: str) -> None:
    place = f"'44036939_{SPINE}' of the submission has"
    with pytest.raises(UserError, match=f"{place} .*{message}"):
        submission.check_submission(with_cell(20, "severe", value))


def test_the_first_bad_row_is_the_first_in_the_file() -> None:
    frame = with_cell(60, "severe", 2.0).iloc[::-1]
    frame.loc[10, "severe"] = 2.0
    with pytest.raises(UserError, match=rf"Row '{frame['row_id'][60]}' .*first of 2"):
        submission.check_submission(frame)


def test_a_missing_or_unexpected_study_is_refused() -> None:
    with pytest.raises(UserError, match=r"'9_left_.*first of 25 .*is missing"):
        submission.check_submission(thirds(), [*STUDIES, 9])
    with pytest.raises(UserError, match=r"'123_left_.* not in the test set"):
        submission.check_submission(thirds(), [7, 44036939])


# Files


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    frame = thirds()
    frame[list(SEVERITIES)] = np.random.default_rng(0).dirichlet([4, 2, 1], len(frame))
    submission.write_submission(shuffled(frame), path)
    again = submission.read_submission(path)
    assert again["row_id"].tolist() == submission.row_ids(STUDIES)
    merged = again.merge(frame, on="row_id", suffixes=("", "_before"), validate="1:1")
    for name in SEVERITIES:
        np.testing.assert_allclose(merged[name], merged[f"{name}_before"], rtol=1e-12)


def test_the_file_has_the_competitions_header(tmp_path: Path) -> None:
    submission.write_submission(
        thirds()[["severe", "moderate", "normal_mild", "row_id"]], tmp_path / "s"
    )
    assert (tmp_path / "s").read_text().splitlines()[
        0
    ] == "row_id,normal_mild,moderate,severe"


def test_reading_keeps_the_files_order_of_rows(tmp_path: Path) -> None:
    frame = shuffled(thirds())
    frame.to_csv(tmp_path / "s.csv", index=False)
    assert (
        submission.read_submission(tmp_path / "s.csv")["row_id"].tolist()
        == frame["row_id"].tolist()
    )


def test_a_faulty_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    thirds().drop(index=20).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match=rf"'44036939_{SPINE}' .*is missing"):
        submission.read_submission(tmp_path / "s.csv")


def test_a_faulty_table_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    submission.write_submission(thirds(), path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        submission.write_submission(thirds().assign(severe=0.4), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_an_index_column_is_refused(tmp_path: Path) -> None:
    thirds().to_csv(tmp_path / "s.csv")
    with pytest.raises(UserError, match=r"s.csv has a column 'Unnamed: 0'"):
        submission.read_submission(tmp_path / "s.csv")


def test_a_cell_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    with_cell(1, "severe", "much").to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match=r"severe 'much' on line 3 of s.csv"):
        submission.read_submission(tmp_path / "s.csv")

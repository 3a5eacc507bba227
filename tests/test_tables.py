"""Reading the competition's CSVs, and refusing what is wrong with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition import tables
from src.competition.constants import CONDITIONS, LEVELS, TARGETS
from src.competition.constants import SERIES_DESCRIPTIONS as DESCRIPTIONS
from src.errors import UserError

LABEL_HEADER = ["study_id", *sorted(TARGETS, reverse=True)]
POINTS = """study_id,series_id,instance_number,condition,level,x,y
4003253,702807833,8,Spinal Canal Stenosis,L1/L2,322.5,227.25
4003253,1054713880,4,Right Neural Foraminal Narrowing,L5/S1,196,158
"""
SERIES = """study_id,series_id,series_description
4003253,702807833,Sagittal T2/STIR
4003253,1054713880,Sagittal T1
4646740,3201256954,Axial T2
"""
ROW_ID = "4003253_left_neural_foraminal_narrowing_l1_l2"
SUBMISSION = f"row_id,normal_mild,moderate,severe\n{ROW_ID},0.5,0.25,0.25\n"


def label_text(*rows: dict[str, object]) -> str:
    """Write train.csv; a target not given is normal/mild."""
    lines = [",".join(LABEL_HEADER)]
    lines += [
        ",".join(str(row.get(name, "Normal/Mild")) for name in LABEL_HEADER)
        for row in rows
    ]
    return "\n".join(lines) + "\n"


LABELS = label_text(
    {"study_id": 4646740, "spinal_canal_stenosis_l4_l5": "Severe"},
    {
        "study_id": 4003253,
        "left_neural_foraminal_narrowing_l1_l2": "Moderate",
        "right_subarticular_stenosis_l5_s1": "",
    },
)
READERS: dict[str, tuple[str, Callable[[Path], pd.DataFrame]]] = {
    "train.csv": (LABELS, tables.read_labels),
    "train_label_coordinates.csv": (POINTS, tables.read_points),
    "train_series_descriptions.csv": (SERIES, tables.read_series),
    "sample_submission.csv": (SUBMISSION, tables.read_sample_submission),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, (text, _) in READERS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def put(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# What the readers return


def test_labels_are_long_in_the_submissions_order(root: Path) -> None:
    labels = tables.read_labels(root / "train.csv")
    assert list(labels.columns) == ["study_id", "condition", "level", "severity"]
    assert labels["study_id"].dtype == np.int64
    assert labels["study_id"].tolist() == [4646740] * 25 + [4003253] * 25
    targets = (labels["condition"] + "_" + labels["level"]).tolist()
    assert targets == sorted(TARGETS) * 2


def test_labels_keep_each_severity_at_its_target(root: Path) -> None:
    labels = tables.read_labels(root / "train.csv")
    unusual = labels[labels["severity"] != "normal_mild"].fillna("missing")
    assert unusual.to_numpy().tolist() == [
        [4646740, "spinal_canal_stenosis", "l4_l5", "severe"],
        [4003253, "left_neural_foraminal_narrowing", "l1_l2", "moderate"],
        [4003253, "right_subarticular_stenosis", "l5_s1", "missing"],
    ]


def test_points_come_in_the_submissions_words(root: Path) -> None:
    points = tables.read_points(root / "train_label_coordinates.csv")
    assert points.to_numpy().tolist() == [
        [4003253, 702807833, 8, "spinal_canal_stenosis", "l1_l2", 322.5, 227.25],
        [4003253, 1054713880, 4, CONDITIONS[2], LEVELS[4], 196.0, 158.0],
    ]
    assert (
        points.dtypes[["study_id", "series_id", "instance_number"]] == "int64"
    ).all()
    assert (points.dtypes[["x", "y"]] == "float64").all()


def test_series_descriptions_keep_the_competitions_spelling(root: Path) -> None:
    put(root, "s.csv", SERIES.replace("Axial T2", "axial t2 "))
    series = tables.read_series(root / "s.csv")
    expected = ["Sagittal T2/STIR", "Sagittal T1", "Axial T2"]
    assert series["series_description"].tolist() == expected


def test_sample_submission_has_a_row_id_and_three_numbers(root: Path) -> None:
    sample = tables.read_sample_submission(root / "sample_submission.csv")
    assert sample.to_numpy().tolist() == [[ROW_ID, 0.5, 0.25, 0.25]]


def test_the_training_tables_are_read_together(root: Path) -> None:
    competition = tables.read_training(root)
    assert competition.root == root
    assert [len(competition.labels), len(competition.points)] == [50, 2]
    assert len(competition.series) == 3


def test_columns_may_come_in_any_order_with_others_beside_them(root: Path) -> None:
    expected = tables.read_points(root / "train_label_coordinates.csv")
    frame = pd.read_csv(root / "train_label_coordinates.csv", dtype=str)
    frame.assign(note="x")[[*frame.columns[::-1], "note"]].to_csv(
        root / "p.csv", index=False
    )
    pd.testing.assert_frame_equal(tables.read_points(root / "p.csv"), expected)


def test_byte_order_mark_and_blank_lines_do_no_harm(root: Path) -> None:
    put(root, "s.csv", "\ufeff" + SERIES.replace("\n", "\r\n\r\n"))
    assert len(tables.read_series(root / "s.csv")) == 3


def test_blank_lines_leave_no_holes_in_the_index(root: Path) -> None:
    put(root, "s.csv", SERIES.replace("\n", "\n\n"))
    assert tables.read_series(root / "s.csv").index.tolist() == [0, 1, 2]


def test_a_site_marked_twice_keeps_both_points(root: Path) -> None:
    put(root, "p.csv", POINTS + POINTS.splitlines()[1].replace("322.5", "99") + "\n")
    points = tables.read_points(root / "p.csv")
    assert points["x"].tolist() == [322.5, 196.0, 99.0]


def test_two_studies_may_name_a_series_alike(root: Path) -> None:
    text = SERIES.replace("3201256954", "702807833")
    put(root, "s.csv", text)
    put(root, "test_series_descriptions.csv", text)
    for series in (tables.read_series(root / "s.csv"), tables.read_test_series(root)):
        assert series["study_id"].tolist() == [4003253, 4003253, 4646740]
        assert series["series_id"].tolist() == [702807833, 1054713880, 702807833]


# What they refuse


FAULTS = {
    "train.csv": [
        ("4646740", "46x", r"study_id '46x' on line 2 of train.csv is not a whole"),
        ("4646740", "", r"study_id '' on line 2"),
        ("4646740", "4646740.0", r"'4646740.0' on line 2 .* whole number"),
        ("4646740", "../../etc", r"'../../etc' on line 2"),
        ("4646740", "4003253", r"study_id 4003253 on line 3 .* already"),
        ("Severe", "Grave", r"stenosis_l4_l5 'Grave' on line 2 .*mild, moderate, sev"),
        ("Severe", "NA", r"stenosis_l4_l5 'NA' on line 2"),
        (
            "canal_stenosis_l4_l5",
            "canal_stenosis_l4l5",
            r"'.*l4_l5'; rename its '.*l4l5'",
        ),
    ],
    "train_label_coordinates.csv": [
        (
            "L5/S1",
            "L6/S1",
            r"level 'L6/S1' on line 3 .*l1_l2, l2_l3, l3_l4, l4_l5, l5_s1",
        ),
        (
            "Spinal Canal",
            "Spinal",
            r"condition 'Spinal Stenosis' on line 2 .*spinal_can",
        ),
        ("322.5", "nan", r"x 'nan' on line 2 .* finite number"),
        ("158", "inf", r"y 'inf' on line 3"),
        ("158", "", r"y '' on line 3"),
        (",8,", ",8b,", r"instance_number '8b' on line 2"),
        ("instance_number", "Instance Number", r"no column .*its 'Instance Number'"),
    ],
    "train_series_descriptions.csv": [
        (
            "Axial T2",
            "Coronal",
            r"'Coronal' on line 4 .*T1, Sagittal T2/STIR, Axial T2",
        ),
        ("1054713880", "702807833", r"series_id 702807833 on line 3 .* already"),
        (
            "series_description",
            "kind",
            r"_description'; it has 'study_id', 'series_id', 'kind'",
        ),
    ],
    "sample_submission.csv": [
        ("0.5", "half", r"normal_mild 'half' on line 2"),
        ("row_id,", ",row_id,", r"a column 'Unnamed: 0' beside row_id"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [(name, *fault) for name, faults in FAULTS.items() for fault in faults],
)
def test_a_wrong_cell_or_header_is_refused_with_its_position(
    root: Path, name: str, old: str, new: str, message: str
) -> None:
    text, read = READERS[name]
    assert old in text
    put(root, name, text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read(root / name)


@pytest.mark.parametrize("name", READERS)
def test_a_file_without_rows_or_content_is_refused(root: Path, name: str) -> None:
    text, read = READERS[name]
    put(root, name, text.splitlines()[0] + "\n")
    with pytest.raises(UserError, match=f"{name} has a header but no rows"):
        read(root / name)
    put(root, name, "")
    with pytest.raises(UserError, match=f"{name} is empty"):
        read(root / name)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content",
    [
        "study_id,Röntgen\n1,2\n".encode("latin-1"),
        "study_id,x\n1,2\n".encode("utf-16"),
        b"a,b\n1,2\n3,4,5\n",
        b'a,b\n1,"2\n',
        b"a,b\n1,2,3\n4,5,6\n",
    ],
    ids=["latin-1", "utf-16", "ragged", "open quote", "no name for a column"],
)
def test_an_unreadable_file_is_refused(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} (cannot be read|has longer rows)"):
        READERS[name][1](root / name)


def test_blank_lines_do_not_shift_the_line_that_is_named(root: Path) -> None:
    put(root, "s.csv", SERIES.replace("\n", "\n\n").replace("Axial", "Oblique"))
    with pytest.raises(UserError, match="on line 7"):
        tables.read_series(root / "s.csv")


def test_a_column_with_a_line_end_in_its_name_is_told_on_one_line(root: Path) -> None:
    put(root, tables.SERIES_FILE, '"a\nb",c\n1,2\n')
    with pytest.raises(UserError, match=r"it has 'a\\nb', 'c'\.$"):
        tables.read_series(root / tables.SERIES_FILE)


def test_the_number_of_wrong_rows_is_reported(root: Path) -> None:
    put(root, "s.csv", SERIES.replace("Sagittal", "Coronal"))
    with pytest.raises(UserError, match=r"line 2 of s.csv \(and 1 more\)"):
        tables.read_series(root / "s.csv")


# Files that are not where they are looked for


def test_a_nested_folder_is_found_and_named(root: Path) -> None:
    (root / "inner").mkdir()
    (root / "train.csv").rename(root / "inner" / "train.csv")
    with pytest.raises(UserError) as refusal:
        tables.read_training(root)
    assert str(refusal.value) == (
        f"train.csv is not in {root} but in {root / 'inner'}; give that one."
    )


def test_a_file_of_another_spelling_is_named(root: Path) -> None:
    (root / "train.csv").rename(root / "Train.csv.zip")
    with pytest.raises(
        UserError, match=r"train.csv is not in .*'Train.csv.zip'.*unzip"
    ):
        tables.read_training(root)


def test_a_folder_of_another_spelling_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=r"looked for in .*dta, .*'data' beside it"):
        tables.read_training(tmp_path / "dta")


def test_a_folder_unlike_any_other_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which is no folder; check its name"):
        tables.read_training(tmp_path / "nowhere" / "data")


# The hidden test


def test_image_folders_stand_beside_the_tables(tmp_path: Path) -> None:
    assert tables.image_folder(tmp_path, "train") == tmp_path / "train_images"
    assert tables.image_folder(tmp_path, "test") == tmp_path / "test_images"


def test_a_study_may_be_listed_by_a_series_a_folder_or_both(tmp_path: Path) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES)
    for name in ("4646740", "99", "100", ".cache", "12a", "007", "-5"):
        (tmp_path / "test_images" / name).mkdir(parents=True)
    put(tmp_path, "test_images/123", "a file, not a folder")
    assert tables.list_test_studies(tmp_path) == [99, 100, 4003253, 4646740]


def test_the_test_series_are_not_the_training_ones(root: Path) -> None:
    assert tables.read_test_series(root).empty
    text = SERIES.replace("4003253", "55").replace("4646740", "56")
    put(root, "test_series_descriptions.csv", text)
    assert tables.list_test_studies(root) == [55, 56]


def test_studies_are_listed_without_folders(tmp_path: Path) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES)
    assert tables.list_test_studies(tmp_path) == [4003253, 4646740]


def test_studies_are_listed_without_a_table(tmp_path: Path) -> None:
    (tmp_path / "test_images" / "44036939" / "1").mkdir(parents=True)
    assert tables.list_test_studies(tmp_path) == [44036939]
    assert tables.read_test_series(tmp_path).empty


@pytest.mark.parametrize(
    ("old", "new", "kept", "told"),
    [
        ("4646740", "201.0", 2, "1 of its 3 rows are left out"),
        ("4646740", "-5", 2, "1 of its 3 rows are left out"),
        ("study_id", "study", 0, "the table is left out"),
        (",", ";", 0, "the table is left out"),
    ],
)
def test_of_a_damaged_test_table_the_whole_rows_remain(
    tmp_path: Path, old: str, new: str, kept: int, told: str
) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES.replace(old, new))
    (tmp_path / "test_images" / "77").mkdir(parents=True)
    faults: list[str] = []
    series = tables.usable_test_series(tmp_path, faults.append)
    whole = [4003253, 4003253][:kept]
    assert series["study_id"].tolist() == whole
    assert tables.list_test_studies(tmp_path, series) == sorted({77, *whole})
    [fault] = faults
    assert told in fault
    assert tables.TEST_SERIES_FILE in fault


def test_a_whole_test_table_is_used_without_a_word(tmp_path: Path) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES)
    series = tables.usable_test_series(tmp_path, pytest.fail)
    pd.testing.assert_frame_equal(series, tables.read_test_series(tmp_path))


def test_blanks_around_names_and_cells_do_not_matter(tmp_path: Path) -> None:
    put(tmp_path, "s.csv", SERIES)
    spaced = put(tmp_path, "spaced.csv", SERIES.replace(",", " , "))
    pd.testing.assert_frame_equal(
        tables.read_series(spaced), tables.read_series(tmp_path / "s.csv")
    )


def test_a_long_cell_is_shortened_in_the_sentence(root: Path) -> None:
    put(root, "s.csv", SERIES.replace("Axial", "x" * 1_000_000))
    with pytest.raises(UserError, match=r"'x{60}\.\.\.' on line 4") as caught:
        tables.read_series(root / "s.csv")
    assert len(str(caught.value)) < 250


def test_no_study_at_all_is_refused(tmp_path: Path) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES.splitlines()[0] + "\n")
    (tmp_path / "test_images" / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="lists no test study"):
        tables.list_test_studies(tmp_path)


@pytest.mark.parametrize("words", ["Coronal T2", ""])
def test_an_unknown_test_series_keeps_its_words(tmp_path: Path, words: str) -> None:
    text = SERIES.replace("Axial T2", words) + SERIES.splitlines()[1]
    put(tmp_path, tables.TEST_SERIES_FILE, text)
    series = tables.read_test_series(tmp_path)
    assert series["study_id"].tolist() == [4003253, 4003253, 4646740]
    descriptions = series["series_description"]
    assert descriptions.isin(DESCRIPTIONS).tolist() == [True, True, False]
    assert descriptions.fillna("")[2] == words


def test_the_test_table_still_needs_whole_numbers(tmp_path: Path) -> None:
    put(tmp_path, tables.TEST_SERIES_FILE, SERIES.replace("4646740", "../x"))
    with pytest.raises(UserError, match=r"study_id '\.\./x' on line 4"):
        tables.list_test_studies(tmp_path)

"""Studies as the hidden test may give them: many series, odd rows, damaged files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, plane, write_series

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.inference.study import read_study

FROM_THE_HEAD = ((1, 0, 0), (0, -1, 0))
OBLIQUE = ((1, 0, 0), (0, np.cos(0.6), np.sin(0.6)))


def write(study: Path, series_id: int, axes: Sequence = SAGITTAL) -> Path:
    """Write a series of three slices, 4 mm apart."""
    across = np.cross(*np.array(axes, float))
    volume = np.random.default_rng(series_id).integers(0, 99, (3, 20, 24), "u2")
    planes = [plane(4 * index * across, axes) for index in range(3)]
    return write_series(study / str(series_id), volume, planes)


def listed(*rows: tuple[int, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["series_id", "series_description"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "77"


def test_all_series_of_a_type_are_joined(folder: Path) -> None:
    for series_id, axes in ((5, AXIAL), (6, OBLIQUE), (7, SAGITTAL)):
        write(folder, series_id, axes)
    rows = listed((5, AXIAL_T2), (7, SAGITTAL_T2), (6, AXIAL_T2))
    study = read_study(folder, rows)
    assert study.study_id == 77
    assert set(study.series) == {5, 6, 7}
    axial = study.overviews[AXIAL_T2]
    assert axial.slices["series_id"].tolist() == [5] * 3 + [6] * 3
    assert axial.stacks.tolist() == [0] * 3 + [1] * 3
    assert study.overviews[SAGITTAL_T2].slices["series_id"].tolist() == [7] * 3
    assert study.read_errors == {SAGITTAL_T1: "the study has no Sagittal T1 series"}


@pytest.mark.parametrize(
    ("axes", "read"),
    [
        (AXIAL, True),
        (FROM_THE_HEAD, True),
        (OBLIQUE, True),
        (SAGITTAL, False),
        (CORONAL, False),
    ],
)
def test_an_unlisted_series_is_axial_by_its_planes_or_skipped(
    folder: Path, axes: Sequence, read: bool
) -> None:
    write(folder, 4, axes)
    write(folder, 7)
    study = read_study(folder, listed((7, SAGITTAL_T2)))
    assert (AXIAL_T2 in study.overviews) is read
    assert set(study.series) == ({4, 7} if read else {7})


@pytest.mark.parametrize("words", [None, "", "series 4", "Axial"])
def test_a_series_of_a_blank_or_unknown_row_is_read_by_its_planes(
    folder: Path, words: str | None
) -> None:
    write(folder, 4, AXIAL)
    study = read_study(folder, listed((4, words), (7, SAGITTAL_T2)))
    assert study.overviews[AXIAL_T2].slices["series_id"].unique().tolist() == [4]
    called = f"described as {words!r}" if words else "no description"
    assert study.notes[AXIAL_T2].startswith("series 4 ")
    assert called in study.notes[AXIAL_T2]


def test_a_row_that_names_another_contrast_is_not_read(folder: Path) -> None:
    write(folder, 4, AXIAL)
    study = read_study(folder, listed((4, "Axial T1")))
    assert study.overviews == {}
    assert "series 4 is described as 'Axial T1'" in study.read_errors[AXIAL_T2]


def test_a_type_contradicted_by_the_planes_is_put_right_and_noted(folder: Path) -> None:
    write(folder, 4, AXIAL)
    write(folder, 7, SAGITTAL)
    rows = listed((4, SAGITTAL_T2), (7, SAGITTAL_T2))
    study = read_study(folder, rows)
    assert study.overviews[AXIAL_T2].slices["series_id"].unique().tolist() == [4]
    assert study.overviews[SAGITTAL_T2].slices["series_id"].unique().tolist() == [7]
    assert set(study.notes) == {AXIAL_T2}
    assert "'Sagittal T2/STIR' and has axial slices" in study.notes[AXIAL_T2]


def test_where_the_described_series_is_none_an_undescribed_one_is_read(
    folder: Path,
) -> None:
    write(folder, 4, CORONAL)
    write(folder, 6, AXIAL)
    study = read_study(folder, listed((4, AXIAL_T2)))
    assert study.overviews[AXIAL_T2].slices["series_id"].unique().tolist() == [6]


def test_where_a_row_lists_an_axial_series_no_other_is_guessed(folder: Path) -> None:
    write(folder, 4, AXIAL)
    write(folder, 5, AXIAL)
    study = read_study(folder, listed((5, AXIAL_T2)))
    assert set(study.series) == {5}
    assert study.overviews[AXIAL_T2].slices["series_id"].unique().tolist() == [5]


def test_a_damaged_series_costs_itself_and_is_reported_for_its_own_type(
    folder: Path,
) -> None:
    write(folder, 7)
    for path in write(folder, 6, AXIAL).iterdir():
        path.write_bytes(b"nothing")
    write(folder, 8)
    rows = listed((7, SAGITTAL_T2), (6, AXIAL_T2), (8, SAGITTAL_T1))
    study = read_study(folder, rows)
    assert set(study.overviews) == {SAGITTAL_T2, SAGITTAL_T1}
    assert set(study.read_errors) == {AXIAL_T2}
    assert "series 6" in study.read_errors[AXIAL_T2]
    assert str(folder) not in study.read_errors[AXIAL_T2]


def test_skipped_files_of_a_series_are_reported_without_a_persons_name(
    folder: Path,
) -> None:
    write(folder, 7)
    write(folder, 8)
    (folder / "7" / "2.dcm").write_bytes(b"nothing")
    (folder / "8" / "jane_doe.dcm").write_bytes(b"nothing")
    study = read_study(folder, listed((7, SAGITTAL_T2), (8, SAGITTAL_T1)))
    assert len(study.overviews[SAGITTAL_T2]) == 2
    assert len(study.overviews[SAGITTAL_T1]) == 3
    assert study.read_errors[SAGITTAL_T2].startswith("series 7, 2.dcm: ")
    assert study.read_errors[SAGITTAL_T1].startswith("series 8, a file: ")
    assert "jane" not in study.read_errors[SAGITTAL_T1]


def test_a_study_without_a_folder_has_a_read_error_of_each_type(folder: Path) -> None:
    study = read_study(folder, listed())
    assert (study.series, study.overviews) == ({}, {})
    assert set(study.read_errors) == {SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2}

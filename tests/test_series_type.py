"""A series' type: its row's words against its planes and its header."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, plane, write_slice
from pydicom.dataset import Dataset

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.series import Series, read_series
from src.imaging.series_type import (
    contrast_in,
    contrast_of_tags,
    plane_in,
    plane_of,
    series_type,
)

T1 = {"EchoTime": "10", "RepetitionTime": "550"}
T2 = {"EchoTime": "102", "RepetitionTime": "3600"}


def leaning(degrees: float) -> Sequence[Sequence[float]]:
    """Make the axes of an axial slice that leans towards a disc of the sacrum."""
    angle = np.radians(degrees)
    return ((1, 0, 0), (0, np.cos(angle), np.sin(angle)))


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(*stacks: Sequence, slices: int = 3, **tags: Any) -> Series:
        pixels = np.zeros((8, 8), "u2")
        number = 0
        for axes in stacks:
            across = np.cross(*np.array(axes, float))
            for step in range(slices):
                number += 1
                where = plane(4 * step * across, axes)
                write_slice(tmp_path / "5" / f"{number}.dcm", pixels, where, **tags)
        return read_series(tmp_path / "5")

    return write


@pytest.mark.parametrize(
    ("words", "axes", "tags", "expected"),
    [
        # The row is right: nothing to say.
        ("Axial T2", AXIAL, {}, AXIAL_T2),
        ("Sagittal T1", SAGITTAL, T1, SAGITTAL_T1),
        ("Sagittal T2/STIR", SAGITTAL, {}, SAGITTAL_T2),
        # No row, or a blank one: planes, and the header's contrast.
        ("", AXIAL, {}, AXIAL_T2),
        ("", AXIAL, T2, AXIAL_T2),
        ("", AXIAL, T1, None),
        ("", SAGITTAL, {}, None),
        ("", SAGITTAL, T1, SAGITTAL_T1),
        ("", SAGITTAL, T2, SAGITTAL_T2),
        ("", CORONAL, T2, None),
        # The row contradicts the planes.
        ("Sagittal T1", AXIAL, {}, AXIAL_T2),
        ("Sagittal T1", AXIAL, T1, None),
        ("Sagittal T1", AXIAL, T2, AXIAL_T2),
        ("Sagittal T2/STIR", AXIAL, {}, AXIAL_T2),
        ("Axial T2", SAGITTAL, {}, None),
        ("Axial T2", SAGITTAL, T2, SAGITTAL_T2),
        ("Axial T2", SAGITTAL, T1, SAGITTAL_T1),
        ("Axial T2", CORONAL, T2, None),
        ("Sagittal T1", CORONAL, {}, None),
        # The row contradicts the contrast.
        ("Sagittal T1", SAGITTAL, T2, SAGITTAL_T2),
        # Words of no known type.
        ("Axial", AXIAL, {}, AXIAL_T2),
        ("series 4", AXIAL, {}, AXIAL_T2),
        ("t2_tse_sag", SAGITTAL, {}, SAGITTAL_T2),
        ("Axial T1", AXIAL, {}, None),
        ("Axial PD", AXIAL, {}, None),
        ("Coronal T2", AXIAL, {}, None),
        ("T1 post", SAGITTAL, {}, SAGITTAL_T1),
        ("foo", SAGITTAL, {}, None),
    ],
)
def test_the_type_follows_from_row_planes_and_header(
    written: Any, words: str, axes: Sequence, tags: dict[str, str], expected: str | None
) -> None:
    found = series_type(written(axes, **tags), words)
    assert found.description == expected
    assert bool(found.reason) is (words != expected)
    if found.reason:
        assert (repr(words) if words else "no description") in found.reason
        assert (expected or "not used") in found.reason


def test_a_three_plane_localizer_is_no_series_of_any_type(written: Any) -> None:
    scout = written(AXIAL, SAGITTAL, CORONAL)
    assert plane_of(scout.headers) == "several planes"
    found = series_type(scout, "Sagittal T1")
    assert found.description is None
    assert "localizer" in found.reason


def test_a_few_slices_of_another_plane_do_not_change_the_type(written: Any) -> None:
    headers = [
        *written(AXIAL, slices=5).headers,
        *written(SAGITTAL, slices=2).headers[:1],
    ]
    assert plane_of(headers) == "axial"


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0, "axial"), (39, "axial"), (45, None), (55, "coronal")]
)
def test_a_slice_between_two_planes_has_none(
    written: Any, degrees: float, expected: str | None
) -> None:
    assert plane_of(written(leaning(degrees)).headers) == expected


def test_the_row_decides_for_slices_between_two_planes(written: Any) -> None:
    found = series_type(written(leaning(45)), "Axial T2")
    assert (found.description, found.reason) == (AXIAL_T2, "")


def test_a_long_description_is_shortened_in_the_reason(written: Any) -> None:
    assert len(series_type(written(SAGITTAL), "word " * 99).reason) < 150


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Sag T2", "sagittal"),
        ("SAGITTAL_T1", "sagittal"),
        ("t2 tra", "axial"),
        ("AX T2 FSE", "axial"),
        ("Cor STIR", "coronal"),
        ("ep2d trace", None),
        ("relaxation", None),
        ("", None),
    ],
)
def test_planes_in_words(words: str, expected: str | None) -> None:
    assert plane_in(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Sag T1", "T1"),
        ("sagT2", "T2"),
        ("AX_T2_TSE", "T2"),
        ("STIR sag", "T2"),
        ("PD/T2", "another contrast"),
        ("localizer", "another contrast"),
        ("ABCT2", None),
        ("", None),
    ],
)
def test_contrasts_in_words(words: str, expected: str | None) -> None:
    assert contrast_in(words) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (T1, "T1"),
        (T2, "T2"),
        ({**T2, "InversionTime": "160", "EchoTime": "45"}, "T2"),  # STIR
        ({"EchoTime": "12", "RepetitionTime": "2100", "InversionTime": "860"}, "T1"),
        ({**T2, "InversionTime": "2300"}, None),  # fluid is dark in it
        ({"EchoTime": "30", "RepetitionTime": "3000"}, None),  # proton density
        ({**T1, "ScanningSequence": "GR"}, None),
        ({"EchoTime": "102"}, None),
        ({**T2, "EchoTime": "0"}, None),
        ({}, None),
    ],
)
def test_contrast_by_times(tags: dict[str, str], expected: str | None) -> None:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    assert contrast_of_tags(dataset) == expected

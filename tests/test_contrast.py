"""Neighbours where several images share a position: echoes, phases and stations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import AXIAL, SAGITTAL, plane, write_slice

from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom import SliceHeader, read_header
from src.imaging.series import Series, read_series
from src.imaging.slice_order import OTHER_CONTRAST, SEVERAL_COPIES

Image = tuple[int, float, dict[str, Any]]  # file number, height in mm, tags
SHAPE = (24, 24)


def write(folder: Path, images: Sequence[Image]) -> Series:
    """Write axial images, each of the grey level of its file's number."""
    for number, height, tags in images:
        picture = np.full(SHAPE, number, "u2")
        picture[0] = 0, *range(1000, 1000 + SHAPE[1] - 1)
        where = plane((0, 0, height), AXIAL)
        write_slice(folder / f"{number}.dcm", picture, where, **tags)
    return read_series(folder)


def around(series: Series, number: int, before_after: int = 1) -> list[int]:
    """The files around a file."""
    near = series.neighbours(series.index_of(number), before_after)
    return [series.headers[index].instance_number for index in near]


def notes(series: Series, number: int) -> tuple[str, ...]:
    return series.neighbour_notes(series.index_of(number))


TELLING = {
    "echo time": ({"EchoTime": "20"}, {"EchoTime": "100"}),
    "echo number": ({"EchoNumbers": 1}, {"EchoNumbers": 2}),
    "Dixon": (
        {"ImageType": ["DERIVED", "PRIMARY", "W"]},
        {"ImageType": ["DERIVED", "PRIMARY", "F"]},
    ),
    "magnitude and phase": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
    ),
    "dynamics": (
        {"TemporalPositionIdentifier": 1},
        {"TemporalPositionIdentifier": 2},
    ),
    "acquisitions": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    "inversions": ({"InversionTime": "150"}, {"InversionTime": "2200"}),
    "series": ({"SeriesInstanceUID": "1.2.3"}, {"SeriesInstanceUID": "1.2.4"}),
    "a tag that one lacks": ({}, {"EchoNumbers": 2}),
}
HEIGHTS = (12.0, 8.0, 4.0, 0.0)


@pytest.mark.parametrize("by_slice", [True, False], ids=["1212", "1122"])
@pytest.mark.parametrize("kind", TELLING)
def test_neighbours_have_the_contrast_of_the_slice(
    tmp_path: Path, kind: str, by_slice: bool
) -> None:
    first, second = TELLING[kind]
    one, two = (
        ((1, 3, 5, 7), (2, 4, 6, 8)) if by_slice else ((1, 2, 3, 4), (5, 6, 7, 8))
    )
    images = [
        (number, height, tags)
        for numbers, tags in ((one, first), (two, second))
        for number, height in zip(numbers, HEIGHTS, strict=True)
    ]
    series = write(tmp_path, images)
    for numbers in (one, two):
        assert around(series, numbers[1]) == list(numbers[:3])
        assert around(series, numbers[1], 2) == [numbers[0], *numbers]
        assert around(series, numbers[3]) == [numbers[2], numbers[3], numbers[3]]
        assert notes(series, numbers[1]) == ()


def test_a_missing_echo_is_not_replaced_by_another_one(tmp_path: Path) -> None:
    early, late = {"EchoTime": "20"}, {"EchoTime": "100"}
    images = [(1 + i, height, early) for i, height in enumerate(HEIGHTS)]
    images += [(5 + i, height, late) for i, height in enumerate(HEIGHTS) if i != 2]
    series = write(tmp_path, images)
    assert around(series, 6) == [5, 6, 6]
    assert around(series, 6, 2) == [5, 5, 6, 6, 8]
    assert notes(series, 6) == (OTHER_CONTRAST,)
    assert around(series, 2) == [1, 2, 3]
    assert notes(series, 2) == ()
    crop = extract_crop(series, series.index_of(6), 12, 12, CropSpec(8, 8))
    np.testing.assert_array_equal(crop.pixels[2], crop.pixels[1])
    assert crop.notes == (OTHER_CONTRAST,)


def test_properties_that_differ_from_slice_to_slice_are_no_contrast(
    tmp_path: Path,
) -> None:
    # A number per file beside two echoes, and interleaved passes without any.
    echoes = [
        (1 + i, HEIGHTS[i // 2], {"EchoTime": str(20 + 80 * (i % 2))}) for i in range(8)
    ]
    images = [(n, h, {**tags, "AcquisitionNumber": n}) for n, h, tags in echoes]
    series = write(tmp_path / "echoes", images)
    assert around(series, 4) == [2, 4, 6]
    passes = [
        (1 + i, height, {"AcquisitionNumber": 1 + i % 2, "EchoTime": str(90 + i)})
        for i, height in enumerate(HEIGHTS)
    ]
    series = write(tmp_path / "passes", passes)
    assert around(series, 2) == [1, 2, 3]
    assert notes(series, 2) == ()


def test_passes_of_two_echoes_are_no_contrast(tmp_path: Path) -> None:
    images = [
        (
            1 + 4 * echo + i,
            height,
            {
                "EchoTime": str(20 + 80 * echo),
                "AcquisitionNumber": 1 + 2 * echo + i % 2,
            },
        )
        for echo in (0, 1)
        for i, height in enumerate(HEIGHTS)
    ]
    series = write(tmp_path, images)
    assert around(series, 2) == [1, 2, 3]
    assert around(series, 6) == [5, 6, 7]


def test_copies_without_a_telling_header_are_taken_by_their_rank(
    tmp_path: Path,
) -> None:
    images = [(1 + i, HEIGHTS[i % 4], {}) for i in range(8)]
    series = write(tmp_path, images)
    assert around(series, 6) == [5, 6, 7]
    assert around(series, 2) == [1, 2, 3]
    assert notes(series, 6) == (SEVERAL_COPIES,)
    crop = extract_crop(series, series.index_of(6), 12, 12, CropSpec(8, 8))
    assert crop.notes == (SEVERAL_COPIES,)


def test_sagittal_stations_one_above_the_other_are_told_apart(tmp_path: Path) -> None:
    for number in range(1, 9):
        x_mm, upper = 4 * ((number - 1) // 2), number % 2
        where = plane((x_mm, 0, 300 if upper else 0), SAGITTAL)
        write_slice(tmp_path / f"{number}.dcm", np.ones(SHAPE, "u2"), where)
    series = read_series(tmp_path)
    assert around(series, 3) == [1, 3, 5]
    assert around(series, 4) == [2, 4, 6]
    assert notes(series, 4) == ()


def test_a_malformed_contrast_tag_costs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    write_slice(path, np.ones(SHAPE, "u2"), plane((0, 0, 0)), EchoTime="4444.25")
    path.write_bytes(path.read_bytes().replace(b"4444.25", b"4,44.xy"))
    assert isinstance(read_header(path), SliceHeader)


# No positions


FILE_ORDER = "the series has one position for {} slices: they are in file order"


def test_slices_of_one_position_are_in_file_order_with_a_note(tmp_path: Path) -> None:
    series = write(tmp_path, [(number, 0.0, {}) for number in (12, 3, 7, 100)])
    assert [one.instance_number for one in series.headers] == [3, 7, 12, 100]
    assert around(series, 7) == [3, 7, 12]
    assert around(series, 100) == [12, 100, 100]
    assert notes(series, 7) == (FILE_ORDER.format(4),)
    crop = extract_crop(series, series.index_of(7), 12, 12, CropSpec(8, 8))
    # Grey levels 3, 7 and 12, between 0 and some 1020: they are not all the same.
    assert crop.pixels[0].max() < crop.pixels[2].min()
    assert crop.notes == (FILE_ORDER.format(4),)


def test_echoes_of_one_position_are_each_in_file_order(tmp_path: Path) -> None:
    series = write(
        tmp_path, [(1 + i, 0.0, {"EchoTime": str(20 + 80 * (i % 2))}) for i in range(8)]
    )
    assert around(series, 3) == [1, 3, 5]
    assert around(series, 4) == [2, 4, 6]


@pytest.mark.parametrize(
    "images",
    [
        [(1, 0.0, {}), (2, 0.0, {})],
        [(1 + i, 0.0, {"TemporalPositionIdentifier": i}) for i in range(20)],
    ],
    ids=["a file and its copy", "time points of one slice"],
)
def test_images_that_rightly_share_their_position_are_no_neighbours(
    tmp_path: Path, images: list[Image]
) -> None:
    series = write(tmp_path, images)
    assert around(series, 1) == [1, 1, 1]
    assert notes(series, 1) == ()

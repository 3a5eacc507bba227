"""Files read without dcmread: the same values as with it, whatever the file."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_dataset, write_slice
from pydicom import dcmread
from pydicom.data import DATA_ROOT
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from src.imaging import dicom
from src.imaging.dicom import DicomError, read_header, read_pixels
from src.imaging.dicom_errors import quiet
from src.imaging.dicom_file import read_ordinary
from src.imaging.series import read_series

SHIPPED = sorted((Path(DATA_ROOT) / "test_files").glob("*.dcm"))
PLANE = plane((10, -20, 30), SAGITTAL, (0.5, 0.75))
# The implicit length of so many pixels, 0x4444 bytes, looks like the name of a type.
PIXELS = np.arange(0x4444 // 2, dtype="u2").reshape(34, 257)
ORDINARY = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless)
OTHER = (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def outcome(path: Path) -> tuple[Any, ...]:
    """All that is read of a file, or why it is not."""
    read: list[Any] = []
    try:
        header = read_header(path)
        geometry = header.geometry
        read += [header.rows, header.columns, header.contrast_tags]
        read += [*geometry.position_mm, *geometry.axes.ravel(), *geometry.spacing_mm]
    except DicomError as error:
        read.append(error.reason)
    try:
        pixels = read_pixels(path)
        read += [pixels.dtype, pixels.shape, pixels.tobytes()]
    except DicomError as error:
        read.append(error.reason)
    return tuple(read)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_gives_what_it_gives_by_dcmread(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(shipped.read_bytes())
    found = outcome(path)
    monkeypatch.setattr(dicom, "read_ordinary", lambda *_: None)
    assert found == outcome(path)


@pytest.mark.parametrize("syntax", [*ORDINARY, *OTHER], ids=lambda uid: uid.keyword)
def test_only_ordinary_syntaxes_are_read_without_dcmread(
    syntax: UID, tmp_path: Path
) -> None:
    path = write_dataset(slice_dataset(PIXELS, PLANE), tmp_path / "1.dcm", syntax)
    assert (read_header(path).file is None) is (syntax in OTHER)
    np.testing.assert_array_equal(read_pixels(path), PIXELS)


def test_elements_are_where_pydicom_finds_them(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "1.dcm", PIXELS, PLANE)
    file = read_ordinary(path, [0x00280010, 0x00280030, 0x7FE00010])
    truth = dcmread(path)
    assert file is not None
    dataset = file.with_pixels()
    assert sorted(file.elements) == [0x00280010, 0x00280030]
    assert (dataset.Rows, dataset.PixelSpacing) == (truth.Rows, truth.PixelSpacing)
    assert dataset.PixelData == truth.PixelData
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_a_file_that_names_another_syntax_is_left_to_dcmread(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "1.dcm", PIXELS, PLANE)
    used, named = (
        uid.encode().ljust(len(ExplicitVRLittleEndian) + 1, b"\0")
        for uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    )
    whole = path.read_bytes()
    assert read_ordinary(path, [0x00280010]) is not None
    path.write_bytes(whole.replace(used, named, 1))
    assert read_ordinary(path, [0x00280010]) is None
    np.testing.assert_array_equal(read_pixels(path), PIXELS)


def test_pixels_are_read_from_where_the_header_found_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slice(tmp_path / "1.dcm", PIXELS, PLANE)
    series = read_series(tmp_path)

    def refuse(*_: Any) -> None:
        raise AssertionError("parsed twice")

    monkeypatch.setattr(dicom, "read_ordinary", refuse)
    monkeypatch.setattr(dicom, "read_tags", refuse)
    np.testing.assert_array_equal(series.pixels(0), PIXELS)


def test_pixels_cut_short_are_refused(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "1.dcm", PIXELS, PLANE)
    path.write_bytes(path.read_bytes()[:-10])
    assert read_header(path).rows == len(PIXELS)
    with pytest.raises(DicomError, match="cut short"):
        read_pixels(path)


def test_silence_can_be_nested_and_ends_with_the_outermost_block() -> None:
    with quiet():
        with quiet():
            pass
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("a patient's name", stacklevel=1)
        assert caught == []
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)

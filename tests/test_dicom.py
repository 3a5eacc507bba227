"""DICOM files: what is read, and the one sentence for what cannot be."""

import logging
import os
import pickle
import random
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_dataset, write_slice
from pydicom import config
from pydicom.data import DATA_ROOT
from pydicom.dataelem import DataElement
from pydicom.pixels.decoders import JPEGLSLosslessDecoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from src.imaging.dicom import DicomError, read_header, read_pixels

SHIPPED = Path(DATA_ROOT) / "test_files"
PLANE = plane((10, -20, 30), SAGITTAL, (0.5, 0.75))
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)


def ramp(dtype: str, low: int, high: int) -> np.ndarray:
    """A [7, 5] picture from the lowest to the highest value."""
    return np.linspace(low, high, 35).round().astype(dtype).reshape(7, 5)


def copied(name: str, folder: Path) -> Path:
    path = folder / "1.dcm"
    path.write_bytes((SHIPPED / name).read_bytes())
    return path


def complaint(read: Callable[[Path], Any], path: Path) -> str:
    """What is wrong with a file, which must be one plain sentence."""
    with pytest.raises(DicomError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path} ")
    assert text.endswith(".")
    assert text.isprintable()
    return text.removeprefix(f"{path} ")


def test_a_header_has_path_shape_and_geometry(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "12.dcm", ramp("u2", 0, 9), PLANE)
    header = read_header(path)
    assert (header.path, header.instance_number) == (path, 12)
    assert (header.rows, header.columns) == (7, 5)
    # Sagittal: columns go to the back (y), rows to the feet (against z).
    at = header.geometry.to_patient([3, 2])
    np.testing.assert_allclose(at, [10, -20 + 3 * 0.5, 30 - 2 * 0.75])
    np.testing.assert_allclose(header.centre_mm, [10, -20 + 2 * 0.5, 30 - 3 * 0.75])


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(-0.5, 0, True), (4.5, 6.5, True), (-0.51, 0, False), (2, 6.51, False)],
)
def test_image_ends_at_the_outer_edge_of_its_outer_pixels(
    tmp_path: Path, x: float, y: float, inside: bool
) -> None:
    header = read_header(write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE))
    assert header.contains(x, y) is inside


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("u1", 0, 255), ("u2", 0, 65535), ("i2", -32768, 32767)]
)
def test_pixels_come_back_from_every_plain_syntax(
    tmp_path: Path, syntax: UID, dtype: str, low: int, high: int
) -> None:
    pixels = ramp(dtype, low, high)
    dataset = slice_dataset(pixels, PLANE)
    found = read_pixels(write_dataset(dataset, tmp_path / "1.dcm", syntax))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize(("dtype", "low", "high"), [("u2", 0, 4095), ("i2", -9, 2047)])
def test_bits_that_are_not_stored_count_for_nothing(
    tmp_path: Path, dtype: str, low: int, high: int, shift: int
) -> None:
    pixels = ramp(dtype, low, high)
    junk = 0b1010 << 12 if shift == 0 else 0b1010
    words = ((pixels.astype("u2") & 0xFFF) << shift | junk).astype("u2").view(dtype)
    tags = {"BitsStored": 12, "HighBit": 11 + shift}
    found = read_pixels(write_slice(tmp_path / "1.dcm", words, PLANE, **tags))
    np.testing.assert_array_equal(found, pixels)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    tags = {"RescaleSlope": "0.5", "RescaleIntercept": "-100"}
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 340), PLANE, **tags)
    np.testing.assert_allclose(read_pixels(path), ramp("f4", 0, 340) / 2 - 100)


@pytest.mark.parametrize("empty", ["", "0"])
def test_an_empty_or_zero_slope_is_ignored(tmp_path: Path, empty: str) -> None:
    pixels = ramp("u2", 0, 340)
    path = write_slice(tmp_path / "1.dcm", pixels, PLANE, RescaleSlope=empty)
    np.testing.assert_array_equal(read_pixels(path), pixels)


@pytest.mark.parametrize(
    ("dtype", "stored", "total"), [("u2", 12, 4095), ("i2", 16, -1)]
)
def test_inverted_pictures_are_turned_bright_on_one_scale(
    tmp_path: Path, dtype: str, stored: int, total: int
) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": stored}
    for number, pixels in enumerate([ramp(dtype, 5, 900), ramp(dtype, 300, 400)]):
        path = write_slice(tmp_path / f"{number}.dcm", pixels, PLANE, **tags)
        np.testing.assert_array_equal(read_pixels(path), total - pixels.astype(int))


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("MR_small_RLE", None),
        ("MR_small_bigendian", None),
        ("MR_small_expb", None),
        ("MR_small_implicit", None),
        ("MR_small_padded", None),
        ("MR_small_jp2klossless", "openjpeg"),
        ("MR_small_jpeg_ls_lossless", "libjpeg"),
    ],
)
def test_shipped_variants_hold_the_same_picture(
    tmp_path: Path, name: str, needs: str | None
) -> None:
    if needs:
        pytest.importorskip(needs)
    plain = read_pixels(copied("MR_small.dcm", tmp_path))
    assert (plain.shape, plain.min(), plain.max()) == ((64, 64), 127, 2145)
    variant = copied(f"{name}.dcm", tmp_path)
    np.testing.assert_array_equal(read_pixels(variant), plain)
    np.testing.assert_allclose(
        read_header(variant).geometry.position_mm, [-83.9063, -91.2, 6.6406]
    )


@pytest.mark.parametrize(
    "path", sorted(SHIPPED.glob("*.dcm")), ids=lambda path: path.name
)
@pytest.mark.parametrize("read", [read_header, read_pixels])
def test_shipped_files_are_read_or_refused_in_a_sentence(
    tmp_path: Path, path: Path, read: Callable[[Path], Any]
) -> None:
    try:
        read(copied(path.name, tmp_path))
    except DicomError:
        complaint(read, tmp_path / "1.dcm")


def test_truncated_file_has_a_header_and_no_pixels(tmp_path: Path) -> None:
    path = copied("MR_truncated.dcm", tmp_path)
    assert read_header(path).rows == 64
    assert "cut short" in complaint(read_pixels, path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImagePositionPatient": None}, "has no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "has no ImageOrientationPatient"),
        ({"PixelSpacing": None}, "has no PixelSpacing"),
        ({"PixelSpacing": ""}, "has no PixelSpacing"),
        ({"PixelSpacing": "1"}, "has no PixelSpacing"),
        ({"PixelSpacing": ["0", "1"]}, "0.05 to 20 are expected"),
        ({"PixelSpacing": ["-1", "1"]}, "0.05 to 20 are expected"),
        ({"PixelSpacing": ["1", "1e9"]}, "of 1 and 1e+09 mm, and 0.05 to 20"),
        ({"ImageOrientationPatient": list("100100")}, "skewed axes"),
        ({"ImageOrientationPatient": list("000010")}, "skewed axes"),
        ({"ImageOrientationPatient": list("200010")}, "skewed axes"),
        ({"NumberOfFrames": 8}, "holds 8 frames"),
        ({"SamplesPerPixel": 3}, "colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
        ({"Rows": None}, "holds no image"),
    ],
)
def test_a_header_that_is_not_one_grey_slice_with_a_position_is_refused(
    tmp_path: Path, tags: dict[str, Any], message: str
) -> None:
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    assert message in complaint(read_header, path)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.dcm")
    assert (
        complaint(read_header, tmp_path / "1.dcm") == "is no regular file; remove it."
    )


def test_nearly_orthogonal_axes_are_made_so(tmp_path: Path) -> None:
    axes = ["0.9999", "0.001", "0", "0.002", "1.0001", "0"]
    tags = {"ImageOrientationPatient": axes}
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    found = read_header(path).geometry
    both = np.stack([found.right, found.down])
    np.testing.assert_allclose(both @ both.T, np.eye(2), atol=1e-12)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelData": None}, "holds no pixels"),
        ({"PixelData": b"\0\0"}, "cut short"),
        ({"BitsStored": 20}, "a BitsStored of 20 and a HighBit of 19"),
        ({"HighBit": 3, "BitsStored": 12}, "a BitsStored of 12 and a HighBit of 3"),
        ({"NumberOfFrames": 2}, "holds 2 frames"),
    ],
)
def test_pixels_that_are_not_there_are_refused(
    tmp_path: Path, tags: dict[str, Any], message: str
) -> None:
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    assert message in complaint(read_pixels, path)


@pytest.mark.parametrize("syntax", SYNTAXES[:2], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("skipped", [128, 132], ids=["preamble", "and DICM"])
def test_a_file_without_its_beginning_is_read(
    tmp_path: Path, syntax: UID, skipped: int
) -> None:
    pixels = ramp("u2", 0, 900)
    path = write_dataset(slice_dataset(pixels, PLANE), tmp_path / "1.dcm", syntax)
    path.write_bytes(path.read_bytes()[skipped:])
    assert read_header(path).geometry.spacing_mm == (0.5, 0.75)
    np.testing.assert_array_equal(read_pixels(path), pixels)


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("preamble", [b"", bytes(128) + b"DICM"], ids=["bare", "full"])
def test_without_a_transfer_syntax_it_is_seen_from_the_tags(
    tmp_path: Path, syntax: UID, preamble: bytes
) -> None:
    if syntax == ExplicitVRBigEndian and not preamble:
        return  # begins like no other DICOM file
    pixels = ramp("u2", 0, 900)
    dataset = slice_dataset(pixels, PLANE)
    path = write_dataset(dataset, tmp_path / "1.dcm", syntax)
    body = path.read_bytes()
    # What follows the group of file tags, whose length is in the first of them.
    length = int.from_bytes(body[140:144], "little")
    path.write_bytes(preamble + body[144 + length :])
    assert read_header(path).geometry.spacing_mm == (0.5, 0.75)
    np.testing.assert_array_equal(read_pixels(path), pixels)


def test_compressed_pixels_without_a_transfer_syntax_are_refused(
    tmp_path: Path,
) -> None:
    path = copied("MR_small_RLE.dcm", tmp_path)
    body = path.read_bytes()
    length = int.from_bytes(body[140:144], "little")
    path.write_bytes(body[144 + length :])
    assert "has no TransferSyntaxUID" in complaint(read_pixels, path)


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DS", "0,75\\0,5"),
        ("DS", " 0.75 \\ 0.5 "),
        ("LO", "0.75\\0.5"),
        ("LO", "0,75\\0,5"),
        ("UN", b"0.75\\0.5"),
        ("FD", [0.75, 0.5]),
        ("FL", [0.75, 0.5]),
    ],
)
@pytest.mark.parametrize("syntax", SYNTAXES[:2], ids=lambda uid: uid.keyword)
def test_numbers_are_read_from_other_types_and_with_a_decimal_comma(
    tmp_path: Path, syntax: UID, vr: str, value: Any
) -> None:
    if syntax == ImplicitVRLittleEndian and vr in ("FD", "FL"):
        return  # nothing tells that these bytes are not text
    dataset = slice_dataset(ramp("u2", 0, 9), PLANE, PixelSpacing=None)
    path = tmp_path / "1.dcm"
    with config.disable_value_validation():
        if vr == "DS":  # pydicom refuses to hold such text as a number
            dataset.add(DataElement("PixelSpacing", "LO", value))
            write_dataset(dataset, path, syntax)
            spelt = b"\x28\x00\x30\x00"
            path.write_bytes(path.read_bytes().replace(spelt + b"LO", spelt + b"DS"))
        else:
            dataset.add(DataElement("PixelSpacing", vr, value))
            write_dataset(dataset, path, syntax)
    assert read_header(path).geometry.spacing_mm == (0.5, 0.75)


@pytest.mark.parametrize("text", ["0.75,0.5", "0.75/0.5", "0.75\\nan", "Doe\\Jane"])
def test_numbers_that_could_mean_several_things_are_refused(
    tmp_path: Path, text: str
) -> None:
    dataset = slice_dataset(ramp("u2", 0, 9), PLANE, PixelSpacing=None)
    dataset.add(DataElement("PixelSpacing", "LO", text))
    reason = complaint(read_header, write_dataset(dataset, tmp_path / "1.dcm"))
    assert "has no PixelSpacing of 2 numbers, so its scale is unknown" in reason
    assert "Doe" not in reason


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize(
    "missing",
    [
        ["PhotometricInterpretation"],
        ["SamplesPerPixel"],
        ["SamplesPerPixel", "PhotometricInterpretation"],
        ["HighBit"],
        ["BitsStored", "HighBit"],
        ["PixelRepresentation"],
        ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"],
    ],
    ids="+".join,
)
def test_missing_tags_that_follow_from_the_others_are_filled_in(
    tmp_path: Path, dtype: str, missing: list[str]
) -> None:
    pixels = ramp(dtype, 0, 200)
    tags = dict.fromkeys(missing)
    path = write_slice(tmp_path / "1.dcm", pixels, PLANE, **tags)
    assert read_header(path).rows == 7
    np.testing.assert_array_equal(read_pixels(path), pixels)


@pytest.mark.parametrize("text", ["1", " 1 ", "01", "", "1\\1"])
def test_one_frame_may_be_spelt_in_several_ways(tmp_path: Path, text: str) -> None:
    dataset = slice_dataset(ramp("u2", 0, 9), PLANE)
    dataset.add(DataElement("NumberOfFrames", "LO", text))
    path = write_dataset(dataset, tmp_path / "1.dcm")
    assert read_header(path).rows == 7
    assert read_pixels(path).max() == 9


def test_a_slope_given_twice_is_read_and_two_slopes_are_refused(tmp_path: Path) -> None:
    pixels = ramp("u2", 0, 340)
    path = write_slice(tmp_path / "1.dcm", pixels, PLANE, RescaleSlope=["2", "2.0"])
    np.testing.assert_array_equal(read_pixels(path), pixels * 2)
    path = write_slice(path, pixels, PLANE, RescaleSlope=["2", "3"])
    assert "2 different numbers in its RescaleSlope" in complaint(read_pixels, path)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "1e38"},
        {"RescaleSlope": "1e-38"},
        {"RescaleIntercept": "1e30"},
        {"RescaleSlope": "0.001", "RescaleIntercept": "-1e6"},
    ],
)
def test_numbers_beside_which_the_pixels_vanish_are_refused(
    tmp_path: Path, tags: dict[str, str]
) -> None:
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 340), PLANE, **tags)
    assert "beside which its pixels vanish" in complaint(read_pixels, path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": 0}, "has no Rows"),
        ({"Columns": None}, "has no Columns"),
        ({"Rows": 60000, "Columns": 60000}, "60000 Rows and 60000 Columns"),
        ({"SamplesPerPixel": 3}, "by its SamplesPerPixel"),
        ({"NumberOfFrames": 8}, "by its NumberOfFrames"),
    ],
)
@pytest.mark.parametrize("read", [read_header, read_pixels])
def test_sizes_that_are_no_slice_are_named(
    tmp_path: Path, tags: dict[str, Any], message: str, read: Callable[[Path], Any]
) -> None:
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    tracemalloc.start()
    assert message in complaint(read, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_bits_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, BitsAllocated=12)
    assert "has a BitsAllocated of 12" in complaint(read_pixels, path)


@pytest.mark.parametrize("name", ["scan.dcm", "007.dcm", "7.DCM", "-7.dcm", "._7.dcm"])
def test_file_must_be_named_by_its_instance_number(tmp_path: Path, name: str) -> None:
    path = write_slice(tmp_path / name, ramp("u2", 0, 9), PLANE)
    assert "like 12.dcm" in complaint(read_header, path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\0" * 4000])
@pytest.mark.parametrize("read", [read_header, read_pixels])
def test_other_files_are_no_dicom_files(
    tmp_path: Path, content: bytes, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(content)
    assert "not a DICOM file" in complaint(read, path)


def test_folder_or_missing_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").mkdir()
    assert "is a directory" in complaint(read_header, tmp_path / "1.dcm").lower()
    assert "no such file" in complaint(read_pixels, tmp_path / "2.dcm").lower()


def test_missing_decoder_is_named_with_the_packages_that_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    path = copied("MR_small_jpeg_ls_lossless.dcm", tmp_path)
    message = complaint(read_pixels, path)
    assert "JPEG-LS Lossless" in message
    assert "`pip install pylibjpeg pylibjpeg-libjpeg`" in message


def test_syntax_that_python_cannot_decode_is_named(tmp_path: Path) -> None:
    path = copied("MR_small_jpeg_ls_lossless.dcm", tmp_path)
    retired, jpeg_ls = b"1.2.840.10008.1.2.4.52", b"1.2.840.10008.1.2.4.80"
    path.write_bytes(path.read_bytes().replace(jpeg_ls, retired))
    assert "Process 3 and 5), which has no Python decoder" in complaint(
        read_pixels, path
    )


def test_compressed_pixels_that_do_not_decode_are_refused(tmp_path: Path) -> None:
    path = copied("JPEG-lossy.dcm", tmp_path)
    assert "JPEG Extended" in complaint(read_pixels, path)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_cut_and_overwritten_files_raise_nothing_else(
    tmp_path: Path, syntax: UID
) -> None:
    dataset = slice_dataset(ramp("u2", 0, 900), PLANE)
    path = write_dataset(dataset, tmp_path / "1.dcm", syntax)
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in chance.sample(range(132, len(whole)), 3):
            broken[place] = chance.randrange(256)
        path.write_bytes(broken[: chance.choice([None, chance.randrange(len(whole))])])
        for read in (read_header, read_pixels):
            with suppress(DicomError):
                read(path)


def test_a_silent_reader_quotes_no_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tags = {"PatientName": "Secret", "NumberOfFrames": 1, "PixelSpacing": ["0.11", "1"]}
    path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    path.write_bytes(path.read_bytes().replace(b"0.11", b"Secr"))
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        assert "Secr" not in complaint(read_header, path)
        complaint(read_pixels, copied("JPEG-lossy.dcm", tmp_path))
    assert caught == []
    assert caplog.records == []


def test_numbers_longer_than_the_standard_allows_are_read(tmp_path: Path) -> None:
    with config.disable_value_validation():
        tags = {"PixelSpacing": ["0.4687500000000000000", "0.3125000000000000000"]}
        path = write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE, **tags)
    with config.strict_reading():
        assert read_header(path).geometry.spacing_mm == (0.3125, 0.46875)


def test_pydicom_is_left_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pydicom")
    with config.strict_reading():
        read_pixels(write_slice(tmp_path / "1.dcm", ramp("u2", 0, 9), PLANE))
        complaint(read_pixels, tmp_path / "2.dcm")
        assert config.settings.reading_validation_mode == config.RAISE
    assert logging.getLogger("pydicom").level == logging.INFO


def test_the_sentence_survives_pickling() -> None:
    error = DicomError(Path("1.dcm"), "is damaged")
    assert str(pickle.loads(pickle.dumps(error))) == "1.dcm is damaged."

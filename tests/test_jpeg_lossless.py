"""JPEG Lossless: every value exact, also where differences wrap."""

import struct
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_encapsulated
from lossless_jpeg import encode_lossless
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

from src.imaging.dicom import DicomError, read_pixels
from src.imaging.jpeg_lossless import decode_lossless

PLANE = plane((0, 0, 0), SAGITTAL)


def noise(precision: int) -> np.ndarray:
    """All values of a precision, so that differences of every size occur."""
    return np.random.default_rng(precision).integers(0, 2**precision, (23, 19))


@pytest.mark.parametrize("wrap", [False, True], ids=["near way", "other way round"])
@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [8, 10, 12, 16])
def test_every_predictor_and_precision_comes_back(
    precision: int, predictor: int, wrap: bool
) -> None:
    pixels = noise(precision)
    stream = encode_lossless(pixels, precision, predictor, wrap)
    np.testing.assert_array_equal(decode_lossless(stream), pixels)


def test_hand_worked_differences_wrap() -> None:
    # 128 predicted, 52 = 128 - 76; then 52 - 180 = -128, which is 128 modulo 256.
    pixels = np.array([[52, 128]])
    for wrap in (False, True):
        stream = encode_lossless(pixels, 8, wrap=wrap)
        assert decode_lossless(stream).tolist() == [[52, 128]]


def test_the_widest_difference_has_no_sign() -> None:
    # 32768 predicted first: half of 2^16 down, then half of it up.
    stream = encode_lossless(np.array([[0, 32768, 0]]), 16)
    assert decode_lossless(stream).tolist() == [[0, 32768, 0]]


@pytest.mark.parametrize("precision", [8, 12, 16])
def test_the_installed_decoder_agrees_where_nothing_wraps(precision: int) -> None:
    libjpeg = pytest.importorskip("libjpeg")
    stream = encode_lossless(noise(precision), precision)
    other = libjpeg.decode(stream).reshape(23, 19)
    np.testing.assert_array_equal(decode_lossless(stream), other)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
@pytest.mark.parametrize("signed", [False, True])
def test_wrapping_file_is_read_as_its_plain_twin(
    tmp_path: Path, syntax: str, signed: bool
) -> None:
    pixels = noise(12).astype("i2") - 2048 * signed
    dataset = slice_dataset(
        pixels.astype("i2" if signed else "u2"), PLANE, BitsStored=12
    )
    stream = encode_lossless(pixels % 4096, 12, wrap=True)
    path = write_encapsulated(dataset, tmp_path / "1.dcm", syntax, [stream])
    np.testing.assert_array_equal(read_pixels(path), pixels)


def test_a_shipped_file_is_told_to_be_colour() -> None:
    # The only JPEG Lossless file at hand from another encoder has three components.
    dataset = dcmread(get_testdata_file("SC_rgb_jpeg_gdcm.dcm"))
    with pytest.raises(ValueError, match="component"):
        decode_lossless(dataset.PixelData[dataset.PixelData.index(b"\xff\xd8") :])


@pytest.mark.parametrize("cut", [0, 2, 30, 60, 100, -3])
def test_a_damaged_stream_is_refused(tmp_path: Path, cut: int) -> None:
    stream = encode_lossless(noise(12), 12)[:cut]
    dataset = slice_dataset(noise(12).astype("u2"), PLANE, BitsStored=12)
    path = write_encapsulated(dataset, tmp_path / "1.dcm", JPEGLosslessSV1, [stream])
    with pytest.raises(DicomError, match=r"and does not decode; download it again"):
        read_pixels(path)


def test_what_lossless_dicom_images_do_not_have_is_refused() -> None:
    plain = encode_lossless(noise(8), 8)
    scan = plain.index(b"\xff\xda")
    with_transform = bytearray(plain)
    with_transform[scan + 9] = 1
    for stream in (
        bytes(with_transform),
        plain.replace(b"\xff\xd9", b"\xff\xd0\0\xff\xd9"),
    ):
        with pytest.raises(ValueError, match=r"plain component|restart intervals"):
            decode_lossless(stream)


def test_a_small_stream_of_a_huge_image_is_refused_at_once() -> None:
    stream = encode_lossless(noise(8), 8)
    huge = stream.replace(struct.pack(">HH", 23, 19), struct.pack(">HH", 60000, 60000))
    began = time.perf_counter()
    with pytest.raises(ValueError, match="cut short"):
        decode_lossless(huge)
    assert time.perf_counter() - began < 1


def test_flipped_bytes_raise_nothing_but_an_error_that_is_caught() -> None:
    rng = np.random.default_rng(0)
    whole = encode_lossless(noise(8), 8)
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 2):
            broken[place] = rng.integers(256)
        with suppress(ValueError, LookupError, struct.error):
            decode_lossless(bytes(broken))

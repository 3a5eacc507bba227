"""Compressed images that are not what their header says."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_encapsulated
from lossless_jpeg import encode_lossless
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGLosslessSV1, RLELossless

from src.imaging.dicom import DicomError, read_pixels

PLANE = plane((0, 0, 0), SAGITTAL)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10)).astype("u2")
STREAM = encode_lossless(PIXELS, 8)
MR_FILES = ["MR_small_jp2klossless", "MR_small_jpeg_ls_lossless"]


def complaint(path: Path) -> str:
    with pytest.raises(DicomError) as caught:
        read_pixels(path)
    return caught.value.reason


def written(folder: Path, *fragments: bytes, **tags: Any) -> Path:
    dataset = slice_dataset(PIXELS, PLANE, **tags)
    path = folder / "1.dcm"
    return write_encapsulated(dataset, path, JPEGLosslessSV1, list(fragments))


def shipped(name: str) -> tuple[Dataset, bytes]:
    dataset = dcmread(get_testdata_file(f"{name}.dcm"))
    return dataset, next(generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 10, "Columns": 12},
        {"Rows": 11},
        {"Columns": 9},
        {"Rows": 6, "Columns": 20},
    ],
)
def test_another_size_than_the_header_is_named(
    tmp_path: Path, tags: dict[str, int]
) -> None:
    said = f"say {tags.get('Rows', 12)} x {tags.get('Columns', 10)} and 1"
    reason = complaint(written(tmp_path, STREAM, **tags))
    assert "image of 12 x 10 pixels and 1 samples" in reason
    assert said in reason


@pytest.mark.parametrize("name", MR_FILES)
def test_other_compressions_of_another_size_are_refused_too(
    tmp_path: Path, name: str
) -> None:
    pytest.importorskip("openjpeg")
    dataset, stream = shipped(name)
    dataset.Rows, dataset.Columns = 32, 128
    syntax = dataset.file_meta.TransferSyntaxUID
    path = write_encapsulated(dataset, tmp_path / "1.dcm", syntax, [stream])
    assert "image of 64 x 64 pixels" in complaint(path)


@pytest.mark.parametrize(
    ("precision", "tags"),
    [
        (12, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (8, {"PixelRepresentation": 1, "BitsStored": 12}),
    ],
)
def test_bits_that_the_header_has_no_room_for_are_named(
    tmp_path: Path, precision: int, tags: dict[str, int]
) -> None:
    reason = complaint(written(tmp_path, encode_lossless(PIXELS, precision), **tags))
    assert f"image of {precision} bits, and its BitsStored says" in reason


@pytest.mark.parametrize("precision", [8, 12, 16])
def test_a_lossless_image_may_count_other_bits_than_the_header(
    tmp_path: Path, precision: int
) -> None:
    path = written(tmp_path, encode_lossless(PIXELS, precision), BitsStored=12)
    np.testing.assert_array_equal(read_pixels(path), PIXELS)


def test_an_image_may_be_in_pieces_and_two_images_may_not(tmp_path: Path) -> None:
    half = len(STREAM) // 4 * 2
    path = written(tmp_path, STREAM[:half], STREAM[half:])
    np.testing.assert_array_equal(read_pixels(path), PIXELS)
    assert "holds 2 images" in complaint(written(tmp_path, STREAM, STREAM))


@pytest.mark.parametrize("name", MR_FILES)
def test_two_images_of_other_compressions_are_refused(
    tmp_path: Path, name: str
) -> None:
    dataset, stream = shipped(name)
    syntax = dataset.file_meta.TransferSyntaxUID
    path = write_encapsulated(dataset, tmp_path / "1.dcm", syntax, [stream, stream])
    assert "holds 2 images" in complaint(path)


def run_lengths(planes: list[bytes]) -> bytes:
    """Planes of bytes, each as literal runs of up to 128."""
    coded = []
    for values in planes:
        runs = [values[i : i + 128] for i in range(0, len(values), 128)]
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        coded.append(packed + b"\0" * (len(packed) % 2))
    starts = [64 + sum(map(len, coded[:i])) for i in range(len(coded))]
    header = struct.pack("<16I", len(coded), *starts, *[0] * (15 - len(coded)))
    return header + b"".join(coded)


@pytest.mark.parametrize(
    ("planes", "readable"),
    [
        ((1, 0), True),
        ((0,), False),
        ((1, 0, 0), False),
        ((1, "short"), False),
        ((1, "long"), False),
    ],
)
def test_run_lengths_of_other_planes_or_sizes_are_refused(
    tmp_path: Path, planes: tuple[int | str, ...], readable: bool
) -> None:
    low, high = (PIXELS & 255).astype("u1"), (PIXELS >> 8).astype("u1")
    made = {0: low, 1: high, "short": low[:-1], "long": np.vstack([low, low])}
    stream = run_lengths([made[name].tobytes() for name in planes])
    dataset = slice_dataset(PIXELS, PLANE)
    path = write_encapsulated(dataset, tmp_path / "1.dcm", RLELossless, [stream])
    if readable:
        np.testing.assert_array_equal(read_pixels(path), PIXELS)
    else:
        assert "cut short or damaged" in complaint(path)
    path = write_encapsulated(dataset, path, RLELossless, [stream, stream])
    assert "holds 2 images" in complaint(path)

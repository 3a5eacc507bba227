"""Compressed images lose their texts on import, and nothing of their pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_encapsulated
from lossless_jpeg import encode_lossless
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import (
    MPEG2MPML,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from src.imaging.clean_slice import write_clean_slice
from src.imaging.clean_stream import without_texts
from src.imaging.dicom import read_pixels
from src.imaging.dicom_errors import DicomError

NAME = b"QZXJ^ERIKA 19470213"
PIXELS = np.random.default_rng(0).integers(0, 4096, (12, 10), "u2")
LOSSLESS = encode_lossless(PIXELS, 12)


def segment(marker: int, body: bytes = NAME) -> bytes:
    """Write a segment with its length."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


TEXTS = b"".join(segment(marker) for marker in (0xE0, 0xE1, 0xEF, 0xFE))


def with_texts(stream: bytes) -> bytes:
    """Put texts behind a JPEG's start, before its scan, and behind its end."""
    scan = stream.index(b"\xff\xda")
    return b"".join([stream[:2], TEXTS, stream[2:scan], TEXTS, stream[scan:], NAME])


def cleaned(stream: bytes, tmp_path: Path, syntax: UID = JPEGLosslessSV1) -> Path:
    """Import a slice of this stream, in two pieces."""
    dataset = slice_dataset(PIXELS, plane((0, 0, 0), SAGITTAL), BitsStored=12)
    half = len(stream) // 4 * 2
    pieces = [stream[:half], stream[half:]]
    source = write_encapsulated(dataset, tmp_path / "source", syntax, pieces)
    target = tmp_path / "1" / "10001" / "1.dcm"
    write_clean_slice(source, 0, target)
    return target


def test_a_jpeg_keeps_its_pixels_and_loses_its_texts(tmp_path: Path) -> None:
    path = cleaned(with_texts(LOSSLESS), tmp_path)
    assert b"QZXJ" in (tmp_path / "source").read_bytes()
    assert b"QZXJ" not in path.read_bytes()
    np.testing.assert_array_equal(read_pixels(path), PIXELS)
    [stream] = generate_frames(dcmread(path).PixelData, number_of_frames=1)
    assert stream.rstrip(b"\0") == LOSSLESS


# Of a frame and a scan, whose coded bytes hold what looks like a marker and is none.
FRAME = segment(0xC1, b"\x0c\0\4\0\4\1\1\x11\0")
SCAN = segment(0xDA, b"\1\1\0\0\0\0")
STREAMS = {
    "stuffed": (JPEGExtended12Bit, [FRAME, SCAN + b"\1\xff\0\xfe\2"]),
    "restarts": (
        JPEGBaseline8Bit,
        [segment(0xDD, b"\0\4"), FRAME, SCAN + b"\1\xff\xd0\2\xff\xd7\3"],
    ),
    "scans": (JPEGExtended12Bit, [FRAME, SCAN + b"\1\2", segment(0xC4), SCAN + b"\3"]),
    "lines": (JPEGExtended12Bit, [FRAME, SCAN + b"\1\2", segment(0xDC, b"\0\4")]),
    "JPEG-LS": (
        JPEGLSLossless,
        [segment(0xF7, FRAME[4:]), segment(0xF8), SCAN + b"\1\xff\x7f\xff\1\2"],
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_texts_between_all_segments_go_and_the_rest_stays(name: str) -> None:
    syntax, parts = STREAMS[name]
    whole = b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"
    texts = b"\xff\xd8" + TEXTS + TEXTS.join(parts) + TEXTS + b"\xff\xff\xd9" + NAME
    assert without_texts(texts, syntax) == whole
    assert without_texts(whole, syntax) == whole


def test_the_texts_of_a_jpeg_2000_go_and_its_tiles_tell_their_new_length(
    tmp_path: Path,
) -> None:
    pytest.importorskip("openjpeg")
    dataset = dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    [stream] = generate_frames(dataset.PixelData, number_of_frames=1)
    first, data = stream.index(b"\xff\x90"), stream.index(b"\xff\x93")
    text = segment(0x64, b"\0\1" + NAME)
    (size,) = struct.unpack_from(">I", stream, first + 6)
    tile = stream[first : first + 6] + struct.pack(">I", size + len(text))
    texts = stream[:first] + text + tile + stream[first + 10 : data] + text
    texts += stream[data:].rstrip(b"\0") + NAME
    source = write_encapsulated(dataset, tmp_path / "in", JPEG2000Lossless, [texts])
    target = tmp_path / "1" / "10001" / "1.dcm"
    write_clean_slice(source, 0, target)
    assert NAME in source.read_bytes()
    assert b"QZXJ" not in target.read_bytes()
    expected = read_pixels(Path(str(get_testdata_file("MR_small.dcm"))))
    np.testing.assert_array_equal(read_pixels(target), expected)


# Of one tile without pixels: main header, a part of a tile, the end.
SIZ = b"\xff\x4f" + segment(0x51, b"\0" * 39)
PART = struct.pack(">HHHIBB", 0xFF90, 10, 0, 0, 0, 1)


def test_a_last_tile_without_a_length_ends_at_the_end() -> None:
    whole = SIZ + PART + b"\xff\x93" + b"\1\2\xff\x7f" + b"\xff\xd9"
    commented = SIZ + PART + segment(0x64) + b"\xff\x93" + b"\1\2\xff\x7f" + b"\xff\xd9"
    boxed = b"\0\0\0\x0cjP  " + NAME + commented + NAME
    for stream in (whole, commented, boxed):
        assert without_texts(stream, JPEG2000Lossless) == whole


SIZED = struct.pack(">HHHIBB", 0xFF90, 10, 0, 40, 0, 1)
UNSAFE = {
    "cut": (JPEGLosslessSV1, LOSSLESS[:-20]),
    "no end": (JPEGLosslessSV1, LOSSLESS[:-2]),
    "no JPEG": (JPEGLosslessSV1, NAME),
    "hierarchical": (
        JPEGExtended12Bit,
        b"\xff\xd8" + segment(0xDE) + LOSSLESS[2:],
    ),
    "reserved": (JPEGLosslessSV1, b"\xff\xd8" + segment(0x02) + LOSSLESS[2:]),
    "unknown of JPEG 2000": (JPEG2000Lossless, SIZ + segment(0x65) + PART),
    "a tile beyond the end": (JPEG2000Lossless, SIZ + SIZED + b"\xff\x93\1\xff\xd9"),
    "no tile": (JPEG2000Lossless, SIZ + NAME),
    "lengths of tiles that change": (
        JPEG2000Lossless,
        SIZ + segment(0x55) + PART + segment(0x64) + b"\xff\x93\1\xff\xd9",
    ),
    "a palette": (JPEG2000Lossless, b"pclr" + SIZ + PART + b"\xff\x93\1\xff\xd9"),
    "another compression": (MPEG2MPML, b"\0\0\1\xb3" + NAME),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_a_stream_that_cannot_be_followed_is_left_out(
    name: str, tmp_path: Path
) -> None:
    syntax, stream = UNSAFE[name]
    with pytest.raises(DicomError, match="texts in it could not be removed") as error:
        cleaned(stream, tmp_path, syntax)
    assert "QZXJ" not in error.value.reason
    assert not (tmp_path / "1" / "10001" / "1.dcm").exists()


def test_run_lengths_are_not_cleaned_but_decoded() -> None:
    with pytest.raises(ValueError, match="unknown streams"):
        without_texts(b"\2\0\0\0DOE^JOHN", RLELossless)

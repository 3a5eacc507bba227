"""What a compressed image says of itself, before it is decoded."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

START_OF_JPEG = b"\xff\xd8"
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
# Start of frame of every process of JPEG, and of JPEG-LS.
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
SCAN_MARKER = 0xDA


@dataclass(frozen=True)
class FrameHeader:
    """The size of a compressed image, and the bits of its values."""

    rows: int
    columns: int
    components: int
    precision: int


def starts_image(fragment: bytes) -> bool:
    """Return whether bytes begin an image rather than continue one."""
    return fragment.startswith((START_OF_JPEG, START_OF_JPEG_2000))


def frame_header(stream: bytes) -> FrameHeader:
    """Read the header of JPEG, JPEG-LS or JPEG 2000; ValueError if there is none."""
    if stream.startswith(START_OF_JPEG):
        for marker, body, _ in segments(stream):
            if marker in FRAME_MARKERS:
                precision, rows, columns, components = struct.unpack_from(">BHHB", body)
                return FrameHeader(rows, columns, components, precision)
        raise ValueError("no frame header")
    # Some files wrap the codestream in the boxes of a .jp2 file.
    start = stream.index(START_OF_JPEG_2000) + len(START_OF_JPEG_2000)
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 4)
    components, depth = struct.unpack_from(">HB", stream, start + 36)
    return FrameHeader(bottom - top, right - left, components, (depth & 0x7F) + 1)


def segments(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield each segment's marker, its content and where it ends, up to a scan's.

    Raises ValueError or struct.error where the stream is damaged.
    """
    place, marker = len(START_OF_JPEG), 0
    while marker != SCAN_MARKER:
        marker, start, end = next_segment(stream, place)
        yield marker, stream[start + 4 : end], end
        place = end


def next_segment(stream: bytes, place: int) -> tuple[int, int, int]:
    """Return the marker of the segment at a place, and where it starts and ends.

    Raises ValueError or struct.error where there is none.
    """
    while stream[place : place + 2] == b"\xff\xff":
        place += 1  # bytes may fill the room before a marker
    first, marker, length = struct.unpack_from(">BBH", stream, place)
    end = place + 2 + length
    if first != 0xFF or length < 2 or end > len(stream):
        raise ValueError("no segment")
    return marker, place, end

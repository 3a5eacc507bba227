"""A compressed image without the texts that its stream can carry beside the pixels.

Comments, application data and whatever stands behind the end are dropped; the rest is
copied byte for byte, so the pixels are the same. What is not known to be needed for the
pixels is refused: nothing unknown comes through.
"""

import re
import struct
from collections.abc import Callable

from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from src.imaging.codestream import (
    FRAME_MARKERS,
    SCAN_MARKER,
    START_OF_JPEG,
    START_OF_JPEG_2000,
    next_segment,
)

END = b"\xff\xd9"  # of JPEG and of JPEG 2000
JPEG_END = re.compile(rb"\xff+\xd9")  # bytes may fill the room before it
# JPEG (T.81, table B.1) and JPEG-LS (T.87): tables, restarts, lines and parameters.
JPEG_MARKERS = FRAME_MARKERS | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, SCAN_MARKER, 0xF8}
JPEG_TEXTS = {*range(0xE0, 0xF0), 0xFE}  # application data and comments
# In a scan 0xFF comes before 0, of JPEG-LS before less than 128, or is a restart.
SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7]")
SCAN_END_OF_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")
# JPEG 2000 (T.800, table A.2; 0x50 of T.814): all but the comment.
JPEG_2000_MARKERS = {
    *(0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F),
    *(0x60, 0x61, 0x63),
}
JPEG_2000_TEXTS = {0x64}
TILE_LENGTHS = 0x55  # in the main header: how long each part of a tile is
TILE_PART, TILE_DATA = b"\xff\x90", b"\xff\x93"
TILE_PART_HEADER = ">HHHIBB"


def without_texts(stream: bytes, syntax: UID) -> bytes:
    """Return a compressed image with nothing beside what its decoder needs.

    Raises ValueError or struct.error if the stream cannot be followed to its end.
    """
    return _cleaner_of(syntax)(stream)


def _cleaner_of(syntax: UID) -> Callable[[bytes], bytes]:
    if syntax in JPEGLSTransferSyntaxes:
        return lambda stream: _clean_jpeg(stream, SCAN_END_OF_LS)
    if syntax in JPEGTransferSyntaxes:
        return lambda stream: _clean_jpeg(stream, SCAN_END)
    high_throughput = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
    if syntax in (*JPEG2000TransferSyntaxes, *high_throughput):
        return _clean_jpeg_2000
    raise ValueError("a compression of unknown streams")


def _clean_jpeg(stream: bytes, scan_end: re.Pattern[bytes]) -> bytes:
    if not stream.startswith(START_OF_JPEG):
        raise ValueError("no JPEG")
    kept, place = [START_OF_JPEG], len(START_OF_JPEG)
    while not JPEG_END.match(stream, place):
        marker, start, end = next_segment(stream, place)
        if marker == SCAN_MARKER:
            found = scan_end.search(stream, end)
            if found is None:
                raise ValueError("no end of a scan")
            end = found.start()
        if marker not in JPEG_MARKERS | JPEG_TEXTS:
            raise ValueError("an unknown segment")
        if marker in JPEG_MARKERS:
            kept.append(stream[start:end])
        place = end
    return b"".join([*kept, END])


def _clean_jpeg_2000(stream: bytes) -> bytes:
    # Some files wrap the codestream in the boxes of a .jp2 file, which may hold texts.
    first = stream.index(START_OF_JPEG_2000)
    if b"pclr" in stream[:first]:
        raise ValueError("a palette")
    stream = stream[first:]
    header, place = _needed(stream, 2, TILE_PART)
    has_lengths = any(marker == TILE_LENGTHS for marker, _ in header)
    kept = [stream[:2], *(segment for _, segment in header)]
    while stream.startswith(TILE_PART, place):
        part, end = _clean_tile_part(stream, place)
        if has_lengths and len(part) != end - place:
            raise ValueError("lengths of parts that are shorter now")
        kept.append(part)
        place = end
    if not stream.startswith(END, place):
        raise ValueError("no end")
    return b"".join([*kept, END])


def _clean_tile_part(stream: bytes, place: int) -> tuple[bytes, int]:
    """Return a part of a tile with its new length, and where it ended."""
    mark, length, tile, size, *number = struct.unpack_from(
        TILE_PART_HEADER, stream, place
    )
    # Without a length it is the last one; coded data holds nothing like the end.
    end = place + size if size else stream.index(END, place)
    start = place + struct.calcsize(TILE_PART_HEADER)
    header, data = _needed(stream, start, TILE_DATA)
    if not data < end <= len(stream):
        raise ValueError("a part beyond the end")
    body = b"".join(segment for _, segment in header) + stream[data:end]
    new_size = start - place + len(body) if size else 0
    first = struct.pack(TILE_PART_HEADER, mark, length, tile, new_size, *number)
    return first + body, end


def _needed(
    stream: bytes, place: int, last: bytes
) -> tuple[list[tuple[int, bytes]], int]:
    """Return the segments to be kept before a marker, and where the marker is."""
    kept = []
    while not stream.startswith(last, place):
        marker, start, end = next_segment(stream, place)
        if marker not in JPEG_2000_MARKERS | JPEG_2000_TEXTS:
            raise ValueError("an unknown segment")
        if marker in JPEG_2000_MARKERS:
            kept.append((marker, stream[start:end]))
        place = end
    return kept, place

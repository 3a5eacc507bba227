"""JPEG Lossless (ITU-T T.81, process 14) for one grey image.

Decoded here because the installed decoder limits a value to the precision where the
standard takes it modulo 2^16 (H.2.1), which turns pixels white in silence.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from src.imaging.codestream import FrameHeader, frame_header, segments

TABLES_MARKER, FRAME_MARKER = 0xC4, 0xC3
MAX_CATEGORY = 16

# From the pixels to the left, above, and above to the left (T.81, table H.1).
PREDICTORS: dict[int, Callable[[int, int, int], int]] = {
    1: lambda left, above, corner: left,
    2: lambda left, above, corner: above,
    3: lambda left, above, corner: corner,
    4: lambda left, above, corner: left + above - corner,
    5: lambda left, above, corner: left + ((above - corner) >> 1),
    6: lambda left, above, corner: above + ((left - corner) >> 1),
    7: lambda left, above, corner: (left + above) >> 1,
}


@dataclass(frozen=True, eq=False)
class HuffmanTable:
    """By the next 16 bits of a stream: the code's length and its category."""

    lengths: np.ndarray
    categories: np.ndarray


def decode_lossless(stream: bytes) -> np.ndarray:
    """Decode int64 [rows, columns], from 0 up.

    Raises ValueError, LookupError or struct.error for a stream that is damaged, or has
    restart intervals, a point transform or several components, which lossless DICOM
    images do not.
    """
    tables: dict[int, HuffmanTable] = {}
    found = list(segments(stream))
    for marker, body, _ in found:
        if marker == TABLES_MARKER:
            tables.update(_huffman_tables(body))
    frame = frame_header(stream)
    if FRAME_MARKER not in [marker for marker, _, _ in found] or frame.precision > 16:
        raise ValueError("not JPEG Lossless")
    _, scan_header, end = found[-1]
    components, _, table, predictor, _, transform = scan_header[:6]
    if components != 1 or frame.components != 1 or transform & 0x0F:
        raise ValueError("not one plain component")
    differences = _differences(_scan(stream[end:]), tables[table >> 4], frame)
    return _undo_prediction(differences, predictor, frame.precision)


def _huffman_tables(body: bytes) -> Iterator[tuple[int, HuffmanTable]]:
    while body:
        counts = body[1:17]
        symbols = body[17 : 17 + sum(counts)]
        yield body[0], _lookup(counts, symbols)
        body = body[17 + len(symbols) :]


def _lookup(counts: bytes, symbols: bytes) -> HuffmanTable:
    """Spread each code over all 16 bits that begin with it; the rest has length 0."""
    lengths, categories = np.zeros((2, 2**16), np.uint8)
    first, used = 0, 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[used : used + count]:
            after = first + 2 ** (16 - length)
            lengths[first:after] = length
            categories[first:after] = symbol
            first = after
        used += count
    if used != len(symbols) or first > 2**16 or categories.max() > MAX_CATEGORY:
        raise ValueError("no Huffman table of differences")
    return HuffmanTable(lengths, categories)


def _scan(rest: bytes) -> np.ndarray:
    """Return the bytes of a scan, with room behind them to look ahead."""
    marker = re.search(rb"\xff[^\x00]", rest)
    if marker is None or marker.group() != b"\xff\xd9":
        raise ValueError("cut short, or with restart intervals")
    plain = rest[: marker.start()].replace(b"\xff\x00", b"\xff")
    return np.frombuffer(plain + bytes(8), np.uint8)


def _differences(
    scan: np.ndarray, table: HuffmanTable, frame: FrameHeader
) -> np.ndarray:
    """Decode the int64 [rows, columns] differences from the predictions.

    How far a code reaches is looked up for every bit at once, so that only the walk
    from code to code is a loop.
    """
    count, bits = frame.rows * frame.columns, 8 * (len(scan) - 8)
    if count > bits:
        raise ValueError("cut short")
    ahead = _words(scan, np.arange(len(scan) - 4), 3).astype(np.uint32)
    extra = np.where(table.categories == MAX_CATEGORY, 0, table.categories)
    reach = (table.lengths + extra).astype(np.uint8)
    steps = np.empty((len(ahead), 8), np.uint8)
    for shift in range(8):
        steps[:, shift] = reach[ahead >> (8 - shift) & 0xFFFF]
    places = np.fromiter(_walk(steps.tobytes(), count), np.int64, count)
    byte, bit = places >> 3, places & 7
    words = _words(scan, byte, 5)
    codes = words >> (24 - bit) & 0xFFFF
    lengths, category = table.lengths[codes], table.categories[codes].astype(np.int64)
    if not lengths.all() or places[-1] + reach[codes[-1]] > bits:
        raise ValueError("cut short or damaged")
    size = extra[codes].astype(np.int64)
    value = words >> (40 - bit - lengths - size) & ((1 << size) - 1)
    # The lower half of a category's values are its negative ones (T.81, F.1.2.1).
    value -= np.where(value < (1 << size) >> 1, (1 << size) - 1, 0)
    value[category == MAX_CATEGORY] = 2 ** (MAX_CATEGORY - 1)
    return value.reshape(frame.rows, frame.columns)


def _words(scan: np.ndarray, byte: np.ndarray, count: int) -> np.ndarray:
    """Return `count` bytes from each place on as one int64."""
    words = np.zeros(len(byte), np.int64)
    for after in range(count):
        words = words << 8 | scan[byte + after]
    return words


def _walk(steps: bytes, count: int) -> Iterator[int]:
    """Yield the bit where each code begins."""
    place, last = 0, len(steps) - 1
    for _ in range(count):
        yield place
        place = min(place + steps[place], last)


def _undo_prediction(
    differences: np.ndarray, predictor: int, precision: int
) -> np.ndarray:
    """Add the predictions; what leaves the precision's range comes back at its end."""
    mask = 2**precision - 1
    differences[0, 0] += 2 ** (precision - 1)
    if predictor == 1:
        differences[:, 0] = differences[:, 0].cumsum()
        return differences.cumsum(axis=1) & mask
    predict = PREDICTORS[predictor]
    differences[0] = differences[0].cumsum() & mask
    above, *others = differences.tolist()
    decoded = [above]
    for row in others:
        row[0] = (row[0] + above[0]) & mask
        for i in range(1, len(row)):
            row[i] = (row[i] + predict(row[i - 1], above[i], above[i - 1])) & mask
        decoded.append(above := row)
    return np.array(decoded)

"""An encoder of JPEG Lossless, written for the tests of its decoder."""

import struct
from collections.abc import Callable
from itertools import pairwise

import numpy as np

PREDICT: dict[int, Callable[[int, int, int], int]] = {
    1: lambda a, b, c: a,
    2: lambda a, b, c: b,
    3: lambda a, b, c: c,
    4: lambda a, b, c: a + b - c,
    5: lambda a, b, c: a + (b - c) // 2,
    6: lambda a, b, c: b + (a - c) // 2,
    7: lambda a, b, c: (a + b) // 2,
}
# Code lengths of the categories 0 to 16: unequal, so that a decoder must look them up.
LENGTHS = (3, 3, 3, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)


def encode_lossless(
    pixels: np.ndarray, precision: int, predictor: int = 1, wrap: bool = False
) -> bytes:
    """Encode a grey image from 0 up; `wrap`: differences by the other way round.

    A difference of 76 at 8 bits is then -180, which the standard allows: a decoder
    adds modulo 2^16 and keeps the lower 8 bits.
    """
    rows, columns = pixels.shape
    bits = "".join(
        _code(difference)
        for difference in _differences(pixels, precision, predictor, wrap)
    )
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    counts = bytes(LENGTHS.count(length) for length in range(1, 17))
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC4, b"\0" + counts + bytes(range(17))),
            _segment(
                0xC3, struct.pack(">BHHB", precision, rows, columns, 1) + b"\1\x11\0"
            ),
            _segment(0xDA, bytes([1, 1, 0, predictor, 0, 0])),
            scan,
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _differences(
    pixels: np.ndarray, precision: int, predictor: int, wrap: bool
) -> list[int]:
    found = []
    image = pixels.tolist()
    for y, row in enumerate(image):
        for x, value in enumerate(row):
            if x == y == 0:
                predicted = 2 ** (precision - 1)
            elif y == 0:
                predicted = row[x - 1]
            elif x == 0:
                predicted = image[y - 1][0]
            else:
                near = row[x - 1], image[y - 1][x], image[y - 1][x - 1]
                predicted = PREDICT[predictor](*near)
            found.append(value - predicted)
    if wrap:
        span = 2**precision
        found = [d - span if d > 0 else d + span if d < 0 else d for d in found]
    # Modulo 2^16, from -32767 to 32768.
    return [(d + 32767) % 65536 - 32767 for d in found]


def _code(difference: int) -> str:
    category = abs(difference).bit_length()
    first = 0
    for shorter, longer in pairwise(LENGTHS[: category + 1]):
        first = (first + 1) << (longer - shorter)
    code = f"{first:0{LENGTHS[category]}b}"
    if category in (0, 16):
        return code
    value = difference if difference > 0 else difference + 2**category - 1
    return code + f"{value:0{category}b}"

"""Mutated files: each follows from the seed and its case's number alone."""

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

SEED = 20240516
LENGTHS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
HEADER_BYTES = 700  # of a small slice, before its pixels
# The tags that the readers ask for, and values that break a reader's assumptions.
TAGS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"),
    *("Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("RescaleSlope", "RescaleIntercept", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("EchoTime", "EchoNumbers", "RepetitionTime", "ScanningSequence", "ImageType"),
    *("SeriesDescription", "ProtocolName", "SeriesInstanceUID", "PixelData"),
)
NUMBERS = (0, 1, 2, 3, 7, 15, 16, 17, 32, 255, 256, 32767, 32768, 60000, 65535)
WORDS = (
    *(
        "",
        "0",
        "-0",
        "1",
        "-1",
        "1e38",
        "-1e300",
        "1e-300",
        "nan",
        "inf",
        "1,5",
        "0x10",
    ),
    *("9" * 16, "0\\0\\0", "1\\2", "1\\2\\3\\4\\5\\6\\7", "1\\0\\0\\0\\1\\0", "\\\\"),
    *("MONOCHROME1", "MONOCHROME", "RGB", "PALETTE COLOR", "é", "\0", " 1 ", "1 2"),
)
CELLS = (
    *("", " ", "0", "-1", "+1", "1.5", "1e5", "1e400", "nan", "inf", "-inf", "None"),
    *(
        "9" * 18,
        "9" * 19,
        "9" * 400,
        "\uff11\uff12",
        "\u0663",
        "0x1F",
        "1_000",
        "007",
        "../../x",
    ),
    *("/etc/passwd", '"', '""', '"a\nb"', '"a,b"', "a,b", "\0", "\ufeff", "é", "💥"),
    *("Severe", "severe ", "NORMAL/MILD", "l4_l5", "L4/L5", "L6/S1", "Axial T2", "=1"),
)


def case_random(kind: str, case: int) -> random.Random:
    """Return a case's own random generator."""
    return random.Random(f"{SEED} {kind} {case}")


def mutated_dicom(data: bytes, draw: random.Random) -> bytes:
    """Mutate a DICOM file: tags by their meaning, bytes, or both."""
    if draw.random() < 0.4:
        data = _with_other_tags(data, draw)
        if draw.random() < 0.7:
            return data
    return mutated_bytes(data, draw)


def _with_other_tags(data: bytes, draw: random.Random) -> bytes:
    """Set or remove a few tags; a value that pydicom cannot write leaves the file."""
    dataset = dcmread(BytesIO(data))
    for name in draw.sample(TAGS, draw.randint(1, 3)):
        if draw.random() < 0.2 and name in dataset:
            del dataset[name]
        elif draw.random() < 0.6:
            _set_text(dataset, name, draw.choice(WORDS))
        else:
            _set_number(dataset, name, draw.choice(NUMBERS))
    out = BytesIO()
    try:
        dataset.save_as(out)
    except Exception:  # as without a length for its pixels
        return data
    return out.getvalue()


def _set_text(dataset: Dataset, name: str, text: str) -> None:
    """Set a tag's bytes, as no writer would that knows what belongs there."""
    tag, value = Tag(name), text.encode()
    value += b" " * (len(value) % 2)
    vr = dictionary_VR(tag)[:2]
    dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def _set_number(dataset: Dataset, name: str, number: int) -> None:
    with config.disable_value_validation(), suppress(TypeError, ValueError):
        setattr(dataset, name, number)


def mutated_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change a file's bytes in one to four ways."""
    held = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        draw.choice(BYTE_CHANGES)(held, draw)
    return bytes(held)


def mutated_table(data: bytes, draw: random.Random) -> bytes:
    """Change a CSV's cells and lines, its bytes, or both."""
    if draw.random() < 0.7:
        rows = [line.split(",") for line in data.decode().split("\n")]
        for _ in range(draw.choice((1, 1, 2, 4))):
            draw.choice(TABLE_CHANGES)(rows, draw)
        end = draw.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
        data = end.join(",".join(row) for row in rows).encode()
        if draw.random() < 0.7:
            return data
    return mutated_bytes(data, draw)


def _place(held: bytearray, draw: random.Random) -> int:
    """Choose a position, in the header as often as not."""
    end = min(len(held), HEADER_BYTES) if draw.random() < 0.6 else len(held)
    return draw.randrange(end) if end else 0


def _flip(held: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 3, 30))):
        if held:
            held[_place(held, draw)] ^= 1 << draw.randrange(8)


def _overwrite(held: bytearray, draw: random.Random) -> None:
    place, size = _place(held, draw), draw.choice((1, 2, 8, 64))
    held[place : place + size] = draw.randbytes(min(size, len(held) - place))


def _cut(held: bytearray, draw: random.Random) -> None:
    del held[_place(held, draw) :]


def _delete(held: bytearray, draw: random.Random) -> None:
    place = _place(held, draw)
    del held[place : place + draw.choice((1, 2, 4, 50))]


def _insert(held: bytearray, draw: random.Random) -> None:
    place = _place(held, draw)
    held[place:place] = draw.randbytes(draw.choice((1, 2, 8, 300)))


def _repeat(held: bytearray, draw: random.Random) -> None:
    place, size = _place(held, draw), draw.choice((2, 8, 100))
    held[place:place] = held[place : place + size]


def _swap(held: bytearray, draw: random.Random) -> None:
    size = draw.choice((2, 8, 40))
    one, other = sorted((_place(held, draw), _place(held, draw)))
    if one + size <= other and other + size <= len(held):
        first, second = held[one : one + size], held[other : other + size]
        held[one : one + size], held[other : other + size] = second, first


def _set_length(held: bytearray, draw: random.Random) -> None:
    """Write what a reader of tags takes for a length."""
    place, form = _place(held, draw), draw.choice(("<H", ">H", "<I", ">I"))
    word = struct.pack(
        form, draw.choice(LENGTHS) & (2 ** (16 * (form[1] != "H") + 16) - 1)
    )
    held[place : place + len(word)] = word


BYTE_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _overwrite, _cut, _delete, _insert, _repeat, _swap),
    *(_set_length, _set_length),
)
Rows = list[list[str]]


def _other_cell(rows: Rows, draw: random.Random) -> None:
    row = draw.choice(rows)
    row[draw.randrange(len(row))] = draw.choice(CELLS)


def _other_row(rows: Rows, draw: random.Random) -> None:
    rows.insert(draw.randint(0, len(rows)), draw.choices(CELLS, k=draw.randint(1, 9)))


def _doubled_row(rows: Rows, draw: random.Random) -> None:
    rows.append(list(draw.choice(rows)))


def _removed_row(rows: Rows, draw: random.Random) -> None:
    if len(rows) > 1:
        rows.pop(draw.randrange(len(rows)))


def _swapped_columns(rows: Rows, draw: random.Random) -> None:
    one, other = draw.randrange(len(rows[0])), draw.randrange(len(rows[0]))
    for row in rows:
        if max(one, other) < len(row):
            row[one], row[other] = row[other], row[one]


def _doubled_column(rows: Rows, draw: random.Random) -> None:
    column = draw.randrange(len(rows[0]))
    for row in rows:
        row.append(row[min(column, len(row) - 1)])


def _shorter_row(rows: Rows, draw: random.Random) -> None:
    row = draw.choice(rows)
    if len(row) > 1:
        row.pop()


TABLE_CHANGES: tuple[Callable[[Rows, random.Random], None], ...] = (
    *(_other_cell, _other_cell, _other_cell, _other_row, _doubled_row),
    *(_removed_row, _swapped_columns, _doubled_column, _shorter_row),
)

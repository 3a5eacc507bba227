"""The tags of one DICOM file: read as meant where that is safe, else named."""

import math
from collections.abc import Sequence
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Literal

from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from src.imaging.dicom_errors import RAISED_ON_DAMAGE, DicomError
from src.imaging.dicom_file import MAGIC, UNDEFINED_LENGTH

MAX_SIDE = 4096  # pixels; no MR slice has more, and a damaged header may claim billions
PIXEL_BITS = (8, 16, 32)
# By (implicit, little-endian), as pydicom finds out from the first tags.
GUESSED_SYNTAX: dict[tuple[bool | None, bool | None], UID] = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
PLAIN_KINDS = ("US", "DS", "CS")
# What a file begins with that lacks the 128 bytes before, or these four as well.
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")


def read_tags(path: Path, names: Sequence[str], pixels: bool) -> Dataset:
    """Read some tags of a file, also of one that lacks what comes before them."""
    mode = path.stat().st_mode
    if not S_ISREG(mode) and not S_ISDIR(mode):  # to read a pipe is to wait for ever
        raise DicomError(path, "is no regular file; remove it")
    read = partial(dcmread, stop_before_pixels=not pixels, specific_tags=list(names))
    try:
        return read(path)
    except InvalidDicomError:
        with path.open("rb") as file:
            file.seek(len(MAGIC) if file.read(len(MAGIC)) == MAGIC else 0)
            if file.peek().startswith(FIRST_GROUPS):
                return read(BytesIO(file.read()), force=True)
        raise


@cache
def tag_of(name: str) -> BaseTag:
    """Look a tag up by its name."""
    return Tag(name)


_kind_of = cache(dictionary_VR)


def tag_value(dataset: Dataset, name: str) -> Any:
    """Return a tag's value, None if absent; text where it is not what its type says."""
    element = dataset.get_item(tag_of(name))
    if element is None:
        return None
    if isinstance(element, RawDataElement):
        plain = _plain_value(element)
        if plain is not None:
            return plain
    try:
        return dataset.get(name)
    except RAISED_ON_DAMAGE:
        return dataset.get_item(tag_of(name)).value


def _plain_value(element: RawDataElement) -> int | str | None:
    """Read one number or one text of the usual type; None leaves it to pydicom.

    pydicom's own conversion gives the same, and takes ten times as long.
    """
    kind, value = _kind_of(element.tag), element.value
    if kind not in PLAIN_KINDS or element.VR not in (None, kind) or not value:
        return None
    if kind == "US":
        order: Literal["little", "big"]
        order = "little" if element.is_little_endian else "big"
        return int.from_bytes(value, order) if len(value) == 2 else None
    return value.decode("ascii").rstrip(" ") if value.isascii() else None


def numbers(dataset: Dataset, name: str) -> list[float]:
    """Read a tag's finite numbers, whatever its type; empty if there are none.

    A decimal comma is read as a point: no tag of numbers may hold a comma otherwise.
    Raises ValueError if it holds something else.
    """
    value = tag_value(dataset, name)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.strip(" \0").split("\\") if value.strip(" \0") else []
    if value is None:
        return []
    parts = value if isinstance(value, MultiValue | list) else [value]
    found = [
        float(part.strip(" \0").replace(",", ".") if isinstance(part, str) else part)
        for part in parts
    ]
    if not all(map(math.isfinite, found)):
        raise ValueError("not finite")
    return found


def one_number(dataset: Dataset, name: str, missing: float, path: Path) -> float:
    """Read a tag of one number, `missing` if it is absent or empty.

    The same number twice is read as one; raises DicomError for anything else.
    """
    try:
        found = set(numbers(dataset, name))
    except RAISED_ON_DAMAGE:
        reason = f"has no number in its {name}; correct that tag or remove the file"
        raise DicomError(path, reason) from None
    if len(found) > 1:
        raise DicomError(
            path,
            f"has {len(found)} different numbers in its {name}, where one is expected; "
            "correct that tag or remove the file",
        )
    return found.pop() if found else missing


def require_one_grey_slice(dataset: Dataset, path: Path) -> None:
    """Raise DicomError for anything but one grey image of a size that can be.

    Fills in SamplesPerPixel and PhotometricInterpretation, and writes the numbers as
    integers.
    """
    rows, columns = (_fill_in(dataset, name, 0, path) for name in ("Rows", "Columns"))
    # Absent it is one for pydicom too, and to write it would cost more than to read.
    has_frames = tag_of("NumberOfFrames") in dataset
    frames = _fill_in(dataset, "NumberOfFrames", 1, path) if has_frames else 1
    samples = _fill_in(dataset, "SamplesPerPixel", 1, path)
    for name, size in (("Rows", rows), ("Columns", columns)):
        if size <= 0:
            reason = f"has no {name}, so it is cut short or holds no image"
            raise DicomError(path, f"{reason}; download it again or remove it")
    if max(rows, columns) > MAX_SIDE:
        raise DicomError(
            path,
            f"has {rows} Rows and {columns} Columns, and at most "
            f"{MAX_SIDE} are read; download it again or remove it",
        )
    if frames > 1:
        reason = f"holds {frames} frames by its NumberOfFrames"
        raise DicomError(path, f"{reason}; split it into one file a slice")
    _require_grey(dataset, samples, path)


def fill_in_bits(dataset: Dataset, path: Path) -> None:
    """Derive what is missing of the four tags of a pixel's bits.

    Without BitsAllocated, it follows from the length of PixelData. Raises DicomError
    where they contradict one another.
    """
    element = dataset.get_item(tag_of("PixelData"))
    rows, columns = (tag_value(dataset, name) for name in ("Rows", "Columns"))
    compressed = has_undefined_length(element)
    size = len(element.value) // (rows * columns)
    bits = _fill_in(dataset, "BitsAllocated", 16 if compressed else 8 * size, path)
    stored = _fill_in(dataset, "BitsStored", bits, path)
    high = _fill_in(dataset, "HighBit", stored - 1, path)
    _fill_in(dataset, "PixelRepresentation", 0, path)
    if bits not in PIXEL_BITS:
        reason = f"has a BitsAllocated of {bits}, and 8, 16 or 32 are read"
        raise DicomError(path, f"{reason}; convert it or remove it")
    if not 0 < stored <= high + 1 <= bits:
        raise DicomError(
            path,
            f"has a BitsStored of {stored} and a HighBit of {high} in a BitsAllocated "
            f"of {bits}; correct these tags or remove the file",
        )


def fill_in_syntax(dataset: Dataset, path: Path) -> None:
    """Name the transfer syntax of a file that does not, as its tags are written."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    syntax = GUESSED_SYNTAX.get(dataset.original_encoding)
    if syntax is None or has_undefined_length(dataset.get_item(tag_of("PixelData"))):
        reason = "has no TransferSyntaxUID, so it is unknown how its pixels are encoded"
        raise DicomError(path, f"{reason}; add that tag or remove the file")
    dataset.file_meta.TransferSyntaxUID = syntax


def has_undefined_length(element: RawDataElement | DataElement) -> bool:
    """Return whether an element's end is marked, as that of compressed pixels is."""
    if isinstance(element, RawDataElement):
        return element.length == UNDEFINED_LENGTH
    return element.is_undefined_length


def _require_grey(dataset: Dataset, samples: int, path: Path) -> None:
    stored = tag_value(dataset, "PhotometricInterpretation")
    kind = str(stored or "MONOCHROME2").strip(" \0").upper()
    if samples != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomError(
            path,
            "is a colour image by its SamplesPerPixel or PhotometricInterpretation, "
            "and MR slices are grey; convert it or remove it",
        )
    if kind != stored:
        dataset.PhotometricInterpretation = kind


def _fill_in(dataset: Dataset, name: str, missing: int, path: Path) -> int:
    """Return a tag's integer; write it, or `missing`, to the tag if it was not one."""
    value = tag_value(dataset, name)
    if not isinstance(value, int):
        value = int(one_number(dataset, name, missing, path))
        setattr(dataset, name, value)
    return value

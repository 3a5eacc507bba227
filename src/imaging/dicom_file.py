"""One pass over a DICOM file: its tags up to the pixels, and where those begin.

pydicom yields the elements. What it does around them is most of the time of a small
header, so an ordinary file is read without; any other takes the way of `dcmread`, which
knows what else a file can be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from src.imaging.dicom_errors import RAISED_ON_DAMAGE

MAGIC_AT, MAGIC = 128, b"DICM"
SYNTAX, PIXEL_DATA = 0x00020010, 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF
ENCAPSULATED_HEADER = 12  # bytes of tag, type and length
LARGE = 1024  # bytes: pydicom tells where a larger element is, and does not read it
# These turn the bytes of the elements themselves.
UNUSUAL = (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
ORDINARY = {syntax for syntax in AllTransferSyntaxes if syntax not in UNUSUAL}

Elements = dict[Any, Any]  # as they are stored, by tag


@dataclass(frozen=True, eq=False)
class DicomFile:
    """An ordinary file's elements before its pixels.

    pixels: the element of the pixels without their bytes, None if there is none.
    """

    path: Path
    syntax: UID
    elements: Elements
    pixels: RawDataElement | None

    def dataset(self) -> Dataset:
        """Return the elements before the pixels, to be read and filled in."""
        return Dataset(dict(self.elements))

    def with_pixels(self) -> Dataset:
        """Return them with PixelData; opens the file again."""
        elements = dict(self.elements)
        if self.pixels is not None:
            elements[self.pixels.tag] = self._read_pixels(self.pixels)
        dataset = Dataset(elements)
        dataset.file_meta = _file_meta(self.syntax)
        return dataset

    def _read_pixels(self, pixels: RawDataElement) -> Any:
        with self.path.open("rb") as file:
            if pixels.length == UNDEFINED_LENGTH:
                file.seek(pixels.value_tell - ENCAPSULATED_HEADER)
                return next(data_element_generator(file, False, True))
            file.seek(pixels.value_tell)
            return pixels._replace(value=file.read(pixels.length))


def read_ordinary(path: Path, tags: list[BaseTag | int]) -> DicomFile | None:
    """Read some tags of an ordinary file; None for any other, or a damaged one."""
    try:
        if not S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for ever
            return None
        with open(path, "rb") as file:
            return _read_ordinary(path, file, tags)
    except (OSError, *RAISED_ON_DAMAGE):
        return None


def _read_ordinary(
    path: Path, file: BinaryIO, tags: list[BaseTag | int]
) -> DicomFile | None:
    if file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] != MAGIC:
        return None
    meta: Iterator[Any] = data_element_generator(file, False, True, _is_not_meta)
    values = {int(element.tag): element.value for element in meta}
    syntax = _uid(values[SYNTAX])
    implicit = syntax == ImplicitVRLittleEndian
    if syntax not in ORDINARY or not _begins_as(implicit, file):
        return None
    elements: Elements = {}
    found: Iterator[Any] = data_element_generator(
        file, implicit, True, defer_size=LARGE, specific_tags=tags
    )
    for element in found:
        if int(element.tag) == PIXEL_DATA:
            return DicomFile(path, syntax, elements, element._replace(value=None))
        if element.value is None:  # too large for any of these tags
            return None
        elements[element.tag] = element
    return DicomFile(path, syntax, elements, None)


@lru_cache
def _uid(stored: bytes) -> UID:
    return UID(stored.strip(b"\0 ").decode("ascii"))


@cache
def _file_meta(syntax: UID) -> FileMetaDataset:
    """Return what all files of a syntax share; nobody writes to it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    return meta


def _begins_as(implicit: bool, file: BinaryIO) -> bool:
    """Return whether the elements are written as the syntax says, and are no command's.

    Some writers name one syntax and use another; pydicom tells by the first element.
    """
    start = file.tell()
    group, kind = file.read(2), file.read(4)[2:]
    file.seek(start)
    named = len(kind) == 2 and kind.isalpha() and kind.isupper()
    return group != b"\0\0" and named != implicit


def _is_not_meta(tag: BaseTag, kind: str | None, length: int) -> bool:
    return tag >> 16 != 2

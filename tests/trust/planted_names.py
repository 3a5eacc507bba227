"""DICOM slices full of planted names, and a search for them in all that is left."""

import base64
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from dicom_files import slice_dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from src.imaging.geometry import SliceGeometry

MARK = "QZXJ"  # begins every planted text; nothing else of the kit or a package has it
DATE = "19470213"  # of birth, planted in every date
AGE = "077Y"
# Groups of the patient, the study, the equipment and the request.
GROUPS = (0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE")
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
UMLAUT = f"{MARK}ÄÖÜ"
PRIVATE = 0x0009


def text_tags() -> Iterator[tuple[int, str, str]]:
    """List all tags of those groups that hold text or a date: tag, VR, keyword."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        wanted = tag >> 16 in GROUPS and keyword and not retired
        if wanted and vr in (*TEXTS, "DA", "DT", "AS"):
            yield tag, vr, keyword


def with_names(pixels: np.ndarray, geometry: SliceGeometry, **tags: object) -> Dataset:
    """Make a slice with a planted text in each text tag, private and nested ones too.

    tags: of slice_dataset, set last.
    """
    dataset = slice_dataset(pixels, geometry)
    for tag, vr, keyword in text_tags():
        setattr(dataset, keyword, _planted(tag, vr))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"{UMLAUT}^ERIKA"
    block = dataset.private_block(PRIVATE, f"{MARK}CREATOR", create=True)
    block.add_new(1, "LO", f"{MARK}PRIVATE")
    nested = Dataset()
    nested.PatientName = f"{MARK}NESTED"
    nested.InstitutionAddress = f"{MARK}STREET 1"
    dataset.RequestAttributesSequence = Sequence([nested])
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def _planted(tag: int, vr: str) -> str:
    if vr == "AS":
        return AGE
    if vr in ("DA", "DT"):
        return DATE
    return f"{MARK}{tag:08X}"


def damaged(dataset: Dataset) -> list[bytes]:
    """Return files whose reading fails in the midst of the planted texts."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    whole = out.getvalue()
    name = whole.index(UMLAUT.encode())
    longer = whole[: name - 2] + b"\xff\x7f" + whole[name:]
    return [
        whole[: len(whole) * 2 // 3],
        whole[: name + 6],
        longer,
        whole.replace(b"DICM", MARK.encode(), 1),
        MARK.encode() * 200,
        b"",
    ]


def leaks(content: bytes) -> list[str]:
    """Return what is found of the planted texts in a file, unpacked."""
    found = []
    for part in unpacked(content):
        lowered = part.lower()
        for text in (MARK, DATE, UMLAUT[len(MARK) :]):
            if any(text.lower().encode(name) in lowered for name in ENCODINGS):
                found.append(text)
    return found


def unpacked(content: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, and those of all that is packed in it."""
    yield content
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for entry in archive.infolist():
                yield entry.filename.encode()
                yield from unpacked(archive.read(entry))
    if content.startswith(b"\x1f\x8b"):
        yield from unpacked(gzip.decompress(content))
    if content.startswith(b"\x89PNG"):
        yield from _png_texts(content)
    for found in re.finditer(rb"base64,([A-Za-z0-9+/=]+)", content):
        yield from unpacked(base64.b64decode(found[1]))


def _png_texts(content: bytes) -> Iterator[bytes]:
    """Yield a PNG's text chunks, inflated where they are packed."""
    place = 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        if kind in (b"zTXt", b"iTXt"):
            data = content[place + 8 : place + 8 + size]
            for start in [i for i in range(len(data)) if data[i : i + 1] == b"\x78"]:
                try:
                    yield zlib.decompress(data[start:])
                except zlib.error:
                    continue
        place += 12 + size

"""Any folder of files: which of them hold MR slices, and what their headers say.

Nothing is decoded here. What cannot be used has a reason in fixed words, in which there
is nothing of the file: neither its name nor a text of its header.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    UID_dictionary,
)

from src.errors import UserError
from src.imaging.decoding import BIT_TAGS
from src.imaging.dicom import (
    CONTRAST_TAGS,
    GREY_TAGS,
    PLANE_TAGS,
    SHAPE_TAGS,
    WEIGHTING_TAGS,
    slice_geometry,
)
from src.imaging.dicom_errors import DicomError, quiet, translate_errors
from src.imaging.dicom_file import MAGIC, MAGIC_AT
from src.imaging.dicom_tags import (
    FIRST_GROUPS,
    numbers,
    read_tags,
    require_one_grey_slice,
    tag_value,
)
from src.imaging.geometry import SliceGeometry
from src.imaging.mr_frames import PER_FRAME, SHARED, frames, is_enhanced
from src.imaging.series import is_system_file

MR_CLASSES = (
    *(MRImageStorage, EnhancedMRImageStorage),
    LegacyConvertedEnhancedMRImageStorage,
)
# What the source calls a series. Held in memory to find its type, written nowhere.
WORD_TAGS = [
    *("SeriesDescription", "ProtocolName", "SequenceName"),
    *("BodyPartExamined", "ScanOptions"),
]
TAGS = [
    *(*SHAPE_TAGS, *GREY_TAGS, *PLANE_TAGS, *CONTRAST_TAGS, *WEIGHTING_TAGS),
    *(*BIT_TAGS, *WORD_TAGS, SHARED, PER_FRAME, "SOPClassUID", "SOPInstanceUID"),
    *("StudyInstanceUID", "FrameOfReferenceUID", "Modality", "InstanceNumber"),
    *("SeriesNumber", "BurnedInAnnotation", "DiffusionBValue", "InversionRecovery"),
    *("SliceThickness", "SpacingBetweenSlices", "EchoPulseSequence"),
    *("ContrastBolusAgent", "ContrastBolusAgentSequence"),
]
MAX_INSTANCE = 999_999
# What files that are no DICOM begin with.
KINDS_OF_FILE = {
    b"PK\x03\x04": "is a ZIP archive; unpack it, and import again",
    b"%PDF": "is a PDF",
    b"\xff\xd8\xff": "is a JPEG picture",
    b"\x89PNG": "is a PNG picture",
    b"\x1f\x8b": "is a compressed archive; unpack it, and import again",
}
NO_DICOM = "is no DICOM file"
EMPTY = "is empty"
SYSTEM_FILE = "was written by an operating system"
BURNED_IN = "has text burnt into its pixels by its BurnedInAnnotation"


@dataclass(frozen=True, eq=False)
class SourceSlice:
    """One slice of a file, as its header describes it.

    file: the file's number in the listing; frame: of an enhanced file, else 0; study,
    series, image, frame_of_reference: UIDs, to be compared and never written;
    contrast: what tells images of one position apart; words: never written.
    """

    file: int
    frame: int
    study: str
    series: str
    image: str
    frame_of_reference: str
    series_number: int
    instance_number: int
    rows: int
    columns: int
    geometry: SliceGeometry
    contrast: tuple[tuple[str, ...], ...] = field(repr=False)
    echo_ms: float | None
    repetition_ms: float | None
    inversion_ms: float | None
    scanning_sequence: str = field(repr=False)
    image_type: tuple[str, ...] = field(repr=False)
    words: str = field(repr=False)
    contrast_agent: bool

    @property
    def place(self) -> tuple[float, ...]:
        """Its position and axes, rounded to what headers of one image agree on."""
        plane = self.geometry
        held = np.concatenate([plane.position_mm, plane.right, plane.down])
        return tuple(held.round(3).tolist())

    @property
    def centre_mm(self) -> np.ndarray:
        """The [3] patient position of the middle of the image."""
        return self.geometry.to_patient([(self.columns - 1) / 2, (self.rows - 1) / 2])


@dataclass(frozen=True)
class SourceFile:
    """What a file holds: slices, or the reason why it holds none."""

    slices: tuple[SourceSlice, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """The entries of a folder, sorted: files by their path from it, and their sizes.

    odd: from an entry that is no file to be read to the reason.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    odd: dict[str, str]

    def digest(self) -> str:
        """Return a hash of all paths and sizes; no path can be told from it."""
        found = hashlib.sha256()
        for path, size in zip(self.files, self.sizes, strict=True):
            found.update(os.fsencode(path) + b"\0" + str(size).encode() + b"\0")
        for path in sorted(self.odd):
            found.update(os.fsencode(path) + b"\0")
        return found.hexdigest()


def list_folder(folder: Path) -> Listing:
    """List all that is in a folder. Links to files are followed, others are not."""
    sizes: dict[str, int] = {}
    odd: dict[str, str] = {}
    pending = [""]
    while pending:
        here = pending.pop()
        try:
            entries = list(os.scandir(folder / here))
        except OSError as error:
            odd[here or "."] = f"is a folder that cannot be read ({error.strerror})"
            continue
        for entry in entries:
            path = os.path.join(here, entry.name)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
                continue
            try:
                status = entry.stat()
            except OSError:
                odd[path] = "is a link to nothing, or one that may not be read"
                continue
            if S_ISREG(status.st_mode):
                sizes[path] = status.st_size
            elif entry.is_dir():
                odd[path] = "is a link to a folder; import that folder itself"
            else:
                odd[path] = "is no regular file"
    files = tuple(sorted(sizes, key=os.fsencode))
    return Listing(files, tuple(sizes[path] for path in files), odd)


def read_source_file(path: Path, number: int) -> SourceFile:
    """Read the headers of a file's slices; whatever is wrong becomes the reason."""
    if is_system_file(path.name):
        return SourceFile(reason=SYSTEM_FILE)
    try:
        with translate_errors(path):
            found = _kind_of_file(path)
            if found:
                return SourceFile(reason=found)
            return SourceFile(tuple(_slices(path, number)))
    except DicomError as error:
        return SourceFile(reason=error.reason)
    except UserError as error:
        return SourceFile(reason=str(error).rstrip("."))
    except Exception as error:  # a broken file must not cost the others
        return SourceFile(reason=f"cannot be read ({type(error).__name__})")


def source_datasets(path: Path, pixels: bool = False) -> Iterator[Dataset]:
    """Yield a flat dataset a slice: one, or one a frame of an enhanced file."""
    dataset = read_tags(path, TAGS, pixels)
    yield from frames(dataset) if is_enhanced(dataset) else [dataset]


def _kind_of_file(path: Path) -> str:
    """Return why a file is no DICOM by its first bytes, or nothing."""
    with path.open("rb") as file:
        start = file.read(MAGIC_AT + len(MAGIC))
    if not start:
        return EMPTY
    if start[MAGIC_AT:] == MAGIC or start.startswith((MAGIC, *FIRST_GROUPS)):
        return ""
    found = (text for mark, text in KINDS_OF_FILE.items() if start.startswith(mark))
    return next(found, NO_DICOM)


def _slices(path: Path, number: int) -> Iterator[SourceSlice]:
    dataset = read_tags(path, TAGS, pixels=False)
    if reason := _why_not_mr(dataset):
        raise DicomError(path, reason)
    enhanced = is_enhanced(dataset)
    found = frames(dataset) if enhanced else [dataset]
    for index, flat in enumerate(found, start=int(enhanced)):
        yield _slice(flat, path, number, index)


def _why_not_mr(dataset: Dataset) -> str:
    """Return why a file is no MR image of a patient, or nothing.

    A UID is shown by its name in the standard; one that is not there could be anything.
    """
    kind = UID(str(dataset.get("SOPClassUID") or ""))
    if not kind and "file_meta" in vars(dataset):
        kind = UID(str(dataset.file_meta.get("MediaStorageSOPClassUID") or ""))
    if kind == MediaStorageDirectoryStorage:
        return "is a DICOMDIR, which lists other files"
    if kind in UID_dictionary and kind not in MR_CLASSES:
        return f"is no MR image ({kind.name})"
    modality = str(dataset.get("Modality") or "")
    if modality != "MR" and (modality or kind not in MR_CLASSES):
        return "is no MR image by its Modality"
    if str(dataset.get("BurnedInAnnotation")).upper() == "YES":
        return BURNED_IN
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not dataset.get(name):
            return f"has no {name}, so it is unknown what it belongs to"
    return ""


def _slice(flat: Dataset, path: Path, number: int, frame: int) -> SourceSlice:
    if (one_number(flat, "DiffusionBValue") or 0) > 0:
        raise DicomError(path, "is diffusion-weighted by its DiffusionBValue")
    require_one_grey_slice(flat, path)
    instance = one_number(flat, "InstanceNumber") or 0
    series_number = one_number(flat, "SeriesNumber") or 0
    return SourceSlice(
        file=number,
        frame=frame,
        study=str(flat.StudyInstanceUID),
        series=str(flat.SeriesInstanceUID),
        image=str(flat.get("SOPInstanceUID") or ""),
        frame_of_reference=str(flat.get("FrameOfReferenceUID") or ""),
        series_number=int(series_number),
        instance_number=int(instance) if 0 < instance <= MAX_INSTANCE else 0,
        rows=int(tag_value(flat, "Rows")),
        columns=int(tag_value(flat, "Columns")),
        geometry=slice_geometry(flat, path),
        contrast=tuple(texts(flat, name) for name in CONTRAST_TAGS[1:]),
        echo_ms=one_number(flat, "EchoTime"),
        repetition_ms=one_number(flat, "RepetitionTime"),
        inversion_ms=one_number(flat, "InversionTime"),
        scanning_sequence="\\".join(texts(flat, "ScanningSequence")),
        image_type=texts(flat, "ImageType"),
        words=" ".join(text for name in WORD_TAGS for text in texts(flat, name)),
        contrast_agent=any(map(str.strip, texts(flat, "ContrastBolusAgent")))
        or bool(flat.get("ContrastBolusAgentSequence")),
    )


def one_number(dataset: Dataset, name: str) -> float | None:
    """Read the first finite number of a tag, None if there is none."""
    try:
        found = numbers(dataset, name)
    except (ValueError, TypeError):
        return None
    return found[0] if found else None


def texts(dataset: Dataset, name: str) -> tuple[str, ...]:
    """Read a tag's values as texts; a malformed one must not cost the file."""
    value = tag_value(dataset, name)
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return tuple(part.strip(" \0") for part in value.split("\\"))
    try:
        return tuple(map(str, value))
    except TypeError:
        return (str(value),)


def read_source_files(
    folder: Path, names: Sequence[str], first: int
) -> list[SourceFile]:
    """Read some files of a listing, the number of the first given."""
    with quiet():
        return [
            read_source_file(folder / name, first + index)
            for index, name in enumerate(names)
        ]

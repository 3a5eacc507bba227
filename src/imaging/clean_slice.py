"""One slice of an import, written anew: the stated tags and nothing else of its source.

What is kept is a number, or a word of a closed list; no text, date, UID or private tag
of the source is copied.
"""

import struct
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, RLELossless
from pydicom.valuerep import format_number_as_ds

from src.files import replacing
from src.imaging.clean_stream import without_texts
from src.imaging.decoding import only_image, stored_values, used_bits
from src.imaging.dicom_errors import RAISED_ON_DAMAGE, DicomError, translate_errors
from src.imaging.dicom_folder import TAGS, texts
from src.imaging.dicom_tags import (
    fill_in_bits,
    fill_in_syntax,
    numbers,
    read_tags,
    require_one_grey_slice,
    tag_of,
    tag_value,
)
from src.imaging.mr_frames import frames, is_enhanced
from src.imaging.tissue import PADDING_TAGS

# Everything that is kept of a source. Geometry, times and scale: decimal numbers.
KEPT_NUMBERS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "FlipAngle"),
    *("RescaleSlope", "RescaleIntercept"),
)
# Dropped where a person corrected the type, since a prediction believes the header.
KEPT_TIMES = ("EchoTime", "RepetitionTime", "InversionTime")
# How a pixel is stored: integers.
KEPT_COUNTS = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    "PixelRepresentation",
)
# Words that say how an image was made, and no others: of ScanningSequence, ImageType.
KEPT_SEQUENCES = ("SE", "IR", "GR", "EP", "RM")
KEPT_IMAGE_TYPES = (
    *("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "OTHER", "M", "P", "R", "I"),
    *("M_SE", "M_IR", "M_FFE", "FFE", "SE", "IR", "MAGNITUDE", "NORM", "DIS2D"),
    *("WATER", "FAT", "IN_PHASE", "OPP_PHASE", "OUT_PHASE", "W", "F", "IP", "OP"),
)
UNCLEAN = (
    "holds a compressed image that is cut short, damaged or of an unknown kind, so "
    "texts in it could not be removed; download it again or decompress it"
)
ROOT_UID = "1.2.826.0.1.3680043.10.1475"  # of imports: no scanner's and no phantom's
READ_TAGS = [*TAGS, *PADDING_TAGS, "PixelData"]


def write_clean_slice(
    source: Path, frame: int, target: Path, keep_times: bool = True
) -> None:
    """Write a slice as `<study_id>/<series_id>/<instance number>.dcm`.

    frame: of an enhanced file, from 1, whose pixels are stored uncompressed; else 0,
    and compressed pixels stay as they are, without the texts beside them. Raises
    DicomError of the source.
    """
    with translate_errors(source):
        flat, whole = _flat(source, frame)
        require_one_grey_slice(flat, source)
        clean = _clean(flat, target, keep_times)
        _set_pixels(clean, flat, whole, frame, source)
    with replacing(target) as temporary:
        clean.save_as(temporary, enforce_file_format=True)


def picture_hash(source: Path, frame: int) -> str:
    """Hash a slice's stored pixels, to find copies; empty if they cannot be read."""
    try:
        with translate_errors(source):
            flat, whole = _flat(source, frame)
            data = _frame_values(whole, frame).tobytes() if frame else flat.PixelData
            return sha256(data).hexdigest()
    except DicomError:
        return ""


def _flat(source: Path, frame: int) -> tuple[Dataset, Dataset]:
    """Return the tags of a slice, and the dataset that holds its pixels."""
    whole = _enhanced(source) if frame else read_tags(source, READ_TAGS, pixels=True)
    if not frame:
        return whole, whole
    if not is_enhanced(whole):
        raise DicomError(source, "changed since it was listed; import it again")
    return _frames_of(source)[frame - 1], whole


# All frames of a file are written one after the other.
@lru_cache(maxsize=1)
def _enhanced(source: Path) -> Dataset:
    return read_tags(source, READ_TAGS, pixels=True)


@lru_cache(maxsize=1)
def _frames_of(source: Path) -> list[Dataset]:
    return list(frames(_enhanced(source)))


def _clean(flat: Dataset, target: Path, keep_times: bool) -> Dataset:
    """Make a dataset of what is kept, with UIDs of the new ids alone."""
    study, series = target.parents[1].name, target.parent.name
    clean = Dataset()
    clean.SOPClassUID, clean.Modality = MRImageStorage, "MR"
    clean.StudyInstanceUID = UID(f"{ROOT_UID}.{study}")
    clean.SeriesInstanceUID = UID(f"{ROOT_UID}.{study}.{series}")
    clean.SOPInstanceUID = UID(f"{ROOT_UID}.{study}.{series}.{target.stem}")
    clean.FrameOfReferenceUID = clean.StudyInstanceUID
    clean.InstanceNumber = int(target.stem)
    for name in (*KEPT_NUMBERS, *(KEPT_TIMES if keep_times else ())):
        if held := _decimals(flat, name):
            setattr(clean, name, held)
    allowed: dict[str, tuple[str, ...]] = {"ImageType": KEPT_IMAGE_TYPES}
    if keep_times:
        allowed["ScanningSequence"] = KEPT_SEQUENCES
    for name, words in allowed.items():
        if kept := [word for word in texts(flat, name) if word in words]:
            setattr(clean, name, kept)
    return clean


def _decimals(flat: Dataset, name: str) -> list[str]:
    """Return a tag's numbers as decimal strings of at most 16 characters."""
    try:
        return [format_number_as_ds(value) for value in numbers(flat, name)]
    except RAISED_ON_DAMAGE:
        return []


def _set_pixels(
    clean: Dataset, flat: Dataset, whole: Dataset, frame: int, source: Path
) -> None:
    pixels = whole.get_item(tag_of("PixelData"))
    if pixels is None or not pixels.value:
        raise DicomError(source, "has no PixelData, so it is cut short")
    if not frame:
        fill_in_bits(flat, source)
    fill_in_syntax(whole, source)
    for name in KEPT_COUNTS:
        setattr(clean, name, int(tag_value(flat, name)))
    clean.PhotometricInterpretation = tag_value(flat, "PhotometricInterpretation")
    _keep_padding(clean, flat)
    clean.file_meta = FileMetaDataset()
    syntax = whole.file_meta.TransferSyntaxUID
    # Runs are decoded: behind them, and in unused bits, texts may lie.
    if syntax.is_encapsulated and syntax != RLELossless and not frame:
        clean.file_meta.TransferSyntaxUID = syntax
        clean.PixelData = encapsulate([_clean_stream(whole, syntax, source)])
        clean["PixelData"].is_undefined_length = True
        clean["PixelData"].VR = "OB"
        return
    # Decoded, so that no overlay in unused bits and no byte behind the pixels comes
    # along, and that big-endian words are turned.
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = _frame_values(whole, frame) if frame else stored_values(whole, source)
    clean.HighBit = clean.BitsStored - 1
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    clean.PixelData = data + b"\0" * (len(data) % 2)
    clean["PixelData"].VR = "OB" if clean.BitsAllocated == 8 else "OW"


def _clean_stream(whole: Dataset, syntax: UID, source: Path) -> bytes:
    """Return the compressed image without texts; refuse one that may hold some."""
    stream = only_image(whole, syntax, source)
    try:
        return without_texts(stream, syntax)
    except (ValueError, struct.error):
        raise DicomError(source, UNCLEAN) from None


def _keep_padding(clean: Dataset, flat: Dataset) -> None:
    """Keep the values that mark padding, as the words of the pixels are written."""
    for name in PADDING_TAGS:
        if held := _decimals(flat, name):
            value = int(float(held[0])) % 2**clean.BitsAllocated
            clean.add_new(tag_of(name), "US", value % 2**16)


def _frame_values(whole: Dataset, frame: int) -> np.ndarray:
    words = pixel_array(whole, index=frame - 1, raw=True, correct_unused_bits=False)
    return used_bits(words, whole)

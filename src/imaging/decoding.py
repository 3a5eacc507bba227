"""Decoding the stored pixel values of a DICOM dataset."""

import re
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    HTJ2K,
    UID,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from src.imaging.codestream import FrameHeader, frame_header, starts_image
from src.imaging.dicom_errors import DAMAGED, RAISED_ON_DAMAGE, DicomError
from src.imaging.dicom_tags import tag_of, tag_value
from src.imaging.jpeg_lossless import decode_lossless

PLUGIN_OF = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit), "pylibjpeg-libjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pylibjpeg-libjpeg"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg-openjpeg"),
    **dict.fromkeys((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL), "pylibjpeg-openjpeg"),
}
BIT_TAGS = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
WORD_TAGS = ["Rows", "Columns", "BitsAllocated", "PixelRepresentation"]
DECODED_HERE = (JPEGLossless, JPEGLosslessSV1)


def stored_values(dataset: Dataset, path: Path) -> np.ndarray:
    """Decode the [rows, columns] values as stored, before slope and intercept.

    Raises DicomError where no installed decoder can, and where a compressed image is
    another one than the header describes.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if not syntax.is_encapsulated:
            return used_bits(_native(dataset), dataset)
        stream = only_image(dataset, syntax, path)
        if syntax == RLELossless:
            return used_bits(_decoded_runs(dataset), dataset)
        _require_agreement(frame_header(stream), dataset, path)
        if syntax in DECODED_HERE:
            return used_bits(_words(decode_lossless(stream), dataset), dataset)
        return _decoded(dataset)
    except RAISED_ON_DAMAGE:
        raise DicomError(path, _why_undecodable(syntax)) from None


def _native(dataset: Dataset) -> np.ndarray:
    """Read uncompressed words, straight from the file's bytes where they fit exactly.

    pydicom decides what more or fewer bytes mean, and swaps those of big-endian words.
    """
    rows, columns, bits, signed = (tag_value(dataset, name) for name in WORD_TAGS)
    data = dataset.get_item(tag_of("PixelData")).value
    size = rows * columns * bits // 8
    swapped = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    if swapped or len(data) != size + size % 2:
        return _decoded(dataset, False)
    kind = f"<{'i' if signed else 'u'}{bits // 8}"
    return np.frombuffer(data, kind, rows * columns).reshape(rows, columns)


def _decoded(dataset: Dataset, correct_unused_bits: bool = True) -> np.ndarray:
    return pixel_array(
        dataset,
        raw=True,
        allow_excess_frames=False,
        correct_unused_bits=correct_unused_bits,
    )


def _decoded_runs(dataset: Dataset) -> np.ndarray:
    """Decode run lengths; ValueError if they hold a row or more than the header says.

    pydicom drops what is too much with a warning; a few bytes are padding.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        words = _decoded(dataset, False)
    for warning in caught:
        if sizes := re.search(r"(\d+) vs\. (\d+) bytes", str(warning.message)):
            found, expected = map(int, sizes.groups())
            if found - expected >= dataset.Columns:
                raise ValueError("another size than the header says")
    return words


def only_image(dataset: Dataset, syntax: UID, path: Path) -> bytes:
    """Join the fragments of a compressed image; DicomError if there is a second."""
    data = BytesIO(dataset.PixelData)
    parse_basic_offsets(data)
    fragments = list(generate_fragments(data))
    whole = syntax == RLELossless  # has one fragment an image
    images = sum(whole or starts_image(fragment) for fragment in fragments)
    if images > 1:
        reason = f"holds {images} images in its PixelData; split it into one a file"
        raise DicomError(path, reason)
    return b"".join(fragments)


def _require_agreement(frame: FrameHeader, dataset: Dataset, path: Path) -> None:
    """Refuse a compressed image of another size than the tags say."""
    size = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    if (frame.rows, frame.columns, frame.components) != size:
        raise DicomError(
            path,
            f"holds a compressed image of {frame.rows} x {frame.columns} pixels and "
            f"{frame.components} samples, and its Rows, Columns and SamplesPerPixel "
            f"say {size[0]} x {size[1]} and {size[2]}; download it again or remove it",
        )
    # A lossless encoder may count only the bits that this image needs. The sign bit of
    # JPEG Lossless would then be elsewhere; JPEG-LS and JPEG 2000 take care of theirs.
    syntax = dataset.file_meta.TransferSyntaxUID
    lossy = syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)
    signed = syntax in DECODED_HERE and dataset.PixelRepresentation
    least = dataset.BitsStored if lossy or signed else 1
    if not least <= frame.precision <= dataset.BitsAllocated:
        raise DicomError(
            path,
            f"holds a compressed image of {frame.precision} bits, and its BitsStored "
            f"says {dataset.BitsStored}; download it again or remove it",
        )


def _words(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Make pixels of BitsAllocated bits, signed if the file says so."""
    size = dataset.BitsAllocated // 8
    kind = "i" if dataset.PixelRepresentation else "u"
    return values.astype(f"u{size}").view(f"{kind}{size}")


def used_bits(words: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Keep BitsStored bits, HighBit the uppermost, and extend the sign.

    The other bits of a pixel may hold anything (PS3.5, 8.1.1), and pydicom
    assumes that HighBit is BitsStored - 1.
    """
    bits, stored, high = (tag_value(dataset, name) for name in BIT_TAGS[:3])
    above, unused = bits - 1 - high, bits - stored
    if not unused or (above == unused and _fits(words, stored)):
        return words
    return (words << above) >> unused


def _fits(words: np.ndarray, bits: int) -> bool:
    """Return whether all words are numbers of so many bits already, as most files'."""
    signed = words.dtype.kind == "i"
    most = 2 ** (bits - signed) - 1
    return words.max() <= most and (not signed or words.min() >= -most - 1)


def _why_undecodable(syntax: UID) -> str:
    if syntax == RLELossless or not syntax.is_encapsulated:
        return DAMAGED
    compressed = f"is compressed as {syntax.name}"
    if syntax in PLUGIN_OF and not _has_plugin(syntax):
        return f"{compressed}; `pip install pylibjpeg {PLUGIN_OF[syntax]}` reads that"
    if syntax in PLUGIN_OF or syntax in DECODED_HERE:
        return (
            f"{compressed} and does not decode; download it again, convert or remove it"
        )
    return f"{compressed}, which has no Python decoder; convert or remove it"


def _has_plugin(syntax: UID) -> bool:
    return "pylibjpeg" in get_decoder(syntax).available_plugins

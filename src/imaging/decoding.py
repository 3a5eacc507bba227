"""Decoding the stored pixel values of a DICOM dataset."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from src.imaging.dicom_errors import DAMAGED, RAISED_ON_DAMAGE, DicomError

PLUGIN_OF = {
    **dict.fromkeys(JPEGTransferSyntaxes, "pylibjpeg-libjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pylibjpeg-libjpeg"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg-openjpeg"),
    **dict.fromkeys((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL), "pylibjpeg-openjpeg"),
}


def stored_values(dataset: Dataset, path: Path) -> np.ndarray:
    """Decode the [rows, columns] values as stored, before slope and intercept.

    Raises DicomError where no installed decoder can.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise DicomError(path, "does not say how its pixels are encoded; remove it")
    try:
        if syntax.is_encapsulated and syntax != RLELossless:
            return pixel_array(dataset, raw=True, allow_excess_frames=False)
        return _stored_bits(dataset)
    except RAISED_ON_DAMAGE:
        raise DicomError(path, _why_undecodable(syntax)) from None


def _stored_bits(dataset: Dataset) -> np.ndarray:
    """Keep BitsStored bits, HighBit the uppermost, and extend the sign.

    The other bits of a pixel may hold anything (PS3.5, 8.1.1), and pydicom
    assumes that HighBit is BitsStored - 1.
    """
    words = pixel_array(
        dataset, raw=True, allow_excess_frames=False, correct_unused_bits=False
    )
    above = dataset.BitsAllocated - 1 - dataset.get("HighBit", dataset.BitsStored - 1)
    unused = dataset.BitsAllocated - dataset.BitsStored
    if not 0 <= above <= unused:
        raise ValueError("HighBit leaves no room for BitsStored")
    return (words << above) >> unused


def _why_undecodable(syntax: UID) -> str:
    if syntax == RLELossless or not syntax.is_encapsulated:
        return DAMAGED
    compressed = f"is compressed as {syntax.name}"
    if syntax not in PLUGIN_OF:
        return f"{compressed}, which has no Python decoder; convert or remove it"
    if "pylibjpeg" not in get_decoder(syntax).available_plugins:
        return f"{compressed}; `pip install pylibjpeg {PLUGIN_OF[syntax]}` reads that"
    return f"{compressed} and does not decode; download it again, convert or remove it"

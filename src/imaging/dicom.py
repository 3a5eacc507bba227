"""One DICOM file: the slice's position in the patient, and its pixels."""

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from src.imaging.decoding import BIT_TAGS, stored_values
from src.imaging.dicom_errors import RAISED_ON_DAMAGE, DicomError, translate_errors
from src.imaging.dicom_file import DicomFile, read_ordinary
from src.imaging.dicom_tags import (
    fill_in_bits,
    fill_in_syntax,
    numbers,
    one_number,
    read_tags,
    require_one_grey_slice,
    tag_of,
    tag_value,
)
from src.imaging.geometry import SliceGeometry
from src.imaging.orientation import Reorientation, to_canonical
from src.imaging.tissue import PADDING_TAGS, blank_non_tissue, tagged_padding

# Neither SliceThickness nor SpacingBetweenSlices: some of the competition's files lack
# them, and ImagePositionPatient locates each slice.
PLANE_TAGS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
SHAPE_TAGS = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"]
GREY_TAGS = ["PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"]
# What tells images of one position apart. No tag here names a person.
CONTRAST_TAGS = [
    *("SeriesInstanceUID", "ImageType", "EchoTime", "EchoNumbers", "InversionTime"),
    *("FlipAngle", "TemporalPositionIdentifier", "AcquisitionNumber"),
]
# What tells T1 from T2, in series_type.py.
WEIGHTING_TAGS = ["EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence"]
TAGS = [
    *(*SHAPE_TAGS, *GREY_TAGS, *PLANE_TAGS, *CONTRAST_TAGS, *WEIGHTING_TAGS),
    *(*BIT_TAGS, *PADDING_TAGS, "PixelData"),
]
TAG_NUMBERS: list[BaseTag | int] = [int(tag_of(name)) for name in TAGS]
UNIT_TOLERANCE = 0.01
UNKNOWN_WITHOUT = {
    "ImagePositionPatient": "its position is",
    "ImageOrientationPatient": "its plane is",
    "PixelSpacing": "its scale is",
}
# Beyond these a float32 tells no neighbouring grey levels apart, or overflows.
MAX_SLOPE, MAX_SHIFT = 1e12, 2**23
# Of a pixel. No scanner is finer, and a crop of such a one would take gigabytes.
MIN_SPACING_MM, MAX_SPACING_MM = 0.05, 20.0


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """A slice before its pixels are decoded.

    geometry: the stored image's plane; contrast_tags: the values of CONTRAST_TAGS as
    they are stored, to be compared and never shown; file: what is to be read no second
    time for the pixels, None if the file is not an ordinary one.
    """

    path: Path
    instance_number: int
    rows: int
    columns: int
    geometry: SliceGeometry
    contrast_tags: tuple[Any, ...] = field(default=(), repr=False)
    file: DicomFile | None = field(default=None, repr=False)

    @cached_property
    def reorientation(self) -> Reorientation:
        """How the stored image is turned to fixed patient axes."""
        return to_canonical(self.geometry, self.columns, self.rows)

    @cached_property
    def canonical_plane(self) -> SliceGeometry:
        """The plane of the turned image."""
        return self.reorientation.plane(self.geometry)

    @cached_property
    def centre_mm(self) -> np.ndarray:
        """The [3] patient position of the middle of the image."""
        middle = np.array([self.columns - 1, self.rows - 1]) / 2
        return self.geometry.to_patient(middle)

    def contains(self, x: float, y: float) -> bool:
        """Return whether pixel coordinates lie on one of the image's pixels."""
        return -0.5 <= x <= self.columns - 0.5 and -0.5 <= y <= self.rows - 0.5


def read_header(path: Path) -> SliceHeader:
    """Read the header of `<instance number>.dcm`; raises DicomError if it is no slice.

    Only read_pixels finds out whether the pixels can be decoded.
    """
    number = _instance_number(path)
    with translate_errors(path):
        file = read_ordinary(path, TAG_NUMBERS)
        dataset = file.dataset() if file else read_tags(path, TAGS, pixels=False)
        require_one_grey_slice(dataset, path)
        geometry = slice_geometry(dataset, path)
        rows, columns = (tag_value(dataset, name) for name in ("Rows", "Columns"))
        contrast_tags = tuple(_stored(dataset, name) for name in CONTRAST_TAGS)
    return SliceHeader(path, number, rows, columns, geometry, contrast_tags, file)


def read_pixels(path: Path, file: DicomFile | None = None) -> np.ndarray:
    """Decode float32 [rows, columns], after slope and intercept, bright tissue high.

    file: what read_header has read of it, if it did. Pixels that show no tissue, as
    padding and burnt-in text, are NaN. Raises DicomError if the file is damaged or has
    no installed decoder.
    """
    with translate_errors(path):
        file = file or read_ordinary(path, TAG_NUMBERS)
        dataset = file.with_pixels() if file else read_tags(path, TAGS, pixels=True)
        require_one_grey_slice(dataset, path)
        pixels = dataset.get_item(tag_of("PixelData"))
        if pixels is None or not pixels.value:
            reason = "has no PixelData, so it is cut short or holds no pixels"
            raise DicomError(path, f"{reason}; download it again or remove it")
        fill_in_bits(dataset, path)
        fill_in_syntax(dataset, path)
        stored = stored_values(dataset, path)
        padding = tagged_padding(stored, dataset)
        values = blank_non_tissue(stored.astype(np.float32), padding)
        if tag_value(dataset, "PhotometricInterpretation") == "MONOCHROME1":
            # Inverted in the range of storable values, not of this image's own values,
            # so that neighbouring slices keep one scale.
            values = _sum_of_extremes(dataset) - values
        return _rescaled(values, dataset, path)


def _instance_number(path: Path) -> int:
    if not re.fullmatch(r"(0|[1-9][0-9]*)\.dcm", path.name):
        raise DicomError(path, "is not named by an instance number, like 12.dcm")
    return int(path.stem)


def _stored(dataset: Dataset, name: str) -> Any:
    """Return a tag's value as it is stored: a malformed one must not cost the file."""
    element = dataset.get_item(tag_of(name))
    value = None if element is None else element.value
    return value.strip(b"\0 ") if isinstance(value, bytes) else str(value or "")


def slice_geometry(dataset: Dataset, path: Path) -> SliceGeometry:
    """Read a slice's plane; raises DicomError if a tag of PLANE_TAGS is no such."""
    position = _numbers(dataset, "ImagePositionPatient", 3, path)
    axes = _numbers(dataset, "ImageOrientationPatient", 6, path)
    # PixelSpacing is the distance between rows, then between columns.
    between_rows, between_columns = _numbers(dataset, "PixelSpacing", 2, path)
    unit_vectors = _right_and_down(*axes.tolist())
    if unit_vectors is None:
        raise DicomError(path, "has skewed axes for its orientation; remove it")
    least, most = sorted((between_rows, between_columns))
    if not MIN_SPACING_MM <= least <= most <= MAX_SPACING_MM:
        raise DicomError(
            path,
            f"has a PixelSpacing of {between_rows:g} and {between_columns:g} mm, and "
            f"{MIN_SPACING_MM} to {MAX_SPACING_MM:g} are expected; correct that tag or "
            "remove the file",
        )
    spacing_mm = (float(between_columns), float(between_rows))
    return SliceGeometry(position, *unit_vectors, spacing_mm)


# Most slices of a series have the orientation of the one before.
@lru_cache(maxsize=16)
def _right_and_down(*cosines: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the unit vectors [3] of growing column and row; None for skewed axes."""
    axes = np.array(cosines).reshape(2, 3)
    if not (np.abs(axes @ axes.T - np.eye(2)) <= 2 * UNIT_TOLERANCE).all():
        return None
    right = axes[0] / np.linalg.norm(axes[0])
    down = axes[1] - (axes[1] @ right) * right
    return right, down / np.linalg.norm(down)


def _numbers(dataset: Dataset, name: str, count: int, path: Path) -> np.ndarray:
    """Read `count` finite numbers; any other count is refused as missing."""
    try:
        found = numbers(dataset, name)
    except RAISED_ON_DAMAGE:
        found = []
    if len(found) != count:
        reason = f"has no {name} of {count} numbers, so {UNKNOWN_WITHOUT[name]} unknown"
        raise DicomError(path, f"{reason}; correct that tag or remove the file")
    return np.array(found)


def _sum_of_extremes(dataset: Dataset) -> int:
    signed = dataset.PixelRepresentation == 1
    return -1 if signed else 2**dataset.BitsStored - 1


def _rescaled(values: np.ndarray, dataset: Dataset, path: Path) -> np.ndarray:
    """Apply slope and intercept in place; a slope of zero counts as missing."""
    slope = one_number(dataset, "RescaleSlope", 1, path) or 1.0
    intercept = one_number(dataset, "RescaleIntercept", 0, path)
    if (slope, intercept) == (1, 0):
        return values
    size = abs(slope)
    if not (1 / MAX_SLOPE <= size <= MAX_SLOPE) or abs(intercept) > MAX_SHIFT * size:
        raise DicomError(
            path,
            f"has a RescaleSlope of {slope:g} and a RescaleIntercept of {intercept:g}, "
            "beside which its pixels vanish; correct these tags or remove the file",
        )
    values *= np.float32(slope)
    values += np.float32(intercept)
    return values

"""One DICOM file: the slice's position in the patient, and its pixels."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from src.imaging.decoding import stored_values
from src.imaging.dicom_errors import DAMAGED, DicomError, translate_errors
from src.imaging.geometry import SliceGeometry

# Neither SliceThickness nor SpacingBetweenSlices: some of the competition's files lack
# them, and ImagePositionPatient locates each slice.
PLANE_TAGS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
SHAPE_TAGS = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"]
GREY_TAGS = ["PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"]
BIT_TAGS = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
UNIT_TOLERANCE = 0.01
MIN_SPACING_MM = 0.05  # no scanner is that fine, and a crop would take gigabytes


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """A slice before its pixels are decoded."""

    path: Path
    instance_number: int
    rows: int
    columns: int
    geometry: SliceGeometry

    @property
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
    tags = SHAPE_TAGS + GREY_TAGS + PLANE_TAGS
    with translate_errors(path):
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        _require_one_grey_slice(dataset, path)
        geometry = _geometry(dataset, path)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
    return SliceHeader(path, number, rows, columns, geometry)


def read_pixels(path: Path) -> np.ndarray:
    """Decode float32 [rows, columns], after slope and intercept, bright tissue high.

    Raises DicomError if the file is damaged or has no installed decoder.
    """
    tags = [*SHAPE_TAGS, *GREY_TAGS, *BIT_TAGS, "PixelData"]
    with translate_errors(path):
        dataset = dcmread(path, specific_tags=tags)
        _require_one_grey_slice(dataset, path)
        if "PixelData" not in dataset:
            raise DicomError(path, "is cut short or holds no pixels; download it again")
        values = stored_values(dataset, path).astype(np.float32)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            # Inverted in the range of storable values, not of this image's own values,
            # so that neighbouring slices keep one scale.
            values = _sum_of_extremes(dataset) - values
        return _rescaled(values, dataset, path)


def _instance_number(path: Path) -> int:
    if not re.fullmatch(r"(0|[1-9][0-9]*)\.dcm", path.name):
        raise DicomError(path, "is not named by an instance number, like 12.dcm")
    return int(path.stem)


def _require_one_grey_slice(dataset: Dataset, path: Path) -> None:
    if not all(dataset.get(name) for name in ("Rows", "Columns", "SamplesPerPixel")):
        raise DicomError(path, "is cut short or holds no image; download it again")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise DicomError(path, f"holds {frames} frames; split it into one file a slice")
    grey = str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME")
    if dataset.SamplesPerPixel != 1 or not grey:
        raise DicomError(path, "is a colour image, and MR slices are grey; remove it")


def _geometry(dataset: Dataset, path: Path) -> SliceGeometry:
    position = _numbers(dataset, "ImagePositionPatient", 3, path)
    axes = _numbers(dataset, "ImageOrientationPatient", 6, path).reshape(2, 3)
    # PixelSpacing is the distance between rows, then between columns.
    between_rows, between_columns = _numbers(dataset, "PixelSpacing", 2, path)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=2 * UNIT_TOLERANCE):
        raise DicomError(path, "has skewed axes for its orientation; remove it")
    if not min(between_rows, between_columns) >= MIN_SPACING_MM:
        raise DicomError(
            path, f"has a PixelSpacing below {MIN_SPACING_MM} mm; remove it"
        )
    right = axes[0] / np.linalg.norm(axes[0])
    down = axes[1] - (axes[1] @ right) * right
    spacing_mm = (float(between_columns), float(between_rows))
    return SliceGeometry(position, right, down / np.linalg.norm(down), spacing_mm)


def _numbers(dataset: Dataset, name: str, count: int, path: Path) -> np.ndarray:
    """Read `count` finite numbers; any other count is refused as missing."""
    value = dataset.get(name)
    numbers = np.ravel([] if value in (None, "") else value).astype(float)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DicomError(path, f"has no {name}, so its position is unknown; remove it")
    return numbers


def _sum_of_extremes(dataset: Dataset) -> int:
    signed = dataset.PixelRepresentation == 1
    return -1 if signed else 2**dataset.BitsStored - 1


def _rescaled(values: np.ndarray, dataset: Dataset, path: Path) -> np.ndarray:
    """Apply slope and intercept; a slope of zero counts as missing."""
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    if not np.isfinite([slope, intercept]).all():
        raise DicomError(path, DAMAGED)
    return values * np.float32(slope) + np.float32(intercept)

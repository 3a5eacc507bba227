"""Crops: how large they are, and extracting one around a point of a series."""

import math
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from src.errors import UserError
from src.imaging.dicom import DicomError
from src.imaging.grey_levels import to_uint8
from src.imaging.series import Series


@dataclass(frozen=True)
class CropSpec:
    """The size of a crop.

    crop_px: pixels along each side.
    field_mm: millimetres along each side; None keeps the labelled slice's own pixels,
    as the paper does.
    slices: odd; the labelled slice with equally many before and after it.
    """

    crop_px: int = 100
    field_mm: float | None = 50.0
    slices: int = 3

    def __post_init__(self) -> None:
        """Raise UserError for a size that cannot be cut."""
        if not 8 <= self.crop_px <= 1024:
            raise UserError(f"A crop of {self.crop_px} px is not within 8 to 1024 px.")
        if self.slices < 1 or self.slices % 2 == 0:
            raise UserError(f"A crop of {self.slices} slices is not an odd number.")
        field_mm = 50.0 if self.field_mm is None else self.field_mm
        if not (math.isfinite(field_mm) and 5 <= field_mm <= 500):
            raise UserError(f"A field of {field_mm:g} mm is not within 5 to 500 mm.")

    @property
    def middle(self) -> int:
        """The index of the labelled slice among the crop's."""
        return self.slices // 2

    def __str__(self) -> str:
        """Describe the size in words."""
        field = "native pixels" if self.field_mm is None else f"{self.field_mm:g} mm"
        return f"{self.slices} slices of {self.crop_px} px over {field}"


COLOURS = 3  # channels of an image that OpenCV is made for
UNROLLED = 8  # from so many values on numpy's sum adds them in another order


@dataclass(frozen=True, eq=False)
class Crop:
    """pixels: uint8 [slices, px, px] in patient order; notes: warnings about them."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def extract_crop(
    series: Series, index: int, x: float, y: float, spec: CropSpec
) -> Crop:
    """Cut around (x, y) of slice `index`; the point lands on (px - 1) / 2.

    x, y: pixels of the stored image; the crop is turned to fixed patient axes, as
    orientation.py does. A neighbour is cut at the same patient point, projected onto
    its plane; the labelled slice stands in, with a note, for one that cannot be decoded
    or has another contrast. Raises UserError for a point outside its image, DicomError
    for an undecodable labelled slice.
    """
    header = series.headers[index]
    if not header.contains(x, y):
        raise UserError(
            f"Point ({x:g}, {y:g}) is outside {header.path}, "
            f"{header.columns} x {header.rows} pixels; correct or remove it."
        )
    low, high = series.window(index)
    corners_mm = _crop_axes_mm(series, index, x, y, spec)
    chosen, notes = _decodable(series, index, spec.middle)
    cuts = {i: _resampled(series, i, corners_mm, spec, low) for i in set(chosen)}
    return Crop(to_uint8(np.stack([cuts[i] for i in chosen]), low, high), notes)


def _crop_axes_mm(
    series: Series, index: int, x: float, y: float, spec: CropSpec
) -> np.ndarray:
    """Return patient points [3, 3]: the crop's first pixel, the next in x and in y."""
    header = series.headers[index]
    plane, site = header.canonical_plane, header.reorientation.from_stored([x, y])
    spacing = np.array(plane.spacing_mm)
    pitch = spacing if spec.field_mm is None else spec.field_mm / spec.crop_px
    centre = (spec.crop_px - 1) / 2
    first = site - centre * pitch / spacing
    return plane.to_patient(
        first + np.array([(0, 0), (1, 0), (0, 1)]) * pitch / spacing
    )


def _decodable(
    series: Series, index: int, before_after: int
) -> tuple[list[int], tuple[str, ...]]:
    """Choose the slices to cut, `index` in place of undecodable ones; and notes."""
    chosen, notes = [], list(series.neighbour_notes(index, before_after))
    for neighbour in series.neighbours(index, before_after):
        try:
            series.pixels(neighbour)
        except DicomError as error:
            notes.append(f"{error.path.name} {error.reason}: replaced by its neighbour")
            neighbour = index
        chosen.append(neighbour)
    return chosen, tuple(dict.fromkeys(notes))


def _resampled(
    series: Series, index: int, axes_mm: np.ndarray, spec: CropSpec, outside: float
) -> np.ndarray:
    """Resample linearly to float32 [px, px]; average samples where it shrinks.

    What lies outside the image, and pixels that show no tissue, become `outside`.
    """
    first, right, down = series.headers[index].canonical_plane.to_pixel(axes_mm)
    to_source = np.column_stack([right - first, down - first, first])
    samples = max(1, math.ceil(np.abs(to_source[:, :2]).max() - 1e-6))
    if samples > 1:
        steps = to_source[:, :2] / samples
        to_source[:, :2] = steps
        to_source[:, 2] -= steps.sum(axis=1) * (samples - 1) / 2
    pixels = series.canonical_pixels(index)
    fine = _warped(pixels, to_source, spec.crop_px * samples, outside)
    # Seldom, and cheaper to ask of the crop than of the image; NaN is the least of all.
    if np.isnan(fine.min()):
        tissue = np.where(np.isnan(pixels), np.float32(outside), pixels)
        fine = _warped(tissue, to_source, spec.crop_px * samples, outside)
    return fine if samples == 1 else _block_means(fine, samples)


def _block_means(fine: np.ndarray, samples: int) -> np.ndarray:
    """Average float32 [px * samples, px * samples] to [px, px].

    To the last bit as numpy's mean, which takes ten times as long for small blocks.
    """
    side = len(fine) // samples
    if samples >= UNROLLED:
        return fine.reshape(side, samples, side, samples).mean(axis=(1, 3))
    pixels = fine.reshape(side * samples, side, samples)
    if samples == COLOURS:  # which OpenCV adds up in their order, in half the time
        across = cv2.transform(pixels, np.ones((1, COLOURS), np.float32))
    else:
        across = reduce(np.add, (pixels[..., k] for k in range(samples)))
    rows = across.reshape(side, samples, side)
    total = reduce(np.add, (rows[:, k] for k in range(samples)))
    return total / np.float32(samples**2)


def _warped(
    pixels: np.ndarray, to_source: np.ndarray, side: int, outside: float
) -> np.ndarray:
    return cv2.warpAffine(
        pixels,
        to_source,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=outside,
    )

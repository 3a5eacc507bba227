"""Crops: how large they are, and extracting one around a point of a series."""

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from src.errors import UserError
from src.imaging.dicom import DicomError
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


WINDOW_PERCENTILES = (0.5, 99.5)


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
    low, high = intensity_window(series.canonical_pixels(index))
    corners_mm = _crop_axes_mm(series, index, x, y, spec)
    chosen, notes = _decodable(series, index, spec.middle)
    cuts = {i: _resampled(series, i, corners_mm, spec, low) for i in set(chosen)}
    return Crop(to_uint8(np.stack([cuts[i] for i in chosen]), low, high), notes)


def intensity_window(pixels: np.ndarray) -> tuple[float, float]:
    """Return the values to show as black and as white; NaN pixels do not count."""
    # A third of the pixels has the same percentiles at a third of the time, and an odd
    # step does not pick every other pixel of an interpolated image.
    low, high = np.percentile(pixels.ravel()[::3], WINDOW_PERCENTILES)
    if np.isnan(low):
        tissue = pixels[~np.isnan(pixels)]
        return intensity_window(tissue) if tissue.size else (0.0, 0.0)
    return float(low), float(high)


def to_uint8(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values to uint8, low and below and NaN to 0, high and above to 255."""
    scale = 255 / (high - low) if high > low else 0
    # fmax and fmin, unlike clip, take the number where one of the two is NaN.
    grey = np.fmin(np.fmax((pixels - low) * scale, 0), 255)
    return np.rint(grey).astype(np.uint8)


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
    steps = np.stack([right - first, down - first], axis=1)
    samples = max(1, int(np.ceil(np.abs(steps).max() - 1e-6)))
    steps = steps / samples
    first = first - steps.sum(axis=1) * (samples - 1) / 2
    warp = partial(
        cv2.warpAffine,
        M=np.column_stack([steps, first]),
        dsize=(spec.crop_px * samples, spec.crop_px * samples),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=outside,
    )
    pixels = series.canonical_pixels(index)
    fine = warp(pixels)
    if np.isnan(fine).any():  # seldom, and cheaper to ask of the crop than the image
        fine = warp(np.where(np.isnan(pixels), np.float32(outside), pixels))
    blocks = fine.reshape(spec.crop_px, samples, spec.crop_px, samples)
    return blocks.mean(axis=(1, 3))

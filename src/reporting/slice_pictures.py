"""The slices of a study's page: each is embedded once, and crops are windows into it.

Coordinates are in millimetres of a slice's own plane, turned to fixed patient axes: (0,
0) is the middle of the turned image's first pixel, so anisotropic pixels and crops of
any size need no resampling of their own.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from src.errors import UserError
from src.imaging.dicom import DicomError
from src.imaging.grey_levels import to_uint8
from src.imaging.series import Series
from src.inference.study import Study
from src.localization.locate import LocatedSite

FIELD_MM = 60.0  # of a crop's window
AROUND = 3  # slices to scroll through, before and after a site's own
# Characters of all pictures of a page, of at most 1 MB with its words.
MAX_CHARACTERS = 700_000
# Tried in turn until the pictures fit: WebP's quality, and the least pixel in mm.
QUALITIES = ((60, 0.5), (40, 0.6), (25, 0.8), (10, 1.2))


class Box(NamedTuple):
    """A part of a slice's plane, in mm."""

    left: float
    top: float
    right: float
    bottom: float

    def union(self, other: "Box") -> "Box":
        """Return the least box that holds both."""
        least, most = np.minimum(self, other), np.maximum(self, other)
        return Box(*least[:2].tolist(), *most[2:].tolist())


@dataclass(frozen=True)
class SlicePicture:
    """An embedded part of a slice: a WebP as a data URI, and where it lies, in mm."""

    number: int
    uri: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Frame:
    """A slice of a view's scroll.

    number: of its picture; x, y: the site's point, projected onto it, in mm; offset:
    slices from the site's own in patient order; away_mm: between the point and it.
    """

    number: int
    x: float
    y: float
    offset: int
    away_mm: float


class SlicePictures:
    """Collects which parts of which slices a page shows, then encodes each once."""

    def __init__(self, study: Study) -> None:
        """Begin a page about a study."""
        self.study = study
        self._boxes: dict[tuple[int, int], Box] = {}

    def add(self, series_id: int, index: int, box: Box | None = None) -> int:
        """Ask for a part of a slice, or all of it; return the picture's number.

        Raises DicomError if it cannot be decoded.
        """
        series = self.study.series[series_id]
        whole = _whole(series, index)
        series.pixels(index)
        part = whole if box is None else box
        key = (series_id, index)
        self._boxes[key] = self._boxes.get(key, part).union(part)
        return self.numbers[key]

    @property
    def numbers(self) -> dict[tuple[int, int], int]:
        """The number of each picture, by series and index of its slice."""
        return {key: number for number, key in enumerate(self._boxes)}

    def frames(self, site: LocatedSite) -> list[Frame]:
        """Ask for the slices around a view of a site; empty if its own is unreadable.

        The neighbours show the patient point of the site on its own slice.
        """
        series = self.study.series[site.series_id]
        try:
            own = series.index_of(site.instance_number)
            series.pixels(own)
        except UserError:
            return []
        stored = series.headers[own].geometry
        point_mm = stored.to_patient((site.x, site.y))
        found = []
        for offset, index in _scroll(series, own):
            plane = series.headers[index].canonical_plane
            x, y = in_plane(series, index, point_mm)
            half = FIELD_MM / 2
            try:
                box = Box(x - half, y - half, x + half, y + half)
                number = self.add(site.series_id, index, box)
            except DicomError:
                continue
            away_mm = abs(float(plane.distance_mm(point_mm)))
            found.append(Frame(number, x, y, offset, away_mm))
        return found

    def encode(self) -> list[SlicePicture]:
        """Encode all pictures, as finely as MAX_CHARACTERS allow."""
        pictures: list[SlicePicture] = []
        for quality, least_mm in QUALITIES:
            pictures = [
                self._encode(number, quality, least_mm)
                for number in range(len(self._boxes))
            ]
            if sum(len(picture.uri) for picture in pictures) <= MAX_CHARACTERS:
                break
        return pictures

    def _encode(self, number: int, quality: int, least_mm: float) -> SlicePicture:
        (series_id, index), box = list(self._boxes.items())[number]
        series = self.study.series[series_id]
        spacing_mm = np.array(series.headers[index].canonical_plane.spacing_mm)
        pixels = series.canonical_pixels(index)
        rows, columns = pixels.shape
        last = np.array([columns, rows])
        first = np.clip(np.floor(np.array(box[:2]) / spacing_mm), 0, last - 1)
        stop = np.clip(np.ceil(np.array(box[2:]) / spacing_mm) + 1, first + 1, last)
        (left, top), (right, bottom) = first.astype(int), stop.astype(int)
        grey = to_uint8(pixels[top:bottom, left:right], *series.window(index))
        size_mm = (stop - first) * spacing_mm
        size = np.maximum(1, np.minimum(stop - first, size_mm // least_mm)).astype(int)
        if tuple(size) != grey.shape[::-1]:
            grey = cv2.resize(grey, size.tolist(), interpolation=cv2.INTER_AREA)
        x, y = ((first - 0.5) * spacing_mm).tolist()
        return SlicePicture(number, _webp(grey, quality), x, y, *size_mm.tolist())


def in_plane(series: Series, index: int, point_mm: np.ndarray) -> tuple[float, float]:
    """Project a patient point [3] onto a slice: (x, y) in mm of its turned plane."""
    plane = series.headers[index].canonical_plane
    x, y = (plane.to_pixel(point_mm) * plane.spacing_mm).tolist()
    return x, y


def _whole(series: Series, index: int) -> Box:
    """Return the part that all pixels of a slice take up, to their middles."""
    header = series.headers[index]
    shape = (header.columns, header.rows)
    columns, rows = shape[::-1] if header.reorientation.transposed else shape
    across, down = header.canonical_plane.spacing_mm
    return Box(0.0, 0.0, (columns - 1) * across, (rows - 1) * down)


def _scroll(series: Series, own: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and index of each slice around one that is there."""
    for number, index in enumerate(series.neighbours(own, AROUND)):
        offset = number - AROUND
        if index != own or offset == 0:  # at an end of the stack the slice itself
            yield offset, index


def _webp(grey: np.ndarray, quality: int) -> str:
    """Encode uint8 [rows, columns] as a data URI."""
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, "WEBP", quality=quality, method=1)
    return "data:image/webp;base64," + b64encode(buffer.getvalue()).decode("ascii")

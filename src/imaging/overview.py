"""The locator's input: all slices of a study's series of one type, at one scale.

An overview slice is cut around the middle of its image by the code that cuts crops, so
that series of any size and spacing become one stack of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom import DicomError, SliceHeader
from src.imaging.geometry import SliceGeometry
from src.imaging.orientation import Reorientation, to_canonical
from src.imaging.series import Series
from src.imaging.slice_order import SliceOrder

OVERVIEW_PX = 224
FIELD_MM = {SAGITTAL_T1: 280.0, SAGITTAL_T2: 280.0, AXIAL_T2: 180.0}
_AXES = {name: [f"{name}_{axis}" for axis in "xyz"] for name in ("at", "right", "down")}
# stack, place, contrast: the slice's in a Series' order; at, right, down, spacing: the
# stored image's plane.
SLICE_COLUMNS = (
    *("series_id", "instance_number", "stack", "place", "contrast"),
    *("rows", "columns", "spacing_x", "spacing_y"),
    *(*_AXES["at"], *_AXES["right"], *_AXES["down"]),
)


class Images(Protocol):
    """Images [n, px, px]: an array, or rows of a file that are read when indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The images' shape."""
        ...

    def __len__(self) -> int:
        """Count the images."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Index the images as an array."""
        ...

    def __array__(self) -> np.ndarray:
        """Return all images as an array."""
        ...


@dataclass(frozen=True, eq=False)
class Overview:
    """Slices of one series type, one series after the other, each in patient order.

    images: uint8 [n, px, px], turned to fixed patient axes; slices: [n] rows of
    SLICE_COLUMNS; field_mm: the side of an image.
    """

    images: Images
    slices: pd.DataFrame
    field_mm: float

    def __len__(self) -> int:
        """Count the slices."""
        return len(self.slices)

    @property
    def pitch_mm(self) -> float:
        """The distance between neighbouring pixels."""
        return self.field_mm / OVERVIEW_PX

    @cached_property
    def stacks(self) -> np.ndarray:
        """The number [n] of each slice's stack, unique between series."""
        groups = self.slices.groupby(["series_id", "stack"], sort=False)
        return groups.ngroup().to_numpy()

    @cached_property
    def planes(self) -> tuple[SliceGeometry, ...]:
        """The plane of each overview slice, in pixels of the overview."""
        return tuple(
            SliceGeometry(
                own.to_patient(middle_px - self._middle * self._steps_px(own)),
                own.right,
                own.down,
                (self.pitch_mm, self.pitch_mm),
            )
            for own, middle_px in zip(
                self._turned_planes, self._middles_px, strict=True
            )
        )

    @cached_property
    def order(self) -> SliceOrder:
        """The slices' stacks, unique between series, positions and contrasts."""
        places, contrasts = (self.slices[n].to_numpy() for n in ("place", "contrast"))
        return SliceOrder(self.stacks, places, contrasts)

    def neighbours(self, index: int) -> tuple[int, ...]:
        """Return the slices before and after slice `index`, itself in the middle."""
        return self.order.neighbours(index)

    def index_of(self, series_id: int, instance_number: int) -> int | None:
        """Return the index of a file's slice; None if it is not there."""
        found = self._index_of_file.get((series_id, instance_number))
        return None if found is None else int(found)

    def to_image(self, index: int, xy: np.ndarray) -> np.ndarray:
        """Map an overview slice's pixels [..., 2] to those of the file."""
        steps_px = self._steps_px(self._turned_planes[index])
        turned = self._middles_px[index] + (xy - self._middle) * steps_px
        return self._turns[index].to_stored(turned)

    def from_image(self, index: int, xy: np.ndarray) -> np.ndarray:
        """Map a file's pixels [..., 2] to those of its overview slice."""
        steps_px = self._steps_px(self._turned_planes[index])
        turned = self._turns[index].from_stored(xy)
        return self._middle + (turned - self._middles_px[index]) / steps_px

    @property
    def _middle(self) -> float:
        return (OVERVIEW_PX - 1) / 2

    def _steps_px(self, own: SliceGeometry) -> np.ndarray:
        return self.pitch_mm / np.array(own.spacing_mm)

    @cached_property
    def _middles_px(self) -> tuple[np.ndarray, ...]:
        middles = (self.slices[["columns", "rows"]].to_numpy() - 1) / 2
        pairs = zip(self._turns, middles, strict=True)
        return tuple(turn.from_stored(middle) for turn, middle in pairs)

    @cached_property
    def _turns(self) -> tuple[Reorientation, ...]:
        shapes = self.slices[["columns", "rows"]].to_numpy().astype(int).tolist()
        pairs = zip(self._own_planes, shapes, strict=True)
        return tuple(to_canonical(own, *shape) for own, shape in pairs)

    @cached_property
    def _turned_planes(self) -> tuple[SliceGeometry, ...]:
        pairs = zip(self._turns, self._own_planes, strict=True)
        return tuple(turn.plane(own) for turn, own in pairs)

    @cached_property
    def _own_planes(self) -> tuple[SliceGeometry, ...]:
        parts = [self.slices[names].to_numpy(float) for names in _AXES.values()]
        spacings = self.slices[["spacing_x", "spacing_y"]].to_numpy(float)
        return tuple(
            SliceGeometry(at, right, down, (spacing[0], spacing[1]))
            for at, right, down, spacing in zip(*parts, spacings, strict=True)
        )

    @cached_property
    def _index_of_file(self) -> dict[tuple[int, int], int]:
        ids = (self.slices[name].tolist() for name in ("series_id", "instance_number"))
        return {file: index for index, file in enumerate(zip(*ids, strict=True))}


def overview_of(
    series: Series, series_id: int, description: str, keep_pixels: bool = True
) -> tuple[Overview, dict[str, str]]:
    """Draw a series' overview; return it with the rejected files' reasons by name.

    keep_pixels: whether the series keeps what it decodes, for crops to be cut from.
    """
    field_mm = FIELD_MM[description]
    spec = CropSpec(OVERVIEW_PX, field_mm, slices=1)
    images, rows, rejected = [], [], dict(series.rejected)
    for index, header in enumerate(series.headers):
        middle = ((header.columns - 1) / 2, (header.rows - 1) / 2)
        try:
            images.append(extract_crop(series, index, *middle, spec).pixels[0])
        except DicomError as error:
            rejected[header.path.name] = error.reason
        else:
            order = (series.stacks[index], series.positions[index])
            contrast = series.order.contrasts[index]
            rows.append((series_id, *_row(header, (*order, contrast))))
            if not keep_pixels:
                series.release(index)
    shape = (-1, OVERVIEW_PX, OVERVIEW_PX)
    table = pd.DataFrame(rows, columns=list(SLICE_COLUMNS))
    pixels = np.array(images, np.uint8).reshape(shape)
    return Overview(pixels, table, field_mm), rejected


def joined(overviews: Sequence[Overview]) -> Overview:
    """Concatenate the overviews of one or more series of one type."""
    images = np.concatenate([overview.images for overview in overviews])
    slices = pd.concat([o.slices for o in overviews], ignore_index=True)
    return Overview(images, slices, overviews[0].field_mm)


def _row(header: SliceHeader, order: tuple[int, ...]) -> tuple[float, ...]:
    plane = header.geometry
    axes = (*plane.position_mm, *plane.right, *plane.down)
    shape = (header.rows, header.columns)
    return (header.instance_number, *order, *shape, *plane.spacing_mm, *axes)

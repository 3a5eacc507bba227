"""A study's series of one type as the locator sees them: every slice at one scale.

An overview slice is cut around the middle of its image by the very code that cuts
crops, so that many series, of whatever size and spacing, become one stack of pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom import DicomError, SliceHeader
from src.imaging.geometry import SliceGeometry
from src.imaging.series import Series
from src.imaging.slice_order import neighbours

OVERVIEW_PX = 224
FIELD_MM = {SAGITTAL_T1: 280.0, SAGITTAL_T2: 280.0, AXIAL_T2: 180.0}
_AXES = {name: [f"{name}_{axis}" for axis in "xyz"] for name in ("at", "right", "down")}
# stack, place: as Series has them; at, right, down, spacing: the slice's own plane.
SLICE_COLUMNS = (
    *("series_id", "instance_number", "stack", "place", "rows", "columns"),
    *("spacing_x", "spacing_y", *_AXES["at"], *_AXES["right"], *_AXES["down"]),
)


@dataclass(frozen=True, eq=False)
class Overview:
    """Slices of one series type, one series after the other, each in patient order.

    images: uint8 [n, px, px]; slices: [n] rows of SLICE_COLUMNS; field_mm: what an
    image is wide and high.
    """

    images: np.ndarray
    slices: pd.DataFrame
    field_mm: float

    def __len__(self) -> int:
        """Count the slices."""
        return len(self.slices)

    @property
    def pitch_mm(self) -> float:
        """The distance between neighbouring pixels of an overview."""
        return self.field_mm / OVERVIEW_PX

    @cached_property
    def stacks(self) -> np.ndarray:
        """Number [n] the stacks, those of different series differently."""
        return self.slices.groupby(["series_id", "stack"], sort=False).ngroup().values

    @cached_property
    def planes(self) -> tuple[SliceGeometry, ...]:
        """Where each overview slice lies in the patient, its own pixels as units."""
        return tuple(
            SliceGeometry(
                own.to_patient(middle_px - self._middle * self._steps_px(own)),
                own.right,
                own.down,
                (self.pitch_mm, self.pitch_mm),
            )
            for own, middle_px in zip(self._own_planes, self._middles_px, strict=True)
        )

    def neighbours(self, index: int) -> tuple[int, ...]:
        """Return the slice before, a slice itself and the slice after."""
        return neighbours(self.stacks, self.slices["place"].to_numpy(), index)

    def index_of(self, series_id: int, instance_number: int) -> int | None:
        """Find a file among the slices; None if it is not there."""
        found = self._places.get((series_id, instance_number))
        return None if found is None else int(found)

    def to_image(self, index: int, xy: np.ndarray) -> np.ndarray:
        """Map an overview slice's pixels [..., 2] to those of the file."""
        steps_px = self._steps_px(self._own_planes[index])
        return self._middles_px[index] + (xy - self._middle) * steps_px

    def from_image(self, index: int, xy: np.ndarray) -> np.ndarray:
        """Map a file's pixels [..., 2] to those of its overview slice."""
        steps_px = self._steps_px(self._own_planes[index])
        return self._middle + (xy - self._middles_px[index]) / steps_px

    @property
    def _middle(self) -> float:
        return (OVERVIEW_PX - 1) / 2

    def _steps_px(self, own: SliceGeometry) -> np.ndarray:
        return self.pitch_mm / np.array(own.spacing_mm)

    @cached_property
    def _middles_px(self) -> np.ndarray:
        return (self.slices[["columns", "rows"]].to_numpy() - 1) / 2

    @cached_property
    def _own_planes(self) -> tuple[SliceGeometry, ...]:
        parts = [self.slices[names].to_numpy(float) for names in _AXES.values()]
        spacings = self.slices[["spacing_x", "spacing_y"]].to_numpy(float)
        return tuple(
            SliceGeometry(at, right, down, tuple(spacing))
            for at, right, down, spacing in zip(*parts, spacings, strict=True)
        )

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        names = self.slices[["series_id", "instance_number"]].itertuples(index=False)
        return {tuple(name): place for place, name in enumerate(names)}


def overview_of(
    series: Series, series_id: int, description: str
) -> tuple[Overview, dict[str, str]]:
    """Draw a series' overview; return it with what cannot be decoded, by file name."""
    spec = CropSpec(OVERVIEW_PX, FIELD_MM[description], slices=1)
    images, rows, rejected = [], [], dict(series.rejected)
    for index, header in enumerate(series.headers):
        middle = ((header.columns - 1) / 2, (header.rows - 1) / 2)
        try:
            images.append(extract_crop(series, index, *middle, spec).pixels[0])
        except DicomError as error:
            rejected[header.path.name] = error.reason
        else:
            where = (series.stacks[index], series.positions[index])
            rows.append((series_id, *_row(header, where)))
    shape = (-1, OVERVIEW_PX, OVERVIEW_PX)
    table = pd.DataFrame(rows, columns=list(SLICE_COLUMNS))
    pixels = np.array(images, np.uint8).reshape(shape)
    return Overview(pixels, table, spec.field_mm), rejected


def joined(overviews: Sequence[Overview]) -> Overview:
    """Put the overviews of several series of one type, at least one, into one."""
    images = np.concatenate([one.images for one in overviews])
    slices = pd.concat([one.slices for one in overviews], ignore_index=True)
    return Overview(images, slices, overviews[0].field_mm)


def _row(header: SliceHeader, where: tuple[int, int]) -> tuple[float, ...]:
    plane = header.geometry
    axes = (*plane.position_mm, *plane.right, *plane.down)
    shape = (header.rows, header.columns)
    return (header.instance_number, *where, *shape, *plane.spacing_mm, *axes)

"""A canvas in straight coordinates, and the soft shapes painted on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.phantom.anatomy import Anatomy
from src.phantom.tissue import signal

EDGE_MM = 0.9  # width of the blend between two tissues: partial volume


def ellipse(
    x: np.ndarray,
    y: np.ndarray,
    half_x: np.ndarray | float,
    half_y: np.ndarray | float,
) -> np.ndarray:
    """Return about how many millimetres inside an ellipse (negative outside)."""
    half_x, half_y = np.maximum(half_x, 0.05), np.maximum(half_y, 0.05)
    # In place where it can be: most of a phantom's time goes into such arrays.
    inside = np.square(x / half_x) + np.square(y / half_y)
    np.sqrt(inside, out=inside)
    np.subtract(1, inside, out=inside)
    inside *= np.minimum(half_x, half_y)
    return inside


def box(*sides: np.ndarray) -> np.ndarray:
    """Return how many millimetres inside all the given half spaces."""
    inside = sides[0]
    for side in sides[1:]:
        inside = np.minimum(inside, side)
    return inside


class Canvas:
    """Pixels in straight coordinates, and their brightness.

    a, b: [n] float32 in mm; sample: [n] int32, where along the profiles; image: [n]
    float32, relative brightness.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        place: Sequence[np.ndarray],
        image: np.ndarray,
        contrast: str,
    ) -> None:
        """Paint on `image` [n]; place: a, b and sample."""
        self.anatomy, self.image, self.contrast = anatomy, image, contrast
        self.a, self.b, self.sample = place

    @cached_property
    def _side(self) -> np.ndarray:
        """Where the pixel's own side is along a two-sided profile."""
        return self.sample + len(self.anatomy.profiles["from_disc"]) * (self.a > 0)

    def __getitem__(self, name: str) -> np.ndarray:
        """Look up a profile at every pixel; a two-sided one, on the pixel's side."""
        profile = self.anatomy.profiles[name]
        return profile.ravel()[self._side if profile.ndim == 2 else self.sample]

    @cached_property
    def out(self) -> np.ndarray:
        """Distance to the side, |a|."""
        return np.abs(self.a)

    def light(self, tissue: str) -> float:
        """Return a tissue's brightness under this canvas's contrast."""
        return signal(tissue, self.contrast)

    def paint(self, inside_mm: np.ndarray, tissue: str, share: float = 1.0) -> None:
        """Paint a tissue on the pixels inside a shape."""
        self.paint_value(inside_mm, self.light(tissue), share)

    def paint_value(
        self, inside_mm: np.ndarray, value: np.ndarray | float, share: float = 1.0
    ) -> None:
        """Paint a brightness on the pixels inside a shape."""
        cover = inside_mm / EDGE_MM
        cover += 0.5
        np.clip(cover, 0, share, out=cover)
        self.image += cover * (value - self.image)

    def paint_part(self, layer: "Layer") -> None:
        """Paint a layer on the pixels within its bounds, to skip most pixels."""
        chosen = (self.out <= layer.out_mm[1]) & (self.b <= layer.b_mm[1])
        chosen &= (self.out >= layer.out_mm[0]) & (self.b >= layer.b_mm[0])
        if chosen.any():
            inside = np.flatnonzero(chosen)
            self.paint_pixels(inside, layer.paint)

    def paint_pixels(
        self, inside: np.ndarray, paint: "Callable[[Canvas], None]"
    ) -> None:
        """Paint on the pixels of the given indices alone."""
        place = (self.a[inside], self.b[inside], self.sample[inside])
        part = Canvas(self.anatomy, place, self.image[inside], self.contrast)
        paint(part)
        self.image[inside] = part.image


@dataclass(frozen=True)
class Layer:
    """A painting function, and the bounds of |a| and b within which it paints."""

    paint: Callable[[Canvas], None]
    out_mm: tuple[float, float]
    b_mm: tuple[float, float]

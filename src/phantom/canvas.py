"""A canvas in straight coordinates, and the soft shapes painted on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.phantom.anatomy import PROFILE_STEP_MM, Anatomy
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
    distance = np.sqrt(np.square(x / half_x) + np.square(y / half_y))
    return (1 - distance) * np.minimum(half_x, half_y)


def box(*sides: np.ndarray) -> np.ndarray:
    """Return how many millimetres inside all the given half spaces."""
    inside = sides[0]
    for side in sides[1:]:
        inside = np.minimum(inside, side)
    return inside


class Canvas:
    """Pixels in straight coordinates, and their brightness.

    a, b, t: [n] float32 in mm; image: [n] float32, relative brightness.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        straight: Sequence[np.ndarray],
        image: np.ndarray,
        contrast: str,
    ) -> None:
        """Paint on `image` [n]; straight: [3, n]."""
        self.anatomy, self.image, self.contrast = anatomy, image, contrast
        self.a, self.b, self.t = straight
        sample = (self.t - anatomy.start_mm) / PROFILE_STEP_MM
        count = len(anatomy.profiles["from_disc"])
        self._sample = np.clip(sample, 0, count - 1).astype(np.int32)
        self._side = self._sample + count * (self.a > 0)

    def __getitem__(self, name: str) -> np.ndarray:
        """Look up a profile at every pixel; a two-sided one, on the pixel's side."""
        profile = self.anatomy.profiles[name]
        return profile.ravel()[self._side if profile.ndim == 2 else self._sample]

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
        cover = np.clip(inside_mm / EDGE_MM + 0.5, 0, share)
        self.image += cover * (value - self.image)

    def paint_part(self, layer: "Layer") -> None:
        """Paint a layer on the pixels within its bounds, to skip most pixels."""
        chosen = (self.out <= layer.out_mm[1]) & (self.b <= layer.b_mm[1])
        chosen &= (self.out >= layer.out_mm[0]) & (self.b >= layer.b_mm[0])
        if chosen.any():
            inside = np.flatnonzero(chosen)
            straight = (self.a[inside], self.b[inside], self.t[inside])
            part = Canvas(self.anatomy, straight, self.image[inside], self.contrast)
            layer.paint(part)
            self.image[inside] = part.image


@dataclass(frozen=True)
class Layer:
    """A painting function, and the bounds of |a| and b within which it paints."""

    paint: Callable[[Canvas], None]
    out_mm: tuple[float, float]
    b_mm: tuple[float, float]

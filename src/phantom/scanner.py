"""Rendering slices of an anatomy, with contrast, coil shading and noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import PROFILE_STEP_MM, Anatomy
from src.phantom.canvas import Canvas, box, ellipse
from src.phantom.painting import paint_spine
from src.phantom.tissue import signal

BEND_PX, TEXTURE_PX = 8, 4  # grid steps at which smooth fields are computed
NEAR_MM = (-62.0, 62.0, -80.0, 60.0)  # bounds of a and b for painting the spine


@dataclass(frozen=True)
class Contrast:
    """The look of one series.

    weighting: a tissue contrast; gamma: of the brightness; noise: std relative to fat
    on T1; coil_mm: depth over which the back's coil fades to a third; blur_px: of the
    point spread; shade: slope of the remaining bias field per 100 mm, x, y and z.
    """

    weighting: str
    gamma: float
    noise: float
    coil_mm: float
    blur_px: float
    shade: tuple[float, float, float]


def draw_contrast(rng: np.random.Generator, weighting: str) -> Contrast:
    """Draw the look of a series."""
    return Contrast(
        weighting,
        gamma=rng.uniform(0.85, 1.2),
        noise=rng.uniform(0.012, 0.04),
        coil_mm=rng.uniform(90, 220),
        blur_px=rng.uniform(0.45, 0.75),
        shade=tuple(rng.normal(0, 0.12, 3)),
    )


class Grid:
    """Every `step`-th pixel of a slice, to compute smooth fields cheaply."""

    def __init__(self, plane: SliceGeometry, shape: tuple[int, int], step: int) -> None:
        """Lay the grid's points_mm [h', w', 3] over a slice of `shape` pixels."""
        counts = [size // step + 2 for size in shape]
        rows, columns = np.meshgrid(
            *(step * np.arange(n) for n in counts), indexing="ij"
        )
        self.points_mm = plane.to_patient(np.stack([columns, rows], axis=-1))
        self._rows, self._columns = (
            _linear_weights(size, n, step)
            for size, n in zip(shape, counts, strict=True)
        )

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Interpolate values [h', w'] to every pixel: float32 [rows, columns]."""
        return self._rows @ values.astype(np.float32) @ self._columns.T

    def spread_each(self, vectors: np.ndarray) -> np.ndarray:
        """Interpolate vectors [h', w', 3] to every pixel: [3, rows, columns]."""
        return np.stack([self.spread(vectors[..., axis]) for axis in range(3)])


@cache
def _linear_weights(size: int, count: int, step: int) -> np.ndarray:
    """Return weights [size, count] that interpolate `count` samples to every pixel."""
    position = np.arange(size) / step
    nodes = np.arange(count)
    return np.maximum(1 - np.abs(position[:, None] - nodes), 0).astype(np.float32)


def render(
    anatomy: Anatomy,
    plane: SliceGeometry,
    shape: tuple[int, int],
    contrast: Contrast,
    rng: np.random.Generator,
) -> np.ndarray:
    """Render a slice: float32 [rows, columns], 0 for air and about 1 for fat on T1."""
    grid = Grid(plane, shape, BEND_PX)
    bent = anatomy.spine.to_straight(grid.points_mm)
    straight = grid.spread_each(bent)
    points = grid.spread_each(grid.points_mm)
    texture = _textures(anatomy, Grid(plane, shape, TEXTURE_PX))
    sample = _samples(anatomy, straight[2])
    image = _surroundings(
        anatomy, points, straight, sample, texture, contrast.weighting
    )
    _paint_near(anatomy, (*straight[:2], sample), image, contrast.weighting)
    image *= 1 + 0.03 * texture[2]
    image = cv2.GaussianBlur(image, (0, 0), contrast.blur_px)
    image = np.maximum(image, 0) ** contrast.gamma * _coil(points, straight, contrast)
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    noise *= contrast.noise
    image += noise[0]
    return np.hypot(image, noise[1], out=image)


def _textures(anatomy: Anatomy, grid: Grid) -> list[np.ndarray]:
    """Return random fields [3][rows, columns] of about unit std, coarse to fine."""
    points = grid.points_mm.astype(np.float32)
    fields = []
    for octave in range(3):
        waves = anatomy.texture[anatomy.texture[:, 4] == octave]
        phase = points @ waves[:, :3].T + waves[:, 3]
        fields.append(grid.spread(np.sin(phase).sum(axis=-1) / np.sqrt(len(waves) / 2)))
    return fields


def _samples(anatomy: Anatomy, t: np.ndarray) -> np.ndarray:
    """Return the index int32 along the profiles of each t."""
    sample = (t - anatomy.start_mm) / PROFILE_STEP_MM
    count = len(anatomy.profiles["fascia"])
    return np.clip(sample, 0, count - 1, out=sample).astype(np.int32)


def _surroundings(
    anatomy: Anatomy,
    points: np.ndarray,
    straight: np.ndarray,
    sample: np.ndarray,
    texture: list[np.ndarray],
    weighting: str,
) -> np.ndarray:
    """Render all but the spine: skin, fat, the back's muscles, the abdomen."""
    habitus = anatomy.habitus
    (x, y, _), (a, b, _) = points, straight
    image = np.zeros(a.shape, np.float32)
    fat, muscle, bowel = (
        signal(name, weighting) for name in ("fat", "muscle", "bowel")
    )

    def paint(inside: np.ndarray, value: np.ndarray | float) -> None:
        cover = inside + 0.5
        np.clip(cover, 0, 1, out=cover)
        cover *= value - image
        np.add(image, cover, out=image)

    belly = y + habitus["girth_mm"] + 25 + x**2 / 400
    fascia = anatomy.profiles["fascia"][sample] - a**2 / 260 - b
    paint(box(belly, fascia + habitus["back_fat_mm"], 165 - np.abs(x)), fat)
    gut = np.clip(0.6 * texture[0] + 0.4 * texture[1] + 0.5, 0, 1)
    paint(box(belly - 14, fascia), fat + (bowel - fat) * gut)
    streaks = 0.5 * texture[1] + 0.5 * texture[2] - 1.1 + 1.8 * habitus["fatty_muscle"]
    meat = muscle + (fat - muscle) * 0.75 * np.clip(streaks, 0, 1)
    paint(box(fascia, ellipse(a, b - 30, 80, 42)), meat)
    sheath = box(1.2 - np.abs(fascia), b - 10)
    paint(sheath, signal("ligament", weighting))
    return image


def _paint_near(
    anatomy: Anatomy, place: Sequence[np.ndarray], image: np.ndarray, weighting: str
) -> None:
    """Paint the spine on the pixels near it, to save time; place: a, b, sample."""
    a, b, _ = place
    near = (a > NEAR_MM[0]) & (a < NEAR_MM[1]) & (b > NEAR_MM[2]) & (b < NEAR_MM[3])
    whole = Canvas(anatomy, [x.ravel() for x in place], image.ravel(), weighting)
    whole.paint_pixels(np.flatnonzero(near), paint_spine)


def _coil(points: np.ndarray, straight: np.ndarray, contrast: Contrast) -> np.ndarray:
    """Return the sensitivity of a coil under the back, times a slow bias field."""
    depth = np.clip(60 - straight[1], 0, None)
    shade = np.array(contrast.shade, np.float32)
    bias = 1 + np.tensordot(shade, points, 1) / 100
    return np.exp(-depth / contrast.coil_mm) * np.clip(1.4 * bias, 0.2, 3)

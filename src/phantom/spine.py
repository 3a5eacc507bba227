"""The curve of a spine, and the straight coordinates in which anatomy is drawn.

Straight coordinates (a, b, t) in millimetres: a grows to the patient's left, b to the
back with 0 at the vertebral bodies' rear wall, t runs down the canal. The rear wall's
curve carries a frame along t, so a straight point is the same patient point in every
imaging plane.
"""

from dataclasses import dataclass

import numpy as np

STEP_MM = 1.0  # between samples of the curve
VERTEBRAE = (
    *("t9", "t10", "t11", "t12", "l1", "l2", "l3", "l4", "l5"),
    *("s1", "s2", "s3", "s4", "s5"),
)
# Typical adult sizes, rounded; the cohort varies them.
BODY_HEIGHT_MM = (21, 22, 23, 25, 26, 27, 28, 28, 27, 27, 22, 18, 15, 13)
DISC_HEIGHT_MM = (4, 4.5, 5, 6.5, 8, 9.5, 10.5, 11, 10, 2.5, 1.2, 0.8, 0.6)
# Backward lean of the canal on its way down, at each disc: lordosis, then sacrum.
LEAN_DEGREES = (-6, -8, -12, -16, -18, -13, -3, 10, 30, 45, 42, 25, 0)
FIRST_LUMBAR_DISC = VERTEBRAE.index("l1")  # the disc below l1
LUMBAR_DISCS = slice(FIRST_LUMBAR_DISC, FIRST_LUMBAR_DISC + 5)


@dataclass(frozen=True, eq=False)
class Spine:
    """A sampled curve with its frames.

    origin_mm: [n, 3] the rear wall in patient space; axes: [n, 3, 3] with rows left,
    back, down; start_mm: t of the first sample; disc_mm, disc_height_mm: [13] t of
    each disc's middle and its height, from t9/t10 downwards; sixth_lumbar: whether
    there is a vertebra between l5 and s1, and so a fourteenth disc.
    """

    origin_mm: np.ndarray
    axes: np.ndarray
    start_mm: float
    disc_mm: np.ndarray
    disc_height_mm: np.ndarray
    sixth_lumbar: bool = False

    @property
    def last_disc(self) -> int:
        """The index of the disc above the sacrum."""
        return LUMBAR_DISCS.stop - 1 + self.sixth_lumbar

    @property
    def mobile_discs(self) -> np.ndarray:
        """The t of the discs from l1 to the sacrum, those of LUMBAR_DISCS first."""
        return self.disc_mm[LUMBAR_DISCS.start : self.last_disc + 1]

    @property
    def t_mm(self) -> np.ndarray:
        """The [n] arc lengths of the samples."""
        return self.start_mm + STEP_MM * np.arange(len(self.origin_mm))

    def _frame(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interpolate the origin [..., 3] and axes [..., 3, 3] at arc lengths t."""
        sample = np.clip((t - self.start_mm) / STEP_MM, 0, len(self.origin_mm) - 1.001)
        low = sample.astype(int)
        share = (sample - low)[..., None]
        origin = (1 - share) * self.origin_mm[low] + share * self.origin_mm[low + 1]
        share = share[..., None]
        return origin, (1 - share) * self.axes[low] + share * self.axes[low + 1]

    def to_patient(self, straight: np.ndarray) -> np.ndarray:
        """Map straight coordinates [..., 3] to patient millimetres [..., 3]."""
        a, b, t = np.moveaxis(np.asarray(straight, dtype=float), -1, 0)
        origin, axes = self._frame(t)
        return origin + a[..., None] * axes[..., 0, :] + b[..., None] * axes[..., 1, :]

    def to_straight(self, points_mm: np.ndarray) -> np.ndarray:
        """Map patient points [..., 3] to straight coordinates, by Newton's method.

        At the solution t the point lies in the frame's left-back plane. That plane
        turns by the curvature, so a step is divided by 1 - curvature * b.
        """
        points_mm = np.asarray(points_mm, dtype=float)
        height = self.origin_mm[:, 2]
        t = np.interp(-points_mm[..., 2], -height, self.t_mm)
        curvature = np.gradient(np.unwrap(self._lean()), STEP_MM)
        for _ in range(6):
            origin, axes = self._frame(t)
            local = np.einsum("...ij,...j->...i", axes, points_mm - origin)
            bend = np.interp(t, self.t_mm, curvature)
            t = t + local[..., 2] / np.clip(1 - bend * local[..., 1], 0.4, 2.5)
        origin, axes = self._frame(t)
        local = np.einsum("...ij,...j->...i", axes, points_mm - origin)
        return np.concatenate([local[..., :2], t[..., None]], axis=-1)

    def _lean(self) -> np.ndarray:
        """Return the angle [n] in radians by which the canal leans back going down."""
        down = self.axes[:, 2]
        return np.arctan2(down[:, 1], -down[:, 2])


def smoothed(values: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Blur samples along the curve by a Gaussian, ends held."""
    reach = int(4 * sigma_mm / STEP_MM)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP_MM / sigma_mm) ** 2)
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def at_discs(values: tuple[float, ...], sixth_lumbar: bool) -> np.ndarray:
    """Return sizes given at 13 discs, or at 14 with the disc below l5 between."""
    held = np.array(values, float)
    last = LUMBAR_DISCS.stop - 1
    between = (held[last - 1] + held[last]) / 2
    return np.insert(held, last, between) if sixth_lumbar else held


def draw_spine(
    rng: np.random.Generator,
    disc_loss: np.ndarray,
    size: float,
    transitional: bool,
    sixth_lumbar: bool = False,
) -> Spine:
    """Draw a spine at random, centred on l3 near the patient's origin.

    disc_loss: [5] share of the lumbar discs' height lost to degeneration. size scales
    all lengths. A transitional spine has a well-formed disc between s1 and s2.
    """
    heights, l5 = np.array(BODY_HEIGHT_MM, float), VERTEBRAE.index("l5")
    if sixth_lumbar:
        heights = np.insert(heights, l5, heights[l5])
    body = heights * size * rng.normal(1, 0.03)
    disc = at_discs(DISC_HEIGHT_MM, sixth_lumbar) * size
    disc *= rng.normal(1, 0.06, len(disc))
    disc[LUMBAR_DISCS] *= 1 - disc_loss
    if transitional:
        disc[LUMBAR_DISCS.stop + sixth_lumbar] = 7 * size
    disc_mm = np.cumsum(body)[:-1] + np.cumsum(disc) - disc / 2
    disc_mm = disc_mm - disc_mm[FIRST_LUMBAR_DISC + 2]

    t = np.arange(disc_mm[0] - 160, disc_mm[-1] + 120, STEP_MM)
    lordosis = at_discs(LEAN_DEGREES, sixth_lumbar) * rng.uniform(0.5, 1.05)
    lordosis += rng.normal(0, 1.5, len(disc)) + rng.normal(0, 3)
    lean = np.radians(smoothed(np.interp(t, disc_mm, lordosis), 10))
    waves = rng.normal(0, 2.0) * np.sin(t / 60 + rng.uniform(0, 2 * np.pi))
    side = np.radians(smoothed(waves + rng.normal(0, 1.5), 10))
    roll = np.radians(rng.normal(0, 2.5) + rng.normal(0, 2.0) * np.sin(t / 80))
    return Spine(
        *_curve(t, lean, side, roll, rng),
        t[0],
        disc_mm=disc_mm,
        disc_height_mm=disc,
        sixth_lumbar=sixth_lumbar,
    )


def _curve(
    t: np.ndarray,
    lean: np.ndarray,
    side: np.ndarray,
    roll: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the angles to origins [n, 3] and axes [n, 3, 3] (left, back, down)."""
    down = np.stack(
        [np.sin(side), np.sin(lean) * np.cos(side), -np.cos(lean) * np.cos(side)], 1
    )
    left = np.array([1.0, 0, 0]) - down[:, :1] * down
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    back = np.cross(left, down)
    turn, lift = np.cos(roll)[:, None], np.sin(roll)[:, None]
    left, back = turn * left + lift * back, turn * back - lift * left
    origin = np.cumsum(down, axis=0) * STEP_MM
    origin -= origin[np.abs(t).argmin()] + [rng.normal(0, 4), rng.normal(0, 8), 0]
    origin[:, 2] += rng.normal(0, 10)
    return origin, np.stack([left, back, down], 1)

"""A person's lumbar anatomy: sizes along the spine, and the positions of the sites.

All of it is in the straight coordinates of `spine.py`. A size that varies along t is a
profile, sampled finely, so that painting looks up one number a pixel.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from src.competition.constants import (
    CONDITIONS,
    FAMILIES,
    FAMILY_OF,
    LEVELS,
    SIDES,
    SPINAL,
)
from src.phantom.spine import (
    FIRST_LUMBAR_DISC,
    LUMBAR_DISCS,
    Spine,
    at_discs,
    draw_spine,
    smoothed,
)
from src.phantom.variants import Variant

PROFILE_STEP_MM = 0.25
TRANSITIONAL_SHARE = 0.06  # of usual studies, with a disc between s1 and s2
# At each disc: distance of the pedicles' middles from the midline, half width and depth
# of the bodies, half depth and width of the dural sac.
PEDICLE_MM = (12, 12, 12.5, 13.5, 14.5, 15, 15.5, 16.5, 18, 19.5, 17, 14, 10)
BODY_WIDTH_MM = (15, 16, 18, 20, 22, 23, 24, 25, 26, 25, 18, 13, 8)
BODY_DEPTH_MM = (26, 27, 28, 30, 32, 33, 34, 35, 35, 27, 19, 14, 10)
SAC_DEPTH_MM = (6.5, 6.5, 6.8, 7.5, 7.8, 7.5, 7.2, 7.2, 6.5, 4.5, 1.5, 0, 0)
SAC_WIDTH_MM = (8, 8, 8.5, 9.5, 10, 10, 10, 10.2, 9, 6.5, 2, 0, 0)
FORAMEN_RISE_MM = 5.0  # of the foramen's middle above the disc's
FORAMEN_BACK_MM = 5.5
RECESS_BACK_MM = 3.2
RECESS_OUT = 0.95  # the recess's middle lies at this share of the canal's half width


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One person.

    profiles: name to [m], or [2, m] for (right, left), sampled each PROFILE_STEP_MM
    from start_mm; sites: columns condition, level, a, b, t; habitus: single numbers,
    such as the fat behind the back; texture: [18, 5] waves of a random field; variant:
    what makes the naming of levels doubtful.
    """

    spine: Spine
    start_mm: float
    profiles: dict[str, np.ndarray]
    sites: pd.DataFrame
    habitus: dict[str, float]
    texture: np.ndarray
    variant: Variant = "usual"


def draw_anatomy(
    rng: np.random.Generator, narrowing: pd.DataFrame, variant: Variant = "usual"
) -> Anatomy:
    """Draw a person whose graded structures have the given narrowing (rater.py).

    Some usual people turn out to have a disc between s1 and s2.
    """
    table = narrowing.pivot(index="condition", columns="level", values="narrowing")
    size = rng.normal(1, 0.05)
    degeneration = np.clip(0.5 * table.mean().to_numpy() + rng.beta(2, 3, 5), 0, 1)
    if rng.random() < TRANSITIONAL_SHARE and variant == "usual":
        variant = "s1_s2_disc"
    spine = draw_spine(
        rng,
        0.45 * degeneration**2,
        size,
        transitional=variant == "s1_s2_disc",
        sixth_lumbar=variant == "sixth_lumbar",
    )
    t = np.arange(spine.t_mm[0], spine.t_mm[-1], PROFILE_STEP_MM)
    profiles = _bone_profiles(t, spine, size) | _disc_profiles(
        t, spine, degeneration, rng
    )
    profiles |= _canal_profiles(t, spine, size, table.loc[SPINAL].to_numpy(), rng)
    for family in ("foraminal", "subarticular"):
        sided = dict(zip(SIDES, FAMILIES[family], strict=True))
        closed = np.stack([table.loc[sided[side]].to_numpy() for side in SIDES[::-1]])
        profiles[family] = _per_level(t, spine, closed)
    profiles["fascia"] = _fascia(t, spine, size)
    profiles = {name: values.astype(np.float32) for name, values in profiles.items()}
    habitus = {
        "back_fat_mm": rng.uniform(8, 35),
        "fatty_muscle": rng.uniform(0, 0.55),
        "aorta_mm": rng.normal(9, 1),
        "girth_mm": rng.uniform(75, 120),
        "brightness_of_marrow": rng.normal(1, 0.12),
    }
    sites = _sites(spine, profiles, t)
    return Anatomy(spine, t[0], profiles, sites, habitus, _texture(rng), variant)


def _along(t: np.ndarray, spine: Spine, sizes: tuple[float, ...]) -> np.ndarray:
    """Interpolate sizes given at 13 discs along the spine."""
    return np.interp(t, spine.disc_mm, at_discs(sizes, spine.sixth_lumbar))


def _nearest_disc(t: np.ndarray, spine: Spine) -> np.ndarray:
    """Return the index [m] of the disc nearest to each t."""
    return np.searchsorted((spine.disc_mm[1:] + spine.disc_mm[:-1]) / 2, t)


def _per_level(t: np.ndarray, spine: Spine, values: np.ndarray) -> np.ndarray:
    """Expand values [..., 5] of the graded levels to [..., m]; zero elsewhere."""
    discs = np.zeros((*values.shape[:-1], len(spine.disc_mm)))
    discs[..., LUMBAR_DISCS] = values
    return discs[..., _nearest_disc(t, spine)]


def _around_discs(
    t: np.ndarray, spine: Spine, values: np.ndarray, reach_mm: float
) -> np.ndarray:
    """Expand values [5] of the graded levels to [m], fading away from their discs."""
    offset = (t[:, None] - spine.disc_mm[LUMBAR_DISCS]) / reach_mm
    return (np.exp(-0.5 * offset**2) * values).sum(axis=1)


def _bone_profiles(t: np.ndarray, spine: Spine, size: float) -> dict[str, np.ndarray]:
    disc = _nearest_disc(t, spine)
    from_disc = t - spine.disc_mm[disc]
    upper = np.searchsorted(spine.disc_mm, t)  # the vertebra at t
    edges = np.concatenate([[t[0]], spine.disc_mm, [t[-1]]])
    middle = (edges[upper] + edges[np.minimum(upper + 1, len(edges) - 1)]) / 2
    return {
        "from_disc": from_disc,
        "past_endplate": np.abs(from_disc) - spine.disc_height_mm[disc] / 2,
        "from_vertebra": t - middle,
        "lumbar": (disc <= spine.last_disc).astype(float),
        "above_sacrum": spine.disc_mm[spine.last_disc] - t,
        "below_conus": t - spine.disc_mm[FIRST_LUMBAR_DISC] - 2,
        "body_width": _along(t, spine, BODY_WIDTH_MM) * size,
        "body_depth": _along(t, spine, BODY_DEPTH_MM) * size,
        "pedicle": _along(t, spine, PEDICLE_MM) * size,
    }


def _disc_profiles(
    t: np.ndarray, spine: Spine, degeneration: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    count = len(spine.disc_mm)
    degenerations = np.full(count, 0.3) + rng.uniform(-0.2, 0.2, count)
    degenerations[LUMBAR_DISCS] = degeneration
    disc = _nearest_disc(t, spine)
    return {
        "nucleus": np.clip(1.05 - 1.15 * degenerations, 0, 1)[disc],
        "marrow_change": (rng.random(count) < 0.35 * degenerations)[disc].astype(float),
    }


def _canal_profiles(
    t: np.ndarray,
    spine: Spine,
    size: float,
    closed: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Narrow the sac at the discs, in depth more than in width."""
    squeeze = _around_discs(t, spine, closed, 6.0)
    depth = _along(t, spine, SAC_DEPTH_MM) * size * rng.normal(1, 0.05)
    width = _along(t, spine, SAC_WIDTH_MM) * size * rng.normal(1, 0.05)
    depth_left = depth * (1 - 0.8 * squeeze)
    sacrum = spine.disc_mm[[spine.last_disc, spine.last_disc + 2]]
    front = 1.5 + np.interp(t, sacrum, [0, 5]) + 2.8 * squeeze
    return {
        "canal_depth": depth,
        "recess_out": RECESS_OUT * width,
        "sac_depth": depth_left,
        "sac_width": width * (1 - 0.45 * squeeze),
        "sac_back": front + depth_left,
        "bulge": 1.0 * _around_discs(t, spine, np.ones(5), 3.0) + 2.6 * squeeze,
    }


def _fascia(t: np.ndarray, spine: Spine, size: float) -> np.ndarray:
    """Return how far back the back's muscles reach: they fill the spine's curve."""
    y = spine.origin_mm[:, 1]
    hollow = np.clip(smoothed(y, 60) - y, -4, 30)
    return 46 * size + np.interp(t, spine.t_mm, smoothed(hollow, 15))


def _sites(
    spine: Spine, profiles: dict[str, np.ndarray], t: np.ndarray
) -> pd.DataFrame:
    """Locate the 25 graded sites, in the submission's order."""
    rows = []
    for condition, (level, disc) in product(
        CONDITIONS, zip(LEVELS, spine.disc_mm[LUMBAR_DISCS], strict=True)
    ):
        here = {
            name: float(np.interp(disc, t, profiles[name]))
            for name in ("sac_back", "pedicle", "recess_out")
        }
        a, b, site_t = {
            "spinal": (0.0, here["sac_back"], disc),
            "foraminal": (here["pedicle"], FORAMEN_BACK_MM, disc - FORAMEN_RISE_MM),
            "subarticular": (here["recess_out"], RECESS_BACK_MM, disc),
        }[FAMILY_OF[condition]]
        sign = -1 if condition.startswith("right") else 1
        rows.append((condition, level, sign * a, b, site_t))
    return pd.DataFrame(rows, columns=["condition", "level", "a", "b", "t"])


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Draw plane waves [18, 5]: a wave vector [3] in 1/mm, phase, octave (0 to 2).

    The waves run across the body more than along it, as muscle fibres and their fat do.
    """
    octave = np.repeat([0, 1, 2], 6)
    directions = rng.normal(size=(18, 3)) * [1, 1, 0.45]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wavelength = np.array([50, 18, 9])[octave] * rng.uniform(0.7, 1.4, 18)
    vectors = 2 * np.pi * directions / wavelength[:, None]
    phase = rng.uniform(0, 2 * np.pi, 18)
    return np.column_stack([vectors, phase, octave]).astype(np.float32)

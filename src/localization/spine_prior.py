"""The spine prior, learned from marked studies: canal offsets and level spacing.

Once the canal is located on the sagittal T2, every other site has an expected position
in patient space, whichever series shows it; its side and level follow from that
position. Offsets are in DICOM's patient axes, as in `geometry.py`.
"""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from src.competition.constants import (
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    SPINAL,
    swap_side,
)
from src.training.config import CanalOffsetRow, LevelSpacingRow, RunConfig

POINT_MM = ["x_mm", "y_mm", "z_mm"]
TARGET = ["condition", "level"]
CANAL_KEYS = ["study_id", "level"]
MIN_SD_MM = 5.0  # least standard deviation of a prior
SD_INFLATION = 2.0  # factor on the marked studies' standard deviation
Target = tuple[str, str]  # condition, level


@dataclass(frozen=True, eq=False)
class CanalOffset:
    """A target's offset from the canal of its level: mean and standard deviation."""

    mean_mm: np.ndarray
    sd_mm: np.ndarray


def fit_canal_offsets(sites: pd.DataFrame) -> list[CanalOffsetRow]:
    """Fit each target's offset over studies: rows for a run's config.json.

    sites: condition, level and POINT_MM of marked sites, the canal's included. A site
    counts for its mirror image too, which makes both sides symmetric.
    """
    both = sites.merge(canal_of(sites), on=CANAL_KEYS, suffixes=("", "_canal"))
    canal_mm = both[[f"{name}_canal" for name in POINT_MM]].to_numpy()
    offsets = both[TARGET].join(
        pd.DataFrame(both[POINT_MM].to_numpy() - canal_mm, columns=POINT_MM)
    )
    other_side = offsets["condition"].map(swap_side)
    mirrored = offsets.assign(condition=other_side, x_mm=-offsets["x_mm"])
    rows: list[CanalOffsetRow] = []
    for target, group in pd.concat([offsets, mirrored]).groupby(TARGET):
        mean, sd = median_and_mad(group[POINT_MM].to_numpy())
        condition, level = map(str, target)
        rows.append(
            CanalOffsetRow(
                condition=condition,
                level=level,
                mean_mm=mean.tolist(),
                sd_mm=sd.tolist(),
            )
        )
    return rows


def canal_of(sites: pd.DataFrame) -> pd.DataFrame:
    """Select the canal's points, one per study and level: CANAL_KEYS and POINT_MM."""
    canal = sites[sites["condition"] == SPINAL].drop_duplicates(CANAL_KEYS)
    return canal[[*CANAL_KEYS, *POINT_MM]]


def median_and_mad(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate mean and standard deviation of values [n, ...], in mm, to .01 mm.

    By median and MAD, as a few points are marked on a wrong level or side.
    """
    mean = np.median(values, axis=0)
    sd = 1.4826 * np.median(np.abs(values - mean), axis=0)
    return np.round(mean, 2), np.round(sd, 2)


def inflate_sd(sd_mm: Any) -> np.ndarray:
    """Widen standard deviations for studies outside the marked ones."""
    return np.maximum(SD_INFLATION * np.array(sd_mm, float), MIN_SD_MM)


def read_canal_offsets(rows: list[CanalOffsetRow] | None) -> dict[Target, CanalOffset]:
    """Read config.json's rows: offsets by target."""
    return {
        (row["condition"], row["level"]): CanalOffset(
            np.array(row["mean_mm"], float),
            inflate_sd(row["sd_mm"]),
        )
        for row in rows or []
        if row["condition"] in CONDITIONS and row["level"] in LEVELS
    }


@dataclass(frozen=True)
class LevelSpacing:
    """The distance from a level to the next: mean and standard deviation."""

    mean_mm: float
    sd_mm: float


def fit_level_spacing(sites: pd.DataFrame) -> list[LevelSpacingRow]:
    """Fit each level's spacing to the next, canal to canal: rows for config.json.

    sites: condition, level and POINT_MM of marked sites. A pair of levels that no study
    has marked gets no row.
    """
    points = {
        level: group.set_index("study_id")[POINT_MM]
        for level, group in canal_of(sites).groupby("level")
    }
    rows: list[LevelSpacingRow] = []
    for level, following in pairwise(LEVELS):
        if level in points and following in points:
            steps = (points[level] - points[following]).dropna().to_numpy()
            if len(steps):
                mean, sd = median_and_mad(np.linalg.norm(steps, axis=1))
                rows.append(
                    LevelSpacingRow(level=level, mean_mm=float(mean), sd_mm=float(sd))
                )
    return rows


def read_level_spacing(rows: list[LevelSpacingRow] | None) -> dict[str, LevelSpacing]:
    """Read config.json's rows: spacing by upper level."""
    return {
        row["level"]: LevelSpacing(
            float(row["mean_mm"]), float(inflate_sd(row["sd_mm"]))
        )
        for row in rows or []
        if row["level"] in LEVELS[:-1]
    }


def negative_log_prior(
    spacing: Mapping[str, LevelSpacing], upper: int, lower: int, distance_mm: float
) -> float:
    """Return the Gaussian negative log prior of two levels' distance.

    upper, lower: indices in LEVELS. Up to a constant; 0 if a spacing between the two is
    unknown.
    """
    levels = LEVELS[upper:lower]
    if any(level not in spacing for level in levels):
        return 0.0
    between = [spacing[level] for level in levels]
    mean_mm = sum(step.mean_mm for step in between)
    sd_mm = np.hypot.reduce([step.sd_mm for step in between])
    return 0.5 * float((distance_mm - mean_mm) / sd_mm) ** 2


def learned_types(config: RunConfig) -> frozenset[str]:
    """Return the series types on which a location run has learned to find sites.

    Of a run without the canal, whose rows tell no offset, all types.
    """
    conditions = {
        condition for condition, _ in read_canal_offsets(config.canal_offsets)
    }
    types = frozenset(SERIES_OF[FAMILY_OF[condition]] for condition in conditions)
    return types or frozenset(SERIES_DESCRIPTIONS)


SpinePrior = tuple[Mapping[Target, CanalOffset], Mapping[str, LevelSpacing]]


def load_spine_prior(configs: Sequence[RunConfig]) -> SpinePrior:
    """Return offsets and spacing, each from the first run that has it."""
    offsets = ChainMap(
        *(read_canal_offsets(config.canal_offsets) for config in configs)
    )
    return offsets, ChainMap(
        *(read_level_spacing(config.level_spacing) for config in configs)
    )

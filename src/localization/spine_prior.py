"""Where a study's sites lie from its spinal canal: learned from marked studies.

With the canal found on the sagittal T2, every other site has a place to be looked for
in patient space, whichever series shows it; which side and which level it is follows
from that place. Offsets are in DICOM's patient axes, as `geometry.py` has them.
"""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, LEVELS, SPINAL, swap_side
from src.training.config import RunConfig

POINT_MM = ["x_mm", "y_mm", "z_mm"]
TARGET = ["condition", "level"]
CANAL_KEYS = ["study_id", "level"]
MIN_SD_MM = 5.0  # nothing learned is taken to be surer than this, one deviation
SD_INFLATION = 2.0  # nor than so many deviations of the marked studies
Target = tuple[str, str]  # condition, level


@dataclass(frozen=True, eq=False)
class CanalOffset:
    """A target's mean place from the canal of its level, and its deviation; [3] mm."""

    mean_mm: np.ndarray
    sd_mm: np.ndarray


def fit_canal_offsets(sites: pd.DataFrame) -> list[dict[str, Any]]:
    """Measure each target's offset over studies: rows for a run's config.json.

    sites: condition, level and POINT_MM of marked sites, a study's canal and others. A
    site counts for its mirror image too, so that both sides are alike.
    """
    both = sites.merge(canal_of(sites), on=CANAL_KEYS, suffixes=("", "_canal"))
    canal_mm = both[[f"{name}_canal" for name in POINT_MM]].to_numpy()
    away = both[TARGET].join(
        pd.DataFrame(both[POINT_MM].to_numpy() - canal_mm, columns=POINT_MM)
    )
    turned = away.assign(condition=away["condition"].map(swap_side), x_mm=-away["x_mm"])
    rows = []
    for (condition, level), some in pd.concat([away, turned]).groupby(TARGET):
        usual = median_and_mad(some[POINT_MM].to_numpy())
        rows.append({"condition": condition, "level": level, **usual})
    return rows


def canal_of(sites: pd.DataFrame) -> pd.DataFrame:
    """Take the canal's points, one a study and level: CANAL_KEYS and POINT_MM."""
    canal = sites[sites["condition"] == SPINAL].drop_duplicates(CANAL_KEYS)
    return canal[[*CANAL_KEYS, *POINT_MM]]


def median_and_mad(values: np.ndarray) -> dict[str, Any]:
    """Return the middle and the deviation of values [n, ...], in mm.

    Robust, since a few marked points are on a wrong level or side.
    """
    mean = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - mean), axis=0)
    return {"mean_mm": mean.round(2).tolist(), "sd_mm": spread.round(2).tolist()}


def inflate_sd(sd_mm: Any) -> np.ndarray:
    """Widen deviations to what is taken for them in studies not marked."""
    return np.maximum(SD_INFLATION * np.array(sd_mm, float), MIN_SD_MM)


def read_canal_offsets(rows: list[dict[str, Any]] | None) -> dict[Target, CanalOffset]:
    """Turn config.json's rows back into offsets by target."""
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
    """The usual way from a level to the next, and its deviation."""

    mean_mm: float
    sd_mm: float


def fit_level_spacing(sites: pd.DataFrame) -> list[dict[str, Any]]:
    """Measure each step over studies, from canal to canal: rows for config.json.

    sites: condition, level and POINT_MM of marked sites. A step that no study shows
    has no row.
    """
    points = {
        level: some.set_index("study_id")[POINT_MM]
        for level, some in canal_of(sites).groupby("level")
    }
    rows = []
    for level, following in pairwise(LEVELS):
        if level in points and following in points:
            away = (points[level] - points[following]).dropna().to_numpy()
            if len(away):
                rows.append(
                    {"level": level} | median_and_mad(np.linalg.norm(away, axis=1))
                )
    return rows


def read_level_spacing(rows: list[dict[str, Any]] | None) -> dict[str, LevelSpacing]:
    """Turn config.json's rows back into steps by their upper level."""
    return {
        row["level"]: LevelSpacing(
            float(row["mean_mm"]), float(inflate_sd(row["sd_mm"]))
        )
        for row in rows or []
        if row["level"] in LEVELS[:-1]
    }


def negative_log_prior(
    steps: Mapping[str, LevelSpacing], upper: int, lower: int, distance_mm: float
) -> float:
    """Return how unusual it is that two levels lie so far apart.

    upper, lower: places in LEVELS. Half the square of the deviation, in deviations,
    as in the logarithm of a Gaussian; 0 where a step between is not known.
    """
    between = [steps.get(level) for level in LEVELS[upper:lower]]
    if None in between:
        return 0.0
    usual_mm = sum(step.mean_mm for step in between)
    sd_mm = np.hypot.reduce([step.sd_mm for step in between])
    return 0.5 * float((distance_mm - usual_mm) / sd_mm) ** 2


def load_spine_prior(
    configs: Sequence[RunConfig],
) -> tuple[Mapping[Target, CanalOffset], Mapping[str, LevelSpacing]]:
    """Return offsets and steps, each as the first run that knows it has it."""
    offsets = ChainMap(
        *(read_canal_offsets(config.canal_offsets) for config in configs)
    )
    return offsets, ChainMap(
        *(read_level_spacing(config.level_spacing) for config in configs)
    )

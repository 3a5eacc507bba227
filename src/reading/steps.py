"""How far one level lies from the next: learnt from marked studies.

Vertebrae of adults differ by little, so that a level taken for its neighbour leaves a
step too long or too short, whatever a locator makes of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from src.competition.vocab import LEVELS
from src.reading.offsets import POINT_MM, believed, canal_of, robust


@dataclass(frozen=True)
class Step:
    """The usual way from a level to the next, and its deviation."""

    mean_mm: float
    spread_mm: float


def fit_steps(sites: pd.DataFrame) -> list[dict[str, Any]]:
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
                rows.append({"level": level} | robust(np.linalg.norm(away, axis=1)))
    return rows


def read_steps(rows: list[dict[str, Any]] | None) -> dict[str, Step]:
    """Turn config.json's rows back into steps by their upper level."""
    return {
        row["level"]: Step(float(row["mean_mm"]), float(believed(row["spread_mm"])))
        for row in rows or []
        if row["level"] in LEVELS[:-1]
    }


def surprise(
    steps: Mapping[str, Step], upper: int, lower: int, away_mm: float
) -> float:
    """Return how unusual it is that two levels lie so far apart.

    upper, lower: places in LEVELS. Half the square of the deviation, in deviations,
    as in the logarithm of a Gaussian; 0 where a step between is not known.
    """
    between = [steps.get(level) for level in LEVELS[upper:lower]]
    if None in between:
        return 0.0
    usual_mm = sum(step.mean_mm for step in between)
    spread_mm = np.hypot.reduce([step.spread_mm for step in between])
    return 0.5 * float((away_mm - usual_mm) / spread_mm) ** 2

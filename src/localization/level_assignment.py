"""Joint assignment of the five levels by dynamic programming (Viterbi).

Each level lies below the one before it, at a usual spacing.
"""

from collections.abc import Mapping

import numpy as np

from src.localization.heatmap_peaks import Peak
from src.localization.spine_prior import LevelSpacing, negative_log_prior

BELOW_MM = 12.0  # least distance of a level below the one above it
MISSING = 1e-3  # the mass of a level that is skipped as out of view
Path = tuple[Peak | None, ...]


def assign_levels(
    levels: list[list[Peak]], spacing: Mapping[str, LevelSpacing]
) -> list[Peak | None]:
    """Choose a candidate for each level, or None, in order from head to foot.

    levels: the candidates, from the first of LEVELS on; spacing: by upper level, where
    known.
    """
    return list(best_path(levels, spacing)[1])


def best_path(
    levels: list[list[Peak]], spacing: Mapping[str, LevelSpacing]
) -> tuple[float, Path]:
    """Return the best assignment of levels and its log score.

    Maximizes the product of masses and spacing probabilities by Viterbi: the best path
    to a candidate extends the best path to an earlier one. A skipped level has MISSING
    as its mass.
    """
    paths: list[tuple[float, Path]] = [(0.0, ())]  # log probability, path
    for candidates in levels:
        longer: list[tuple[float, Path]] = [
            (log + np.log(MISSING), (*path, None)) for log, path in paths
        ]
        for peak in candidates:
            if peak.mass > 0:
                steps = (
                    (log + _log_prior(path, peak, spacing), path) for log, path in paths
                )
                log, path = max(steps, key=lambda step: step[0])
                longer.append((log + np.log(peak.mass), (*path, peak)))
        paths = longer
    return max(paths, key=lambda path: path[0])


def _log_prior(path: Path, peak: Peak, spacing: Mapping[str, LevelSpacing]) -> float:
    """Return the log prior of extending a path by a peak."""
    found = [(index, above) for index, above in enumerate(path) if above is not None]
    if not found:
        return 0.0
    upper, above = found[-1]
    if above.point_mm[2] - peak.point_mm[2] < BELOW_MM:
        return -np.inf
    distance_mm = float(np.linalg.norm(above.point_mm - peak.point_mm))
    return -negative_log_prior(spacing, upper, len(path), distance_mm)

"""Five levels chosen together: each below the one before it, at a usual step."""

from collections.abc import Mapping

import numpy as np

from src.localization.heatmap_peaks import Peak
from src.localization.spine_prior import LevelSpacing, negative_log_prior

BELOW_MM = 12.0  # a level lies at least so far below the one above it
MISSING = (
    1e-3  # what a level's probabilities are worth if it is taken to be out of view
)
Path = tuple[Peak | None, ...]


def assign_levels(
    levels: list[list[Peak]], steps: Mapping[str, LevelSpacing]
) -> list[Peak | None]:
    """Choose one candidate a level, or none, so that levels run from head to foot.

    levels: from the first of LEVELS on; steps: by their upper level, those known. The
    choice with the greatest product of masses and spacing probabilities, by dynamic
    programming: the best way to a candidate goes over the best way to an earlier one.
    """
    ways: list[tuple[float, Path]] = [(0.0, ())]  # the logarithm of a way's product
    for candidates in levels:
        longer = [(log + np.log(MISSING), (*path, None)) for log, path in ways]
        for one in candidates:
            if one.mass > 0:
                follow = ((log + _fit(path, one, steps), path) for log, path in ways)
                log, path = max(follow, key=lambda way: way[0])
                longer.append((log + np.log(one.mass), (*path, one)))
        ways = longer
    return list(max(ways, key=lambda way: way[0])[1])


def _fit(path: Path, one: Peak, steps: Mapping[str, LevelSpacing]) -> float:
    """Return the logarithm of how well a candidate goes on with a way."""
    found = [place for place, before in enumerate(path) if before is not None]
    if not found:
        return 0.0
    before_mm = path[found[-1]].point_mm
    if before_mm[2] - one.point_mm[2] < BELOW_MM:
        return -np.inf
    distance_mm = float(np.linalg.norm(before_mm - one.point_mm))
    return -negative_log_prior(steps, found[-1], len(path), distance_mm)

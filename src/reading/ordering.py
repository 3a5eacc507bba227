"""Five levels chosen together: each below the one before it."""

import numpy as np

from src.reading.search import Candidate

STEP_MM = 12.0  # a level lies at least so far below the one above it
MISSING = 1e-3  # what a level's chances are worth if it is taken to be out of view


def in_order(levels: list[list[Candidate]]) -> list[Candidate | None]:
    """Choose one candidate a level, or none, so that levels run from head to foot.

    The choice with the greatest product of shares, by dynamic programming: the best
    way to each candidate goes over the best way to one that lies above it.
    """
    # The ways so far: their last candidate's height, their logarithm, their choices.
    ways: list[tuple[float, float, tuple[Candidate | None, ...]]] = [(np.inf, 0.0, ())]
    for candidates in levels:
        longer = [(z, log + np.log(MISSING), (*path, None)) for z, log, path in ways]
        for one in candidates:
            z = float(one.point_mm[2])
            above = [way for way in ways if way[0] - z >= STEP_MM]
            if above and one.share > 0:
                _, log, path = max(above, key=lambda way: way[1])
                longer.append((z, log + np.log(one.share), (*path, one)))
        ways = _undominated(longer)
    return list(max(ways, key=lambda way: way[1])[2])


def _undominated(ways: list[tuple]) -> list[tuple]:
    """Drop a way if another ends at least as high and is at least as good."""
    kept: list[tuple] = []
    for way in sorted(ways, key=lambda way: (-way[0], -way[1])):
        if not kept or way[1] > max(other[1] for other in kept):
            kept.append(way)
    return kept

"""How likely all of a study's levels are off by one.

Levels are told apart by counting discs. Where the count starts at a wrong one, as with
the sacrum out of view or a sixth lumbar vertebra, every site of the study is named a
level too high or too low together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from src.competition.constants import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2
from src.localization.heatmap_peaks import MAX_PEAKS, HeatmapGrid, Peak
from src.localization.level_assignment import BELOW_MM, best_path
from src.localization.locate import SeriesHeatmaps, Sites, targets_on
from src.localization.spine_prior import LevelSpacing

Points = list[np.ndarray | None]  # of LEVELS, in mm; None: not found
SHIFTS = (0, 1, -1)  # by how many levels the true disc lies below the found one


@dataclass(frozen=True)
class LevelShift:
    """The probabilities that all levels were found one too high, or one too low.

    too_high: each level's true disc is the one that was found for the next level.
    """

    too_high: float = 0.0
    too_low: float = 0.0

    @property
    def probability(self) -> float:
        """The probability that all levels are off by one, either way."""
        return self.too_high + self.too_low


NO_SHIFT = LevelShift()


def estimate_level_shift(
    heatmaps: Mapping[str, SeriesHeatmaps],
    sites: Sites,
    spacing: Mapping[str, LevelSpacing],
) -> LevelShift:
    """Compare a study's levels as found with the same moved down or up by one.

    Each of the three is scored by the best assignment of levels (Viterbi) to those
    discs, as the logarithm of its masses and spacing probabilities a level; their
    softmax is the probability. Mean and not sum, since five levels named by one count
    are one piece of evidence, not five. The mean is taken over both sagittal types,
    which count in images of their own; the axial T2 is asked only without them, as it
    hardly shows its level. No doubt where nothing was found.
    """
    sagittal = [name for name in (SAGITTAL_T2, SAGITTAL_T1) if name in heatmaps]
    scores = []
    for description in sagittal or [name for name in heatmaps if name == AXIAL_T2]:
        if own := _series_scores(description, heatmaps[description], sites, spacing):
            scores.append(np.mean(own, axis=0))
    if not scores:
        return NO_SHIFT
    mean = np.mean(scores, axis=0)
    odds = np.exp(mean - mean.max())
    _, too_high, too_low = (odds / odds.sum()).tolist()
    return LevelShift(too_high, too_low)


def _series_scores(
    description: str,
    heatmaps: SeriesHeatmaps,
    sites: Sites,
    spacing: Mapping[str, LevelSpacing],
) -> list[list[float]]:
    """Score SHIFTS by each condition of a series type of which a level was found."""
    grid = HeatmapGrid(heatmaps.overview, *heatmaps.log_probs.shape[-2:])
    probabilities = np.exp(heatmaps.log_probs).reshape(
        -1, len(LEVELS), *heatmaps.log_probs.shape[1:]
    )
    conditions = dict.fromkeys(condition for condition, _ in targets_on(description))
    scores = []
    for condition, by_level in zip(conditions, probabilities, strict=True):
        found = [sites.get((condition, level)) for level in LEVELS]
        points = [None if site is None else site.point_mm for site in found]
        if any(point is not None for point in points):
            scores.append(_shift_scores(grid, by_level, points, spacing))
    return scores


def _shift_scores(
    grid: HeatmapGrid,
    probabilities: np.ndarray,
    points: Points,
    spacing: Mapping[str, LevelSpacing],
) -> list[float]:
    """Score SHIFTS by one condition's probabilities [levels, slices, h, w]."""
    known = {level: point for level, point in enumerate(points) if point is not None}
    near = {level: grid.near(point) for level, point in known.items()}
    heights_mm = [point[2] for point in known.values()]
    above = grid.points_mm[..., 2] > max(heights_mm) + BELOW_MM
    below = grid.points_mm[..., 2] < min(heights_mm) - BELOW_MM

    def candidates(level: int, found: int) -> list[Peak]:
        """Return a level's mass at another one's point, or those of a sixth disc."""
        if found in known:
            mass = float(probabilities[level][near[found]].sum())
            return [Peak(0, np.zeros(2), known[found], mass)]
        if 0 <= found < len(LEVELS):
            return []
        sixth = above if found < 0 else below
        return grid.find_peaks(probabilities[level] * sixth, MAX_PEAKS)

    scores = []
    for shift in SHIFTS:
        levels = [candidates(level, level + shift) for level in range(len(LEVELS))]
        scores.append(best_path(levels, spacing)[0] / len(LEVELS))
    return scores

"""A study's 25 sites, from what a locator makes of its series.

The canal is looked for first, on the sagittal T2, all five levels together. From there
every other site has a place to be looked for. What is missing is made up for in this
order:
1. no sagittal T2: the foramina on the sagittal T1, each side's five levels together,
   tell where the canal is;
2. no sagittal series: the recesses on the axial T2, each side's levels together;
3. a site that its own series does not show: its place is projected there from the
   canal's.
A site whose series type is not there at all is not found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
    SPINAL,
    TARGETS,
)
from src.imaging.overview import Overview
from src.localization.heatmap_peaks import MAX_PEAKS, HeatmapGrid, Peak
from src.localization.level_assignment import assign_levels
from src.localization.spine_prior import CanalOffset, LevelSpacing, Target

# Less of a target's probability than this near its place: it is not shown.
MIN_MASS = 0.02


@dataclass(frozen=True, eq=False)
class LocatedSite:
    """A site: a file, its pixels, and the patient point [3].

    confidence: the share of the probability that lies there; projected: whether
    it was projected from another series.
    """

    series_id: int
    instance_number: int
    x: float
    y: float
    point_mm: np.ndarray
    confidence: float
    source: Literal["located", "projected"]


@dataclass(frozen=True, eq=False)
class SeriesHeatmaps:
    """A study's series of one type, and a locator's log probabilities for it.

    logs: [targets of this type, slices, h, w], in the order of `targets_on`.
    """

    overview: Overview
    log_probs: np.ndarray


Sites = dict[Target, LocatedSite]
Anchors = dict[str, np.ndarray]  # level -> the canal's point [3] in mm


def targets_on(description: str) -> list[Target]:
    """List the targets that a series type shows, as (condition, level)."""
    return [
        (condition, level)
        for condition in CONDITIONS
        if SERIES_OF[FAMILY_OF[condition]] == description
        for level in LEVELS
    ]


def target_indices_of(description: str) -> np.ndarray:
    """Give the places in TARGETS of the targets that a series type shows."""
    names = [f"{condition}_{level}" for condition, level in targets_on(description)]
    return np.array([TARGETS.index(name) for name in names])


def locate(
    seen: Mapping[str, SeriesHeatmaps],
    offsets: Mapping[Target, CanalOffset],
    steps: Mapping[str, LevelSpacing],
) -> Sites:
    """Find a study's sites; what cannot be found is left out.

    seen: by series type, those that the study has; steps: by their upper level.
    """
    sites: Sites = {}
    anchors: Anchors = {}
    for description in (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2):
        if description not in seen:
            continue
        new = _Finder(description, seen[description]).find(anchors, offsets, steps)
        sites |= new
        anchors = _canal(new, offsets) | anchors
    if SAGITTAL_T2 in seen:
        sites = _Finder(SAGITTAL_T2, seen[SAGITTAL_T2]).projected(anchors) | sites
    return sites


def _canal(sites: Sites, offsets: Mapping[Target, CanalOffset]) -> Anchors:
    """Tell where the canal is at each level, from the sites found first."""
    told: dict[str, list[np.ndarray]] = {}
    for (condition, level), site in sites.items():
        if condition == SPINAL:
            told.setdefault(level, []).append(site.point_mm)
        elif (condition, level) in offsets:
            away = offsets[condition, level].mean_mm
            told.setdefault(level, []).append(site.point_mm - away)
    return {level: np.mean(points, axis=0) for level, points in told.items()}


class _Finder:
    """Looks for the targets of one series type."""

    def __init__(self, description: str, seen: SeriesHeatmaps) -> None:
        self.description, self.overview = description, seen.overview
        self.space = HeatmapGrid(seen.overview, *seen.log_probs.shape[-2:])
        self.probabilities = dict(
            zip(targets_on(description), np.exp(seen.log_probs), strict=True)
        )

    def find(
        self,
        anchors: Anchors,
        offsets: Mapping[Target, CanalOffset],
        steps: Mapping[str, LevelSpacing],
    ) -> Sites:
        """Find the targets around their places from the canal, others by themselves."""
        around = {at for at in self.probabilities if at[1] in anchors and at in offsets}
        alone = (
            self._without_anchors(steps) if around < self.probabilities.keys() else {}
        )
        others = {at: one for at, one in alone.items() if at not in around}
        return others | self._anchored(anchors, offsets)

    def projected(self, anchors: Anchors) -> Sites:
        """Drop the canal's points, as another series type tells them, onto slices."""
        found = {level: self.space.nearest(point) for level, point in anchors.items()}
        return {
            (SPINAL, level): replace(self._located(one), source="projected")
            for level, one in found.items()
            if one is not None
        }

    def _without_anchors(self, steps: Mapping[str, LevelSpacing]) -> Sites:
        """Find each condition's levels together, from this series type alone."""
        sites: Sites = {}
        for condition in dict.fromkeys(name for name, _ in self.probabilities):
            levels = [
                self.space.find_peaks(self.probabilities[condition, level], MAX_PEAKS)
                for level in LEVELS
            ]
            for level, one in zip(LEVELS, assign_levels(levels, steps), strict=True):
                if one is not None and one.mass >= MIN_MASS:
                    sites[condition, level] = self._located(one)
        return sites

    def _anchored(
        self, anchors: Anchors, offsets: Mapping[Target, CanalOffset]
    ) -> Sites:
        sites: Sites = {}
        for condition, level in self.probabilities:
            if level not in anchors or (condition, level) not in offsets:
                continue
            offset = offsets[condition, level]
            point_mm = anchors[level] + offset.mean_mm
            one = self._near(condition, level, point_mm, offset.sd_mm)
            if one is not None:
                sites[condition, level] = one
        return sites

    def _near(
        self, condition: str, level: str, point_mm: np.ndarray, sd_mm: np.ndarray
    ) -> LocatedSite | None:
        weights, logs = self.space.gaussian_prior(point_mm, sd_mm)
        probabilities = self._any_level(condition, level)
        share = float((probabilities * weights).sum())
        if share < MIN_MASS:
            place = self.space.nearest(point_mm)
            return place and replace(self._located(place), source="projected")
        # Multiplied as logarithms: what is far away is too little for a float32.
        logs = logs + np.log(np.maximum(probabilities, 1e-30))
        posterior = np.exp(logs - logs.max())
        [best] = self.space.find_peaks(posterior / posterior.sum(), 1)
        return replace(self._located(best), confidence=min(share, 1.0))

    def _any_level(self, condition: str, level: str) -> np.ndarray:
        """Probabilities [slices, h, w] of a target; on axial slices, of any level.

        An axial slice hardly shows which level it is at, and its place does.
        """
        if self.description != AXIAL_T2:
            return self.probabilities[condition, level]
        return sum(self.probabilities[condition, other] for other in LEVELS)

    def _located(self, one: Peak) -> LocatedSite:
        row = self.overview.slices.iloc[one.slice]
        x, y = self.overview.to_image(one.slice, one.xy)
        x = float(np.clip(x, 0, row["columns"] - 1))
        y = float(np.clip(y, 0, row["rows"] - 1))
        number = (int(row["series_id"]), int(row["instance_number"]))
        return LocatedSite(*number, x, y, one.point_mm, min(one.mass, 1.0), "located")

"""A study's 25 sites, from the locators' heatmaps of its series.

The canal is located first, on the sagittal T2, with all five levels jointly. Its points
are the anchors: every other site is searched around its usual offset from them. The
fallbacks, in order:
1. no sagittal T2: the anchors come from the foramina on the sagittal T1, each side's
   five levels jointly;
2. no sagittal series: they come from the recesses on the axial T2, each side's levels
   jointly;
3. a site without a peak in its own series is projected there from the anchor.
A site whose series type is missing is not found.
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

# Less of a target's probability than this near its expected position: not shown.
MIN_MASS = 0.02
SEARCH_ORDER = (SAGITTAL_T2, SAGITTAL_T1, AXIAL_T2)


@dataclass(frozen=True, eq=False)
class LocatedSite:
    """A site: a file, a pixel, and the patient point [3].

    confidence: the share of the target's probability that lies there; source:
    projected if its position comes from another series.
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
    """A study's series of one type, and the locators' log probabilities for it.

    log_probs: [targets of this type, slices, h, w], in the order of `targets_on`.
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
    """Return the indices in TARGETS of the targets that a series type shows."""
    names = [f"{condition}_{level}" for condition, level in targets_on(description)]
    return np.array([TARGETS.index(name) for name in names])


def locate(
    heatmaps: Mapping[str, SeriesHeatmaps],
    offsets: Mapping[Target, CanalOffset],
    spacing: Mapping[str, LevelSpacing],
) -> Sites:
    """Locate a study's sites; one that cannot be found has no entry.

    heatmaps: by series type, those that the study has; spacing: by upper level.
    """
    sites: Sites = {}
    anchors: Anchors = {}
    for description in SEARCH_ORDER:
        if description not in heatmaps:
            continue
        new = _Finder(description, heatmaps[description]).find(
            anchors, offsets, spacing
        )
        sites |= new
        anchors = _anchors(new, offsets) | anchors
    if SAGITTAL_T2 in heatmaps:
        sites = _Finder(SAGITTAL_T2, heatmaps[SAGITTAL_T2]).project(anchors) | sites
    return sites


def expected_points(
    sites: Sites, offsets: Mapping[Target, CanalOffset]
) -> dict[Target, np.ndarray]:
    """Estimate the patient points [3] of the targets without a site, as of no series.

    Each lies at its usual offset from the canal's point of its level, which the sites
    of one series type tell: the sagittal T2's first, as in `locate`.
    """
    anchors: Anchors = {}
    for description in SEARCH_ORDER:
        shown = {at: sites[at] for at in targets_on(description) if at in sites}
        anchors = _anchors(shown, offsets) | anchors
    known = {(SPINAL, level): point for level, point in anchors.items()}
    known |= {
        (condition, level): anchors[level] + offset.mean_mm
        for (condition, level), offset in offsets.items()
        if level in anchors
    }
    return {target: point for target, point in known.items() if target not in sites}


def _anchors(sites: Sites, offsets: Mapping[Target, CanalOffset]) -> Anchors:
    """Estimate the canal's point at each level from the sites of one series type."""
    estimates: dict[str, list[np.ndarray]] = {}
    for (condition, level), site in sites.items():
        if condition == SPINAL:
            estimates.setdefault(level, []).append(site.point_mm)
        elif (condition, level) in offsets:
            offset_mm = offsets[condition, level].mean_mm
            estimates.setdefault(level, []).append(site.point_mm - offset_mm)
    return {level: np.mean(points, axis=0) for level, points in estimates.items()}


class _Finder:
    """Locates the targets of one series type."""

    def __init__(self, description: str, heatmaps: SeriesHeatmaps) -> None:
        self.description, self.overview = description, heatmaps.overview
        height, width = heatmaps.log_probs.shape[-2:]
        self.grid = HeatmapGrid(heatmaps.overview, height, width)
        self.probabilities = dict(
            zip(targets_on(description), np.exp(heatmaps.log_probs), strict=True)
        )
        self._over_levels: dict[str, np.ndarray] = {}

    def find(
        self,
        anchors: Anchors,
        offsets: Mapping[Target, CanalOffset],
        spacing: Mapping[str, LevelSpacing],
    ) -> Sites:
        """Locate targets around their anchor; those without one by level assignment."""
        targets = self.probabilities.keys()
        anchored = {at for at in targets if at[1] in anchors and at in offsets}
        alone = self._without_anchors(spacing) if anchored < targets else {}
        others = {at: site for at, site in alone.items() if at not in anchored}
        return others | self._anchored(anchors, offsets)

    def project(self, anchors: Anchors) -> Sites:
        """Project the canal's points, found in another series type, onto slices."""
        found = {level: self.grid.nearest(point) for level, point in anchors.items()}
        return {
            (SPINAL, level): replace(self._located(peak), source="projected")
            for level, peak in found.items()
            if peak is not None
        }

    def _without_anchors(self, spacing: Mapping[str, LevelSpacing]) -> Sites:
        """Locate each condition's levels jointly, from this series type alone."""
        sites: Sites = {}
        for condition in dict.fromkeys(name for name, _ in self.probabilities):
            levels = [
                self.grid.find_peaks(self.probabilities[condition, level], MAX_PEAKS)
                for level in LEVELS
            ]
            peaks = assign_levels(levels, spacing)
            for level, peak in zip(LEVELS, peaks, strict=True):
                if peak is not None and peak.mass >= MIN_MASS:
                    sites[condition, level] = self._located(peak)
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
            site = self._near(condition, level, point_mm, offset.sd_mm)
            if site is not None:
                sites[condition, level] = site
        return sites

    def _near(
        self, condition: str, level: str, point_mm: np.ndarray, sd_mm: np.ndarray
    ) -> LocatedSite | None:
        weights, logs = self.grid.gaussian_prior(point_mm, sd_mm)
        probabilities = self._any_level(condition, level)
        mass = float((probabilities * weights).sum())
        if mass < MIN_MASS:
            nearest = self.grid.nearest(point_mm)
            if nearest is None:
                return None
            return replace(self._located(nearest), source="projected")
        # Multiplied as logarithms: far from the point the product underflows a float32.
        logs = logs + np.log(np.maximum(probabilities, 1e-30))
        posterior = np.exp(logs - logs.max())
        [best] = self.grid.find_peaks(posterior / posterior.sum(), 1)
        return replace(self._located(best), confidence=min(mass, 1.0))

    def _any_level(self, condition: str, level: str) -> np.ndarray:
        """Return a target's probabilities [slices, h, w]; on axial slices, any level's.

        An axial slice hardly shows its level, which its position determines.
        """
        if self.description != AXIAL_T2:
            return self.probabilities[condition, level]
        if condition not in self._over_levels:
            levels = [self.probabilities[condition, name] for name in LEVELS]
            self._over_levels[condition] = np.sum(levels, axis=0)
        return self._over_levels[condition]

    def _located(self, peak: Peak) -> LocatedSite:
        row = self.overview.slices.iloc[peak.slice]
        x, y = self.overview.to_image(peak.slice, peak.xy)
        x = float(np.clip(x, 0, row["columns"] - 1))
        y = float(np.clip(y, 0, row["rows"] - 1))
        number = (int(row["series_id"]), int(row["instance_number"]))
        confidence = min(peak.mass, 1.0)
        return LocatedSite(*number, x, y, peak.point_mm, confidence, "located")

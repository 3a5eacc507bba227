"""The views of a study's sites: where each series type shows them, and their crops."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from src.competition.constants import FAMILY_OF, SERIES_DESCRIPTIONS, SERIES_OF
from src.errors import UserError, without_folder
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.views import (
    NotShownError,
    ViewFinder,
    order_of_views,
    point_to_view,
)
from src.inference.study import Study
from src.localization.locate import LocatedSite, Sites
from src.localization.spine_prior import Target

Views = dict[str, LocatedSite]  # by series type


@dataclass(eq=False)
class SiteViews:
    """Where the series of a study show its sites.

    views: by site; the view of its own series type is where it was found. One that
    turns out not to be cut is dropped; errors: of sites without any view left, why.
    """

    study: Study
    views: dict[Target, Views]
    errors: dict[Target, str] = field(default_factory=dict)

    def crops(self, spec: CropSpec) -> dict[Target, np.ndarray]:
        """Cut the sites' views: uint8 [views, slices, px, px], zeros for a missing one.

        In the order of SERIES_DESCRIPTIONS, as a network sees them in training.
        """
        crops = {}
        for target, views in self.views.items():
            cut = {name: self._cut(target, name, spec) for name in list(views)}
            if not views:
                continue
            whole = np.zeros(
                (len(SERIES_DESCRIPTIONS), spec.slices, spec.crop_px, spec.crop_px),
                np.uint8,
            )
            for place, name in enumerate(SERIES_DESCRIPTIONS):
                if (pixels := cut.get(name)) is not None:
                    whole[place] = pixels
            crops[target] = whole
        return crops

    def names(self, target: Target) -> list[str]:
        """List the series types that show a site, in order."""
        views = self.views.get(target, {})
        return [name for name in SERIES_DESCRIPTIONS if name in views]

    def elsewhere(self) -> Sites:
        """Return the sites that their own series type does not show, on another one."""
        first = {target: views for target, views in self.views.items() if views}
        return {
            target: views[self.names(target)[0]]
            for target, views in first.items()
            if own_type(target) not in views
        }

    def _cut(self, target: Target, name: str, spec: CropSpec) -> np.ndarray | None:
        """Cut a site's view, or drop it and say why."""
        try:
            return cut_site(self.study, self.views[target][name], spec)
        except UserError as error:
            self.errors[target] = str(error)
            del self.views[target][name]
            return None


def cut_site(study: Study, site: LocatedSite, spec: CropSpec) -> np.ndarray:
    """Cut around a site, uint8 [slices, px, px].

    Raises UserError, which names no folder above the series.
    """
    series = study.series[site.series_id]
    try:
        index = series.index_of(site.instance_number)
        return extract_crop(series, index, site.x, site.y, spec).pixels
    except UserError as error:
        folder = series.headers[0].path.parents[1]
        raise UserError(without_folder(str(error), folder).rstrip(".")) from error


def own_type(target: Target) -> str:
    """Return the series type that a target is usually read on."""
    return SERIES_OF[FAMILY_OF[target[0]]]


def find_site_views(
    study: Study, sites: Sites, expected: Mapping[Target, np.ndarray]
) -> SiteViews:
    """Find where the series of a study show its sites.

    expected: patient points [3] of targets without a site, which may be shown by series
    of other types than their own.
    """
    placed = {at: site.point_mm for at, site in sites.items() if _placed(study, site)}
    views = {target: {own_type(target): site} for target, site in sites.items()}
    finders = _finders(study)
    for target, point_mm in (placed | dict(expected)).items():
        shown, points_mm = views.setdefault(target, {}), {**placed, target: point_mm}
        for name in (name for name in SERIES_DESCRIPTIONS if name not in shown):
            sought = point_to_view(target, name, points_mm)
            if view := _nearest(finders[name], sought):
                shown[name] = view
    return SiteViews(study, {target: shown for target, shown in views.items() if shown})


def _finders(study: Study) -> dict[str, dict[int, ViewFinder]]:
    """Make a finder of each series, by its type and id."""
    finders: dict[str, dict[int, ViewFinder]] = {n: {} for n in SERIES_DESCRIPTIONS}
    for name, overview in study.overviews.items():
        for series_id in overview.slices["series_id"].unique().tolist():
            finders[name][series_id] = ViewFinder(study.series[series_id])
    return finders


def _placed(study: Study, site: LocatedSite) -> bool:
    """Return whether a site's slice is there, and has a position."""
    own = study.series[site.series_id]
    with suppress(UserError):
        return int(own.stacks[own.index_of(site.instance_number)]) not in own.warnings
    return False


def _nearest(
    finders: Mapping[int, ViewFinder], point_mm: np.ndarray
) -> LocatedSite | None:
    """Find the view to prefer in all series of a type; None if none shows the point."""
    views = {}
    for series_id, finder in finders.items():
        with suppress(NotShownError):
            views[series_id] = finder.find(point_mm)
    if not views:
        return None
    distances_mm = [view.distance_mm for view in views.values()]
    series_id = list(views)[order_of_views(distances_mm, list(views))[0]]
    view = views[series_id]
    number = finders[series_id].series.headers[view.index].instance_number
    return LocatedSite(series_id, number, view.x, view.y, point_mm, 0.0, "projected")

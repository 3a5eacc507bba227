"""Where the severity models look: their attention over views and slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from src.competition.constants import SERIES_DESCRIPTIONS
from src.inference.grading import CropClassifier, cut_sites
from src.inference.site_views import SiteViews, own_type
from src.localization.locate import Sites
from src.localization.spine_prior import Target

Key = TypeVar("Key")
SliceShares = Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class SiteAttention:
    """The shares of a site's images in the pooling: means over the models.

    views: by series type, of the models that see all views. slices: by series type and
    number in patient order counted from the site's own slice, of the models that see
    the slices one by one. Each sums to 1, or is empty without such a model.
    """

    views: Mapping[str, float]
    slices: SliceShares


def attention_of(
    models: Sequence[CropClassifier], sites: Sites, views: SiteViews
) -> dict[Target, SiteAttention]:
    """Average where the models that pool by attention look at each site.

    Costs each of them a second pass. Empty without such a model.
    """
    by_view: dict[Target, list[Mapping[str, float]]] = {}
    by_slice: dict[Target, list[SliceShares]] = {}
    for model in (model for model in models if model.pools_by_attention):
        crops = _crops(model, sites, views)
        if not crops:
            continue
        conditions = [condition for condition, _ in crops]
        shares = model.attention(np.stack(list(crops.values())), conditions)
        for target, own in zip(crops, shares, strict=True):
            if not np.isfinite(own).all():
                continue
            if model.sees_all_views:
                names: Sequence[str] = SERIES_DESCRIPTIONS
                totals = dict(zip(names, own.sum(axis=1).tolist(), strict=True))
                by_view.setdefault(target, []).append(totals)
            else:
                names = [own_type(target)]
            if model.run.config.attends:
                by_slice.setdefault(target, []).append(_numbered(own, names))
    return {
        target: SiteAttention(
            _mean(by_view.get(target, [])), _mean(by_slice.get(target, []))
        )
        for target in by_view | by_slice
    }


def _crops(
    model: CropClassifier, sites: Sites, views: SiteViews
) -> dict[Target, np.ndarray]:
    if model.sees_all_views:
        return views.crops(model.spec)
    return cut_sites(views.study, sites, model.spec, {})


def _numbered(shares: np.ndarray, names: Sequence[str]) -> SliceShares:
    """Name the shares [views, slices] by series type and number from the middle."""
    middle = shares.shape[1] // 2
    return {
        (name, index - middle): float(share)
        for name, row in zip(names, shares, strict=True)
        for index, share in enumerate(row)
    }


def _mean(parts: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """Average maps whose keys may differ; a missing key counts as 0."""
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: sum(part.get(key, 0.0) for part in parts) / len(parts) for key in keys}

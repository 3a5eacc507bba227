"""Sites of the cache with all their views, as batches of tensors."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from src.cache.crop_cache import OWN, CropCache
from src.cache.crop_views import own_types
from src.classification.crop_dataset import CropDataset, select_slices
from src.competition.constants import AXIAL_T2, SERIES_DESCRIPTIONS
from src.errors import UserError
from src.training.augmentation import derive_seed
from src.training.data_loading import BatchKey

VIEW_DROP = 0.2  # probability that training goes without a view
MISSING = -1


@dataclass(frozen=True, eq=False)
class SiteDataset(CropDataset):
    """Sites with a crop of each series type, indexed by whole batches.

    As a CropDataset of the crops at the marked points, whose numbers name the sites;
    views: [n, views] the crop of each of SERIES_DESCRIPTIONS, MISSING where there is
    none. Its images are uint8 [n, views, slices, px, px], zeros for a missing view. A
    flip is of all views alike, the augmentation each view's own; where there is any,
    training drops views at random, but never the last one of a site.
    """

    PER_ROW: ClassVar[tuple[str, ...]] = (*CropDataset.PER_ROW, "views")
    views: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def _images(self, key: BatchKey) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch's sites [n, views, slices, px, px] and their target."""
        numbers = self._shown(key)
        images = np.zeros((*numbers.shape, *self.crops.shape[1:]), np.uint8)
        for view, description in enumerate(SERIES_DESCRIPTIONS):
            there = np.flatnonzero(numbers[:, view] != MISSING)
            if len(there):
                axial = np.full(len(there), description == AXIAL_T2)
                own = key._replace(rows=key.rows[there])
                images[there, view], _ = self._cut(own, numbers[there, view], axial)
        seen = select_slices(images, self.slices)
        return np.ascontiguousarray(seen), self._target(key)

    def _shown(self, key: BatchKey) -> np.ndarray:
        """Return the crops [n, views] that a batch shows: in training, not all."""
        numbers = self.views[key.rows]
        if key.epoch is None or self.augment is None or not self.augment.strength:
            return numbers
        seeds = [
            derive_seed(self.seed, key.epoch, int(row), 1)  # 1: apart from the flips'
            for row in self.rows[key.rows]
        ]
        count = numbers.shape[1]
        draws = np.stack([np.random.default_rng(seed).random(count) for seed in seeds])
        draws[numbers == MISSING] = -1.0
        last = draws == draws.max(axis=1, keepdims=True)  # dropped after all others
        return np.where((draws >= VIEW_DROP) | last, numbers, MISSING)


def view_crops(cache: CropCache, sites: pd.Series) -> np.ndarray:
    """Return the crop [n, views] of each series type of some sites, or MISSING.

    sites: their numbers, the cache's column `site`. Raises UserError for a cache that
    holds the marked views alone.
    """
    if (cache.table["view"] == OWN).all():
        raise UserError(
            f"--views all looks at a site in all series types, and {cache.path} holds "
            "the marked ones alone: prepare one with input_prep.py --views all"
        )
    by_view = cache.table.groupby(["site", own_types(cache.table)])["crop"].first()
    crops = by_view.unstack().reindex(sites, columns=list(SERIES_DESCRIPTIONS))
    return crops.fillna(MISSING).to_numpy(np.int64)

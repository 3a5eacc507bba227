"""Severity and condition probabilities at the found sites, from an ensemble of runs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from src.classification.crop_dataset import select_slices
from src.classification.ensemble import ensemble
from src.classification.labels import CROP_LABELS
from src.competition.constants import (
    AXIAL_T2,
    FAMILY_OF,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    SIDES,
)
from src.errors import UserError
from src.imaging.crops import CropSpec
from src.inference.site_views import SiteViews, cut_site
from src.inference.study import Study
from src.localization.locate import Sites
from src.localization.spine_prior import Target
from src.training.mirror import mirror_where
from src.training.predictor import Predictor
from src.training.run_folder import Run

NO_FINITE_RUN = "no run predicted a finite probability"
OnSkip = Callable[[str, Target], None]  # called with the run's name


@dataclass(frozen=True, eq=False)
class CropClassifier:
    """A run of a crop task, loaded for inference."""

    run: Run
    predictor: Predictor

    @property
    def spec(self) -> CropSpec:
        """The crops that it was trained on."""
        return CropSpec(**self.run.config.crop)

    @property
    def sees_all_views(self) -> bool:
        """Whether it was trained on all views of a site."""
        return self.run.config.views == "all"

    def predict_proba(self, crops: np.ndarray, conditions: list[str]) -> np.ndarray:
        """Return the probability of each label [n, labels] for crops of its spec.

        crops: uint8 [n, slices, px, px], or [n, views, slices, px, px] of SiteViews for
        a run that sees all views.
        """
        outputs = self.predictor.outputs(self._images(crops, conditions))
        return torch.softmax(outputs, dim=1).cpu().numpy().astype(float)

    @property
    def pools_by_attention(self) -> bool:
        """Whether it weighs views, or slices one by one."""
        return self.sees_all_views or self.run.config.attends

    def attention(self, crops: np.ndarray, conditions: list[str]) -> np.ndarray:
        """Return the shares of the crops' images in its pooling.

        crops: as predict_proba takes them. [n, views, places], of a run of one view
        [n, 1, places]: a place for each slice in patient order, or one for all slices
        of a view that are shown as one image. A site's shares sum to 1.
        """
        shares = self.predictor.attention(self._images(crops, conditions))
        own = shares.cpu().numpy().astype(float)
        own = own if own.ndim == 3 else own[:, None]
        if CROP_LABELS[self.run.config.task].canonical_side:
            for row, condition in enumerate(conditions):
                if condition.startswith(SIDES[1]):  # whose sagittal slices were flipped
                    sagittal = _is_sagittal(condition, own.shape[1])
                    own[row, sagittal] = own[row, sagittal, ::-1]
        return own

    def _images(self, crops: np.ndarray, conditions: list[str]) -> torch.Tensor:
        """Turn crops into what the network sees."""
        config = self.run.config
        if CROP_LABELS[config.task].canonical_side:
            crops = _flip_right_sites(crops, conditions)
        images = np.ascontiguousarray(select_slices(crops, config.slices))
        return torch.from_numpy(images)


def predict_ensemble(
    study: Study,
    sites: Sites,
    models: list[CropClassifier],
    on_skip: OnSkip = lambda run, target: None,
    views: SiteViews | None = None,
) -> tuple[dict[Target, np.ndarray], dict[Target, str]]:
    """Return the ensemble's probabilities by site, and why others have none.

    A run without finite probabilities for a site is skipped there, and on_skip called;
    a site without any other run has none. views: for the runs that see all of them,
    also of sites that their own series does not show.
    """
    found: dict[Target, list[np.ndarray]] = {}
    read_errors: dict[Target, str] = {}
    kinds = {(model.spec, model.sees_all_views): None for model in models}
    for spec, all_views in kinds:
        if not all_views:
            crops = cut_sites(study, sites, spec, read_errors)
        elif views is not None:
            crops = views.crops(spec)
            read_errors |= {at: why for at, why in views.errors.items() if at in sites}
        else:
            continue
        if not crops:
            continue
        names = [condition for condition, _ in crops]
        pixels = np.stack(list(crops.values()))
        kind = (spec, all_views)
        for model in (m for m in models if (m.spec, m.sees_all_views) == kind):
            rows = model.predict_proba(pixels, names)
            for target, row in zip(crops, rows, strict=True):
                if np.isfinite(row).all():
                    found.setdefault(target, []).append(row)
                else:
                    on_skip(model.run.folder.name, target)
                    read_errors.setdefault(target, NO_FINITE_RUN)
    if not found:
        return {}, read_errors
    counts = [len(rows) for rows in found.values()]
    mean = ensemble(
        np.vstack(list(found.values())), np.repeat(range(len(counts)), counts)
    )
    errors = {at: error for at, error in read_errors.items() if at not in found}
    return dict(zip(found, mean, strict=True)), errors


def cut_sites(
    study: Study, sites: Sites, spec: CropSpec, read_errors: dict[Target, str]
) -> dict[Target, np.ndarray]:
    """Cut the sites of their own series; add to read_errors why others are not cut."""
    crops = {}
    for target, site in sites.items():
        try:
            crops[target] = cut_site(study, site, spec)
        except UserError as error:
            read_errors[target] = str(error)
    return crops


def _is_sagittal(condition: str, views: int) -> np.ndarray:
    """Mark [views] the sagittal views of a site, whose own alone may be there."""
    own = SERIES_OF[FAMILY_OF[condition]]
    names = [own] if views == 1 else SERIES_DESCRIPTIONS
    return np.array([name != AXIAL_T2 for name in names])


def _flip_right_sites(crops: np.ndarray, conditions: list[str]) -> np.ndarray:
    """Flip crops of the patient's right side, or all their views, as in training."""
    right = np.array([name.startswith(SIDES[1]) for name in conditions])
    axial = np.array([SERIES_OF[FAMILY_OF[name]] == AXIAL_T2 for name in conditions])
    if crops.ndim == 4:
        return mirror_where(crops, right, axial)
    views = zip(SERIES_DESCRIPTIONS, crops.swapaxes(0, 1), strict=True)
    flipped = [
        mirror_where(view, right, np.full(len(view), name == AXIAL_T2))
        for name, view in views
    ]
    return np.stack(flipped, axis=1)

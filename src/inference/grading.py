"""Severity and condition probabilities at the found sites, from an ensemble of runs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from src.classification.crop_dataset import select_slices
from src.classification.ensemble import ensemble
from src.classification.labels import CROP_LABELS
from src.competition.constants import AXIAL_T2, FAMILY_OF, SERIES_OF, SIDES
from src.errors import UserError, without_folder
from src.imaging.crops import CropSpec, extract_crop
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

    def predict_proba(self, crops: np.ndarray, conditions: list[str]) -> np.ndarray:
        """Return the probability of each label [n, labels] for crops of its spec."""
        config = self.run.config
        if CROP_LABELS[config.task].canonical_side:
            crops = _flip_right_sites(crops, conditions)
        images = np.ascontiguousarray(select_slices(crops, config.slices))
        outputs = self.predictor.outputs(torch.from_numpy(images))
        return torch.softmax(outputs, dim=1).cpu().numpy().astype(float)


def predict_ensemble(
    study: Study,
    sites: Sites,
    models: list[CropClassifier],
    on_skip: OnSkip = lambda run, target: None,
) -> tuple[dict[Target, np.ndarray], dict[Target, str]]:
    """Return the ensemble's probabilities by site, and why others have none.

    A run without finite probabilities for a site is skipped there, and on_skip called;
    a site without any other run has none.
    """
    found: dict[Target, list[np.ndarray]] = {}
    read_errors: dict[Target, str] = {}
    for spec in {model.spec: None for model in models}:
        crops = _crops(study, sites, spec, read_errors)
        if not crops:
            continue
        names = [condition for condition, _ in crops]
        pixels = np.stack(list(crops.values()))
        for model in (model for model in models if model.spec == spec):
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


def _crops(
    study: Study, sites: Sites, spec: CropSpec, read_errors: dict[Target, str]
) -> dict[Target, np.ndarray]:
    crops = {}
    for target, site in sites.items():
        series = study.series[site.series_id]
        try:
            index = series.index_of(site.instance_number)
            crops[target] = extract_crop(series, index, site.x, site.y, spec).pixels
        except UserError as error:
            folder = series.headers[0].path.parents[1]
            read_errors[target] = without_folder(str(error), folder).rstrip(".")
    return crops


def _flip_right_sites(crops: np.ndarray, conditions: list[str]) -> np.ndarray:
    """Flip crops of the patient's right side, as in training."""
    right = np.array([name.startswith(SIDES[1]) for name in conditions])
    axial = np.array([SERIES_OF[FAMILY_OF[name]] == AXIAL_T2 for name in conditions])
    return mirror_where(crops, right, axial)

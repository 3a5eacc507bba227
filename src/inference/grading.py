"""How severe each found site is, and which condition is seen there."""

from dataclasses import dataclass

import numpy as np
import torch

from src.classification.crop_dataset import select_slices
from src.classification.labels import CROP_TASKS
from src.competition.constants import AXIAL_T2, FAMILY_OF, SERIES_OF, SIDES
from src.errors import UserError, without_folder
from src.imaging.crops import CropSpec, extract_crop
from src.inference.study import Study
from src.localization.locate import Sites
from src.localization.spine_prior import Target
from src.training.mirror import mirror_where
from src.training.predictor import Predictor
from src.training.run_folder import Run

MIN_PROBABILITY = 1e-6  # no grader alone may call a severity impossible


@dataclass(frozen=True, eq=False)
class CropClassifier:
    """A run of a crop task at work."""

    run: Run
    predictor: Predictor

    @property
    def spec(self) -> CropSpec:
        """The crops that it was trained on."""
        return CropSpec(**self.run.config.crop)

    def predict_proba(self, crops: np.ndarray, conditions: list[str]) -> np.ndarray:
        """Return the probability of each label [n, labels] for crops of its spec."""
        config = self.run.config
        if CROP_TASKS[config.task].canonical_side:
            crops = _flip_right_sites(crops, conditions)
        images = np.ascontiguousarray(select_slices(crops, config.slices))
        outputs = self.predictor.outputs(torch.from_numpy(images))
        return torch.softmax(outputs, dim=1).cpu().numpy().astype(float)


def predict_ensemble(
    study: Study, sites: Sites, severity_models: list[CropClassifier]
) -> tuple[dict[Target, np.ndarray], dict[Target, str]]:
    """Average the ensemble's probabilities at each site; say what cannot be cut, why.

    The average is of logarithms: that of the probabilities is less sure than any
    grader ought to be, and scored .010 worse on phantoms (docs/results.md).
    """
    total: dict[Target, np.ndarray] = {}
    read_errors: dict[Target, str] = {}
    for spec in {grader.spec: None for grader in severity_models}:
        crops = _crops(study, sites, spec, read_errors)
        if not crops:
            continue
        names = [condition for condition, _ in crops]
        pixels = np.stack(list(crops.values()))
        for grader in (one for one in severity_models if one.spec == spec):
            rows = grader.predict_proba(pixels, names)
            for target, row in zip(crops, rows, strict=True):
                if np.isfinite(row).all():  # a float16 may overflow
                    logs = np.log(np.maximum(row, MIN_PROBABILITY))
                    total[target] = total.get(target, 0.0) + logs / len(severity_models)
                else:
                    read_errors[target] = "a grader gave no finite number"
    sound = {at: np.exp(logs) for at, logs in total.items() if at not in read_errors}
    return {at: row / row.sum() for at, row in sound.items()}, read_errors


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
    """Show sites of the patient's right in the mirror, as in training."""
    right = np.array([name.startswith(SIDES[1]) for name in conditions])
    axial = np.array([SERIES_OF[FAMILY_OF[name]] == AXIAL_T2 for name in conditions])
    return mirror_where(crops, right, axial)

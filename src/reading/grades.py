"""How severe each found site is, and which condition is seen there."""

from dataclasses import dataclass

import numpy as np
import torch

from src.competition.vocab import AXIAL_T2, FAMILY_OF, SERIES_OF, SIDES
from src.errors import InputError, without_folder
from src.imaging.crop_spec import CropSpec
from src.imaging.crops import cut
from src.learning.dataset import channels
from src.learning.mirror import mirror_some
from src.learning.predictor import Predictor
from src.learning.runs import Run
from src.learning.tasks import CROP_TASKS
from src.reading.locate import Sites
from src.reading.offsets import Target
from src.reading.study import Study

LEAST_CHANCE = 1e-6  # no grader alone may call a severity impossible


@dataclass(frozen=True, eq=False)
class Grader:
    """A run of a crop task at work."""

    run: Run
    predictor: Predictor

    @property
    def spec(self) -> CropSpec:
        """The crops that it was trained on."""
        return CropSpec(**self.run.config.crop)

    def chances(self, crops: np.ndarray, conditions: list[str]) -> np.ndarray:
        """Return the chance of each label [n, labels] for crops of its spec."""
        config = self.run.config
        if CROP_TASKS[config.task].one_sided:
            crops = _all_left(crops, conditions)
        images = np.ascontiguousarray(channels(crops, config.slices))
        outputs = self.predictor.outputs(torch.from_numpy(images))
        return torch.softmax(outputs, dim=1).cpu().numpy().astype(float)


def grade(
    study: Study, sites: Sites, graders: list[Grader]
) -> tuple[dict[Target, np.ndarray], dict[Target, str]]:
    """Average graders' chances at each site; also say what cannot be cut, and why.

    The average is of logarithms: that of the chances themselves is less sure than any
    grader ought to be, and scored .010 worse on phantoms (docs/results.md).
    """
    total: dict[Target, np.ndarray] = {}
    troubles: dict[Target, str] = {}
    for spec in {grader.spec: None for grader in graders}:
        crops = _crops(study, sites, spec, troubles)
        if not crops:
            continue
        names = [condition for condition, _ in crops]
        pixels = np.stack(list(crops.values()))
        for grader in (one for one in graders if one.spec == spec):
            rows = grader.chances(pixels, names)
            for target, row in zip(crops, rows, strict=True):
                if np.isfinite(row).all():  # a float16 may overflow
                    logs = np.log(np.maximum(row, LEAST_CHANCE))
                    total[target] = total.get(target, 0.0) + logs / len(graders)
                else:
                    troubles[target] = "a grader gave no finite number"
    sound = {at: np.exp(logs) for at, logs in total.items() if at not in troubles}
    return {at: row / row.sum() for at, row in sound.items()}, troubles


def _crops(
    study: Study, sites: Sites, spec: CropSpec, troubles: dict[Target, str]
) -> dict[Target, np.ndarray]:
    crops = {}
    for target, site in sites.items():
        series = study.series[site.series_id]
        try:
            index = series.index_of(site.instance_number)
            crops[target] = cut(series, index, site.x, site.y, spec).pixels
        except InputError as error:
            folder = series.headers[0].path.parents[1]
            troubles[target] = without_folder(str(error), folder).rstrip(".")
    return crops


def _all_left(crops: np.ndarray, conditions: list[str]) -> np.ndarray:
    """Show sites of the patient's right in the mirror, as in training."""
    right = np.array([name.startswith(SIDES[1]) for name in conditions])
    axial = np.array([SERIES_OF[FAMILY_OF[name]] == AXIAL_T2 for name in conditions])
    return mirror_some(crops, right, axial)

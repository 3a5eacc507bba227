"""How severe each found site is, and which condition is seen there."""

from dataclasses import dataclass

import numpy as np
import torch

from src.competition.vocab import AXIAL_T2, FAMILY_OF, SERIES_OF, SIDES
from src.errors import InputError
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
    """Average graders' chances at each site; also say what cannot be cut, and why."""
    total: dict[Target, np.ndarray] = {}
    troubles: dict[Target, str] = {}
    for spec in {grader.spec: None for grader in graders}:
        crops = _crops(study, sites, spec, troubles)
        if not crops:
            continue
        names = [condition for condition, _ in crops]
        pixels = np.stack(list(crops.values()))
        for grader in graders:
            if grader.spec == spec:
                for target, row in zip(
                    crops, grader.chances(pixels, names), strict=True
                ):
                    total[target] = total.get(target, 0.0) + row
    graded = {t: row / row.sum() for t, row in total.items() if t not in troubles}
    return graded, troubles


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
            troubles[target] = str(error).rstrip(".")
    return crops


def _all_left(crops: np.ndarray, conditions: list[str]) -> np.ndarray:
    """Show sites of the patient's right in the mirror, as in training."""
    right = np.array([name.startswith(SIDES[1]) for name in conditions])
    axial = np.array([SERIES_OF[FAMILY_OF[name]] == AXIAL_T2 for name in conditions])
    return mirror_some(crops, right, axial)

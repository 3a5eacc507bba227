"""Grading: the same crop as in training, the patient's right in the mirror."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import AXIAL, plane, write_series

from src.competition.vocab import CONDITIONS, SEVERITIES
from src.imaging.crop_spec import CropSpec
from src.imaging.crops import cut
from src.learning.predictor import Predictor
from src.learning.run_config import RunConfig
from src.learning.runs import Run
from src.learning.settings import Settings
from src.reading.grades import Grader, grade
from src.reading.locate import Located
from src.reading.study import Study, read_study

LEFT, RIGHT = (f"{side}_subarticular_stenosis" for side in ("left", "right"))
SPEC = {"crop_px": 16, "field_mm": 16.0, "slices": 3}


class Bright(torch.nn.Module):
    """Says that what is brighter on a crop's right half is severe."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score [n, 3]."""
        half = images.shape[-1] // 2
        lean = (images[..., half:] - images[..., :half]).mean(dim=(1, 2, 3))
        return torch.stack([-lean, torch.zeros_like(lean), lean], dim=1)


class Slices(torch.nn.Module):
    """Says how bright each of a crop's three slices is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score [n, 3]."""
        return images.mean(dim=(2, 3))


def grader(task: str, model: torch.nn.Module) -> Grader:
    labels = list(SEVERITIES if task == "severity" else CONDITIONS)
    config = RunConfig(
        *(task, "none", "study", "holdout", "neighbours", labels),
        *(Settings().as_dict(), "none", SPEC, {}, None, []),
    )
    device = torch.device("cpu")
    return Grader(Run(Path("run"), config), Predictor(model, 0, device, torch.float32))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An axial series, symmetric but for what its middle slice has on its right."""
    volume = np.full((3, 40, 60), 300, np.uint16)
    volume[:, :, :20] = 0  # the patient's right
    volume[:, :, 40:] = 0
    volume[2, :, 20:40] = 150  # the lowest slice is darker
    planes = [plane((-30, 0, z), AXIAL) for z in (10, 6, 2)]
    write_series(tmp_path / "9" / "4", volume, planes)
    return read_study(tmp_path / "9", listed(4, "Axial T2"))


def listed(series_id: int, description: str) -> pd.DataFrame:
    rows = [(series_id, description)]
    return pd.DataFrame(rows, columns=["series_id", "series_description"])


def at(x: float, number: int = 2) -> Located:
    return Located(4, number, x, 20.0, np.zeros(3), 0.9, "located")


def test_both_sides_are_graded_as_one(study: Study) -> None:
    # Mirrored, the border on the right looks like the one on the left.
    sites = {(RIGHT, "l4_l5"): at(19.5), (LEFT, "l4_l5"): at(39.5)}
    graded, troubles = grade(study, sites, [grader("severity", Bright())])
    assert not troubles
    right, left = graded[RIGHT, "l4_l5"], graded[LEFT, "l4_l5"]
    assert right == pytest.approx(left, abs=1e-6)
    assert left[0] > left[2]
    assert left.sum() == pytest.approx(1)


def test_the_condition_is_asked_of_the_crop_as_it_is(study: Study) -> None:
    class Five(Bright):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, [0, 1, 2, 1, 1]]

    sites = {(RIGHT, "l4_l5"): at(19.5), (LEFT, "l4_l5"): at(39.5)}
    graded, _ = grade(study, sites, [grader("condition", Five())])
    assert graded[RIGHT, "l4_l5"].argmax() != graded[LEFT, "l4_l5"].argmax()


def test_slices_are_shown_from_head_to_foot(study: Study) -> None:
    graded, _ = grade(study, {(LEFT, "l4_l5"): at(30)}, [grader("severity", Slices())])
    first, middle, last = graded[LEFT, "l4_l5"]
    assert last < middle == pytest.approx(first)
    crop = cut(study.series[4], 1, 30, 20, CropSpec(**SPEC)).pixels
    assert crop[2].mean() < crop[0].mean()


def test_graders_are_averaged(study: Study) -> None:
    one, two = grader("severity", Slices()), grader("severity", Bright())
    site = {(LEFT, "l4_l5"): at(39.5)}
    both, _ = grade(study, site, [one, two])
    alone = [grade(study, site, [each])[0][LEFT, "l4_l5"] for each in (one, two)]
    product = np.sqrt(alone[0] * alone[1])
    assert both[LEFT, "l4_l5"] == pytest.approx(product / product.sum())


def test_a_site_that_cannot_be_cut_says_why(study: Study) -> None:
    sites = {(LEFT, "l4_l5"): at(30, number=77), (LEFT, "l3_l4"): at(30)}
    graded, troubles = grade(study, sites, [grader("severity", Slices())])
    assert set(graded) == {(LEFT, "l3_l4")}
    assert "77.dcm" in troubles[LEFT, "l4_l5"]


def test_a_series_that_no_table_names_is_axial_by_its_planes(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (3, 30, 30)).astype(np.uint16)
    write_series(
        tmp_path / "9" / "4", volume, [plane((0, 0, z), AXIAL) for z in (8, 4, 0)]
    )
    write_series(tmp_path / "9" / "5", volume, [plane((x, 0, 0)) for x in (0, 4, 8)])
    study = read_study(tmp_path / "9", listed(6, "Sagittal T1"))
    assert set(study.overviews) == {"Axial T2"}
    assert "6" in study.troubles["Sagittal T1"]
    assert "no Sagittal T2" in study.troubles["Sagittal T2/STIR"]

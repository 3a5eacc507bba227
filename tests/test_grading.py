"""Grading: the same crops as in training, those of the patient's right flipped."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import AXIAL, SAGITTAL, plane, write_series
from fake_classifiers import SPEC, Fixed, fixed

from src.competition.constants import CONDITIONS, SEVERITIES
from src.imaging.crops import CropSpec, extract_crop
from src.inference.grading import CropClassifier, predict_ensemble
from src.inference.study import Study, read_study
from src.localization.locate import LocatedSite
from src.training.config import Hyperparameters, RunConfig
from src.training.predictor import Predictor
from src.training.run_folder import Run

LEFT, RIGHT = (f"{side}_subarticular_stenosis" for side in ("left", "right"))


class Bright(torch.nn.Module):
    """Predicts severe where a crop is brighter on its right half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score [n, 3]."""
        half = images.shape[-1] // 2
        lean = (images[..., half:] - images[..., :half]).mean(dim=(1, 2, 3))
        return torch.stack([-lean, torch.zeros_like(lean), lean], dim=1)


class Slices(torch.nn.Module):
    """Scores the brightness of each of a crop's three slices."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score [n, 3]."""
        return images.mean(dim=(2, 3))


def classifier(task: str, model: torch.nn.Module) -> CropClassifier:
    labels = list(SEVERITIES if task == "severity" else CONDITIONS)
    config = RunConfig(
        *(task, "none", "study", "holdout", "neighbours", labels),
        *(Hyperparameters(), "none", SPEC, {}, None, []),
    )
    device = torch.device("cpu")
    return CropClassifier(
        Run(Path("run"), config), Predictor(model, 0, device, torch.float32)
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An axial series, symmetric; its lowest slice is darker."""
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


def at(x: float, number: int = 2) -> LocatedSite:
    return LocatedSite(4, number, x, 20.0, np.zeros(3), 0.9, "located")


def test_both_sides_are_graded_alike(study: Study) -> None:
    # Flipped, the border on the right looks like the one on the left.
    sites = {(RIGHT, "l4_l5"): at(19.5), (LEFT, "l4_l5"): at(39.5)}
    graded, read_errors = predict_ensemble(
        study, sites, [classifier("severity", Bright())]
    )
    assert not read_errors
    right, left = graded[RIGHT, "l4_l5"], graded[LEFT, "l4_l5"]
    assert right == pytest.approx(left, abs=1e-6)
    assert left[0] > left[2]
    assert left.sum() == pytest.approx(1)


def test_condition_models_see_the_crop_unflipped(study: Study) -> None:
    class Five(Bright):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, [0, 1, 2, 1, 1]]

    sites = {(RIGHT, "l4_l5"): at(19.5), (LEFT, "l4_l5"): at(39.5)}
    graded, _ = predict_ensemble(study, sites, [classifier("condition", Five())])
    assert graded[RIGHT, "l4_l5"].argmax() != graded[LEFT, "l4_l5"].argmax()


def test_slices_are_shown_from_head_to_foot(study: Study) -> None:
    graded, _ = predict_ensemble(
        study, {(LEFT, "l4_l5"): at(30)}, [classifier("severity", Slices())]
    )
    first, middle, last = graded[LEFT, "l4_l5"]
    assert last < middle == pytest.approx(first)
    crop = extract_crop(study.series[4], 1, 30, 20, CropSpec(**SPEC)).pixels
    assert crop[2].mean() < crop[0].mean()


def test_runs_are_averaged_by_their_logarithms(study: Study) -> None:
    one, two = classifier("severity", Slices()), classifier("severity", Bright())
    site = {(LEFT, "l4_l5"): at(39.5)}
    both, _ = predict_ensemble(study, site, [one, two])
    alone = [
        predict_ensemble(study, site, [each])[0][LEFT, "l4_l5"] for each in (one, two)
    ]
    product = np.sqrt(alone[0] * alone[1])
    assert both[LEFT, "l4_l5"] == pytest.approx(product / product.sum())


def test_a_site_that_cannot_be_cut_has_a_reason(study: Study) -> None:
    sites = {(LEFT, "l4_l5"): at(30, number=77), (LEFT, "l3_l4"): at(30)}
    graded, read_errors = predict_ensemble(
        study, sites, [classifier("severity", Slices())]
    )
    assert set(graded) == {(LEFT, "l3_l4")}
    assert "77.dcm" in read_errors[LEFT, "l4_l5"]


def test_a_series_that_no_table_names_is_axial_by_its_planes(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (3, 30, 30)).astype(np.uint16)
    write_series(
        tmp_path / "9" / "4", volume, [plane((0, 0, z), AXIAL) for z in (8, 4, 0)]
    )
    write_series(tmp_path / "9" / "5", volume, [plane((x, 0, 0)) for x in (0, 4, 8)])
    study = read_study(tmp_path / "9", listed(6, "Sagittal T1"))
    assert set(study.overviews) == {"Axial T2"}
    assert "6" in study.read_errors["Sagittal T1"]
    assert "no Sagittal T2" in study.read_errors["Sagittal T2/STIR"]


FORAMEN = "neural_foraminal_narrowing"
NUMBERS = (9, 2, 30, 4, 11)  # from the patient's right to the left, or head to foot
INDICES = {number: index for index, number in enumerate(NUMBERS)}


@pytest.fixture
def noisy(tmp_path: Path) -> Study:
    """An axial series 4 and a sagittal series 5 of noise, wider than high."""
    for series_id, axes, step in ((4, AXIAL, (0, 0, -4)), (5, SAGITTAL, (4, 0, 0))):
        volume = np.random.default_rng(series_id).integers(0, 900, (5, 40, 60), "u2")
        planes = [plane(index * np.array(step, float), axes) for index in range(5)]
        write_series(tmp_path / "9" / str(series_id), volume, planes, NUMBERS)
    rows = [(5, "Sagittal T1"), (4, "Axial T2")]
    columns = ["series_id", "series_description"]
    return read_study(tmp_path / "9", pd.DataFrame(rows, columns=columns))


def site_of(
    condition: str, number: int, x: float = 33.0, y: float = 14.0
) -> LocatedSite:
    series_id = 5 if "foraminal" in condition else 4
    return LocatedSite(series_id, number, x, y, np.zeros(3), 0.9, "located")


@pytest.mark.parametrize(
    ("condition", "number", "flipped"),
    [
        (f"left_{FORAMEN}", 2, (slice(None),)),
        (f"right_{FORAMEN}", 4, (slice(None, None, -1),)),
        (LEFT, 30, (slice(None),)),
        (RIGHT, 2, (..., slice(None, None, -1))),
    ],
)
def test_a_severity_model_gets_the_sites_own_file_with_the_right_flipped(
    noisy: Study, condition: str, number: int, flipped: tuple
) -> None:
    site = site_of(condition, number)
    series = noisy.series[site.series_id]
    crop = extract_crop(series, INDICES[number], 33, 14, CropSpec(**SPEC)).pixels
    grading, naming = Fixed(), Fixed(*[0.2] * 5)
    predict_ensemble(noisy, {(condition, "l4_l5"): site}, [fixed(grading)])
    predict_ensemble(noisy, {(condition, "l4_l5"): site}, [fixed(naming, "condition")])
    assert (grading.shown[0] == crop[flipped]).all()
    assert (naming.shown[0] == crop).all()


def test_each_site_has_its_own_crop_and_its_own_grade(noisy: Study) -> None:
    class Middle(Fixed):
        def outputs(self, images: torch.Tensor) -> torch.Tensor:
            middle = images[:, 1, 8, 8].float() / 100
            return torch.stack([0 * middle, 0 * middle, middle], dim=1)

    sites = {
        (RIGHT, "l1_l2"): site_of(RIGHT, 4, 20, 20),
        (f"left_{FORAMEN}", "l5_s1"): site_of(f"left_{FORAMEN}", 2, 40, 10),
        (LEFT, "l1_l2"): site_of(LEFT, 9, 12, 30),
    }
    graded, _ = predict_ensemble(noisy, sites, [fixed(Middle())])
    for target, site in sites.items():
        crop = extract_crop(
            noisy.series[site.series_id],
            *(INDICES[site.instance_number], site.x, site.y, CropSpec(**SPEC)),
        ).pixels
        column = 7 if target[0] == RIGHT else 8  # of 16, flipped
        expected = np.exp(crop[1, 8, column] / 100)
        assert graded[target][2] == pytest.approx(expected / (expected + 2), rel=1e-4)


@pytest.mark.parametrize(
    ("slices", "channels"), [("repeat", [2, 2, 2]), ("attention", [0, 1, 2, 3, 4])]
)
def test_a_run_gets_the_slices_that_it_was_trained_on(
    noisy: Study, slices: str, channels: list[int]
) -> None:
    model, crop = Fixed(), {**SPEC, "slices": 5}
    site = {(LEFT, "l4_l5"): site_of(LEFT, 30)}
    predict_ensemble(noisy, site, [fixed(model, slices=slices, crop=crop)])
    pixels = extract_crop(noisy.series[4], 2, 33, 14, CropSpec(**crop)).pixels
    assert (model.shown[0] == pixels[channels]).all()


def test_runs_of_two_crop_sizes_count_alike(noisy: Study) -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.2, 0.2], [0.1, 0.2, 0.7]])
    models = [Fixed(*row) for row in probabilities]
    severity_models = [fixed(models[0]), fixed(models[1])]
    severity_models.append(fixed(models[2], crop={**SPEC, "crop_px": 24}))
    graded, _ = predict_ensemble(
        noisy, {(LEFT, "l4_l5"): site_of(LEFT, 30)}, severity_models
    )
    product = probabilities.prod(axis=0) ** (1 / 3)
    assert graded[LEFT, "l4_l5"] == pytest.approx(product / product.sum(), rel=1e-4)
    sides = [[one.shape[-1] for one in each.shown] for each in models]
    assert sides == [[16], [16], [24]]


def test_no_run_alone_rules_a_severity_out(noisy: Study) -> None:
    sure, other = Fixed(1, 1e-30, 1e-30), Fixed(0.01, 0.01, 0.98)
    site = {(LEFT, "l4_l5"): site_of(LEFT, 30)}
    graded, _ = predict_ensemble(noisy, site, [fixed(sure), fixed(other)])
    assert 0.005 < graded[LEFT, "l4_l5"][2] < 0.05


class Overflows(Fixed):
    """A predictor whose second output is not a number."""

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return the given probabilities, but for one crop."""
        scores = super().outputs(images)
        scores[1] = torch.nan
        return scores


TARGETS = [(LEFT, "l3_l4"), (LEFT, "l4_l5"), (RIGHT, "l5_s1")]


def test_a_run_of_no_finite_probability_is_skipped_at_that_site_alone(
    noisy: Study,
) -> None:
    sites = {target: site_of(LEFT, 30) for target in TARGETS}
    good, other = (0.7, 0.2, 0.1), (0.1, 0.2, 0.7)
    models = [fixed(Fixed(*good)), fixed(Overflows(*other))]
    skipped = []
    graded, errors = predict_ensemble(
        noisy, sites, models, lambda *told: skipped.append(told)
    )
    assert errors == {}
    assert skipped == [("run", TARGETS[1])]
    both = np.sqrt(np.multiply(good, other))
    assert graded[TARGETS[0]] == pytest.approx(both / both.sum(), rel=1e-4)
    assert graded[TARGETS[1]] == pytest.approx(good, rel=1e-4)


def test_a_site_without_any_finite_probability_is_not_graded(noisy: Study) -> None:
    sites = {target: site_of(LEFT, 30) for target in TARGETS}
    graded, errors = predict_ensemble(noisy, sites, [fixed(Overflows())] * 2)
    assert list(graded) == [TARGETS[0], TARGETS[2]]
    assert list(errors) == [TARGETS[1]]
    assert "finite" in errors[TARGETS[1]]

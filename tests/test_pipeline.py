"""A reader's parts at work together: which run does what, and what is told of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import AXIAL, SAGITTAL, plane, write_series
from fake_classifiers import Fixed, fixed, run_of
from fake_locator import Shower, numbered
from synthetic_study import (
    OFFSETS,
    STEPS,
    Place,
    leaning_mm,
    mixed,
    overviews,
    seen,
    site_mm,
)

from src.classification.calibration import IDENTITY, Calibration, save_calibration
from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILIES,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SEVERITIES,
    SPINAL,
    TARGETS,
)
from src.competition.prior import uniform
from src.errors import UserError
from src.inference.findings import prior_findings
from src.inference.pipeline import StudyPipeline, load_pipeline
from src.inference.study import Study, read_study
from src.localization.locate import LocatedSite, SeriesHeatmaps
from src.localization.spine_prior import read_canal_offsets, read_level_spacing
from src.training.run_folder import Run

LEFT = "left_subarticular_stenosis"
FORAMEN = "right_neural_foraminal_narrowing"
CHANCES = list(SEVERITIES)
VIEWS = numbered(overviews())


def shown(place: Place = site_mm, blind: bool = False) -> dict[str, SeriesHeatmaps]:
    """Show sites by series type, on axial slices at all levels alike."""
    return {
        name: seen(name, view, blind, levels_alike=name == AXIAL_T2, place=place)
        for name, view in VIEWS.items()
    }


def reader(**parts: object) -> StudyPipeline:
    """Make a reader of some parts; without others it looks and grades as it is."""
    usual = {
        "locators": [],
        "canal_offsets": read_canal_offsets(OFFSETS),
        "level_spacing": read_level_spacing(STEPS),
        "severity_models": [fixed(Fixed(0.6, 0.3, 0.1))],
        "condition_models": [],
        "calibration": IDENTITY,
    }
    return StudyPipeline(**{**usual, **parts})


# Finding


def errors_mm(found: StudyPipeline, place: Place = site_mm) -> np.ndarray:
    sites = found.find_sites(Study(77, overviews=VIEWS))
    assert len(sites) == 25
    off = [one.point_mm - place(*at) for at, one in sites.items()]
    return np.linalg.norm(off, axis=1)


def test_sites_are_found_with_offsets_and_steps() -> None:
    def above(condition: str, level: str) -> np.ndarray:
        skips = level in ("l1_l2", "l2_l3")
        return leaning_mm(condition, level) + np.array([-4, 0, 30]) * skips

    told = shown(leaning_mm)
    wrong = seen(SAGITTAL_T2, VIEWS[SAGITTAL_T2], place=above)
    told[SAGITTAL_T2] = mixed(wrong, told[SAGITTAL_T2], 0.9)
    assert errors_mm(reader(locators=[Shower(told)]), leaning_mm).max() < 2.6


@pytest.mark.parametrize("order", [1, -1])
def test_every_locator_looks(order: int) -> None:
    locators = [Shower(shown(blind=True)), Shower(shown())][::order]
    assert errors_mm(reader(locators=locators)).max() < 3


# Grading and telling


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study with an axial series 4, a sagittal T2 series 5, and no sagittal T1."""
    for series_id, axes, step in ((4, AXIAL, (0, 0, -4)), (5, SAGITTAL, (4, 0, 0))):
        volume = np.random.default_rng(series_id).integers(0, 900, (3, 40, 60), "u2")
        planes = [plane(place * np.array(step, float), axes) for place in range(3)]
        write_series(tmp_path / "77" / str(series_id), volume, planes)
    rows = [(4, AXIAL_T2), (5, SAGITTAL_T2)]
    columns = ["series_id", "series_description"]
    return read_study(tmp_path / "77", pd.DataFrame(rows, columns=columns))


def at(series_id: int, number: int = 2, source: str = "located") -> LocatedSite:
    return LocatedSite(series_id, number, 30.0, 20.0, np.zeros(3), 0.9, source)


# In no order: neither the submission's nor the alphabet's.
SITES = {
    (SPINAL, "l4_l5"): at(5),
    (LEFT, "l5_s1"): at(4),
    (FORAMEN, "l2_l3"): at(5, source="projected"),
    (LEFT, "l1_l2"): at(4, number=99),
}


def answer(study: Study, **parts: object) -> pd.DataFrame:
    findings = prior_findings([77], uniform(), "not read yet")
    rows = reader(**parts).grade(study, SITES, findings)
    assert len(rows) == 25
    return rows.set_index(["condition", "level"])


def test_each_site_is_calibrated_as_its_own_family(study: Study) -> None:
    heat = {"spinal": 2.0, "foraminal": 1.0, "subarticular": 0.5}
    rows = answer(study, calibration=Calibration(heat, 1.5, 0.0))
    p = np.array([0.6, 0.3, 0.1])
    expected = {
        (SPINAL, "l4_l5"): np.array([1, 1, 1.5]) * (p**0.5 / (p**0.5).sum()),
        (FORAMEN, "l2_l3"): p,
        (LEFT, "l5_s1"): p**2,
    }
    for target, weights in expected.items():
        told = rows.loc[target, CHANCES].to_numpy(float)
        assert told == pytest.approx(weights / weights.sum(), rel=1e-4), target
    assert rows.loc[(LEFT, "l1_l2"), CHANCES].tolist() == pytest.approx([1 / 3] * 3)


def test_a_row_says_why_it_is_not_simply_located(study: Study) -> None:
    rows = answer(study)
    assert rows.loc[(SPINAL, "l4_l5"), ["source", "reason"]].tolist() == ["located", ""]
    source, reason = rows.loc[(FORAMEN, "l2_l3"), ["source", "reason"]]
    assert source == "projected"
    assert f"not seen in {SAGITTAL_T1}" in reason
    source, reason = rows.loc[(LEFT, "l1_l2"), ["source", "reason"]]
    assert source == "prior"
    assert "99.dcm" in reason
    # Never found: what is wrong with the own series type, or that it does not show it.
    reasons = rows["reason"]
    assert reasons[FORAMEN, "l4_l5"] == f"the study has no {SAGITTAL_T1} series"
    assert reasons[SPINAL, "l1_l2"] == f"not seen in {SAGITTAL_T2}"
    assert reasons[LEFT, "l2_l3"] == f"not seen in {AXIAL_T2}"


@pytest.mark.parametrize(("probability", "flagged"), [(0.6, True), (0.4, False)])
def test_another_condition_is_flagged_where_the_condition_model_is_sure_of_it(
    study: Study, probability: float, flagged: bool
) -> None:
    rest = (1 - probability) / 4
    named = [probability if name == SPINAL else rest for name in CONDITIONS]
    severe = Fixed(0.1, 0.2, 0.7)
    rows = answer(
        study,
        severity_models=[fixed(severe)],
        condition_models=[fixed(Fixed(*named), "condition")],
    )
    other = rows.loc[(LEFT, "l5_s1")]
    assert (other["seen_condition"], other["source"]) == (SPINAL, "located")
    assert other["seen_probability"] == pytest.approx(probability, rel=1e-4)
    assert other[CHANCES].tolist() == pytest.approx([0.1, 0.2, 0.7], rel=1e-4)
    assert ("sees spinal canal stenosis here" in other["reason"]) is flagged
    assert rows.loc[(SPINAL, "l4_l5"), "reason"] == ""
    both = rows.loc[(FORAMEN, "l2_l3"), "reason"]
    assert ("series; the condition model sees" in both) is flagged
    seen_there = ["seen_condition", "seen_probability"]
    assert rows.loc[(LEFT, "l1_l2"), seen_there].isna().all()


class Bright:
    """A locator that sees every target in what is bright."""

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Score slices [n, 3, px, px] by cells of 4 px."""
        cells = torch.nn.functional.avg_pool2d(images[:, 1:2].float(), 4)
        return cells.expand(-1, len(TARGETS), -1, -1) / 8


def test_a_study_is_read_from_its_folder_to_its_findings(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (3, 80, 120), "u2")
    volume[1, 12:20, 70:78] = 900
    planes = [plane((x, 0, 0)) for x in (-4, 0, 4)]
    folder = write_series(tmp_path / "77" / "5", volume, planes, (8, 3, 6)).parent
    listed = pd.DataFrame({"series_id": [5], "series_description": [SAGITTAL_T2]})
    findings = prior_findings([77], uniform(), "not read yet")
    rows = reader(locators=[Bright()]).predict(folder, listed, findings)
    # One bright spot is one level of the canal; the others keep the prior.
    [canal] = rows[rows["source"] == "located"].itertuples()
    assert canal.condition == SPINAL
    assert (canal.series_id, canal.instance_number) == (5, 3)
    assert (canal.x, canal.y) == pytest.approx((73.5, 15.5), abs=2.5)  # a cell
    assert canal.normal_mild == pytest.approx(0.6, rel=1e-4)
    assert (rows["reason"] == f"the study has no {AXIAL_T2} series").sum() == 10


# Loading


class Loads(Run):
    """A run whose predictor is its own name, or that is damaged."""

    def predictor(self) -> str:
        """Return the run's name."""
        if "damaged" in self.folder.name:
            raise UserError(f"{self.folder.name} is damaged")
        return self.folder.name


def run(name: str, **changes: object) -> Run:
    """A run whose name begins with its task, with an offset and a step of its own."""
    made = run_of(name.split("-")[0], name, **changes)
    return Loads(made.folder, made.config)


def learnt(x_mm: float) -> dict[str, list]:
    offset = {"condition": LEFT, "level": "l4_l5", "sd_mm": [1, 1, 1]}
    step = {"level": "l1_l2", "mean_mm": x_mm, "sd_mm": 1.0}
    return {
        "canal_offsets": [offset | {"mean_mm": [x_mm, 0, 0]}],
        "level_spacing": [step],
    }


RUNS = [
    run("condition-a", **learnt(1)),
    run("location-a", **learnt(2)),
    run("location-b", **learnt(3)),
    run("severity-a", **learnt(4)),
    run("severity-b"),
]
CALIBRATION = Calibration(dict.fromkeys(FAMILIES, 2.0), 1.25, 0.01)


def names(parts: list) -> list[str]:
    return [one.run.folder.name for one in parts]


def test_every_run_does_its_own_task(tmp_path: Path) -> None:
    save_calibration(CALIBRATION, tmp_path, ["severity-b", "severity-a"])
    told: list[str] = []
    loaded = load_pipeline(tmp_path, RUNS, told.append)
    assert loaded.locators == ["location-a", "location-b"]
    assert names(loaded.severity_models) == ["severity-a", "severity-b"]
    assert [one.predictor for one in loaded.severity_models] == [
        "severity-a",
        "severity-b",
    ]
    assert names(loaded.condition_models) == ["condition-a"]
    assert loaded.canal_offsets[LEFT, "l4_l5"].mean_mm[0] == 2
    assert loaded.level_spacing["l1_l2"].mean_mm == 2
    assert loaded.calibration == CALIBRATION
    assert told == []


def test_a_run_that_leaks_or_is_damaged_is_left_aside_and_told(tmp_path: Path) -> None:
    others = [
        run("location-leaks", split="row", **learnt(9)),
        run("severity-leaks", split="row"),
        run("condition-leaks", split="row"),
        run("severity-damaged"),
    ]
    save_calibration(CALIBRATION, tmp_path, ["severity-a", "severity-b"])
    told: list[str] = []
    loaded = load_pipeline(tmp_path, [*others, *RUNS], told.append)
    assert loaded.locators == ["location-a", "location-b"]
    assert names(loaded.severity_models) == ["severity-a", "severity-b"]
    assert names(loaded.condition_models) == ["condition-a"]
    assert loaded.canal_offsets[LEFT, "l4_l5"].mean_mm[0] == 2
    assert loaded.calibration == CALIBRATION
    assert len(told) == 4
    for one, sentence in zip(others, told, strict=True):
        assert one.folder.name in sentence


@pytest.mark.parametrize(
    "leave",
    [
        lambda folder: None,
        lambda folder: save_calibration(CALIBRATION, folder, ["severity-a"]),
        lambda folder: (folder / "calibration.json").write_text("{"),
    ],
    ids=["none", "of other runs", "damaged"],
)
def test_without_a_calibration_of_these_runs_nothing_is_corrected(
    tmp_path: Path, leave: Callable[[Path], object]
) -> None:
    leave(tmp_path)
    told: list[str] = []
    assert load_pipeline(tmp_path, RUNS, told.append).calibration == IDENTITY
    assert "Not calibrated" in told[0]


@pytest.mark.parametrize("task", ["location", "severity"])
def test_without_a_usable_run_of_a_task_there_is_no_reader(
    tmp_path: Path, task: str
) -> None:
    runs = [one for one in RUNS if one.config.task != task]
    with pytest.raises(UserError, match=f"no usable {task} run"):
        load_pipeline(tmp_path, [*runs, run(f"{task}-damaged")], lambda sentence: None)

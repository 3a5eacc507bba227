"""The pipeline of all runs: which run does what, and the reason of each row."""

import json
from collections.abc import Callable
from dataclasses import replace
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

from src.classification.calibration import (
    CALIBRATION_FILE,
    IDENTITY,
    PROBABILITY_COLUMNS,
    Calibration,
    Correction,
    save_calibration,
)
from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILIES,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SPINAL,
    TARGETS,
)
from src.competition.prior import uniform
from src.errors import UserError
from src.inference.findings import NO_SEVERITY_RUN, keeps_prior, prior_findings
from src.inference.pipeline import StudyPipeline, load_pipeline
from src.inference.study import Study, read_study
from src.localization.level_shift import LevelShift
from src.localization.locate import LocatedSite, SeriesHeatmaps
from src.localization.spine_prior import read_canal_offsets, read_level_spacing
from src.training.run_folder import Run

LEFT = "left_subarticular_stenosis"
FORAMEN = "right_neural_foraminal_narrowing"
VIEWS = numbered(overviews())


def shown(place: Place = site_mm, blind: bool = False) -> dict[str, SeriesHeatmaps]:
    """Show sites by series type, on axial slices at all levels alike."""
    return {
        name: seen(name, view, blind, levels_alike=name == AXIAL_T2, place=place)
        for name, view in VIEWS.items()
    }


def pipeline(**parts: object) -> StudyPipeline:
    """Make a pipeline; parts that are not given are simple ones."""
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


def errors_mm(tested: StudyPipeline, place: Place = site_mm) -> np.ndarray:
    sites = tested.find_sites(Study(77, overviews=VIEWS))
    assert len(sites) == 25
    off = [one.point_mm - place(*at) for at, one in sites.items()]
    return np.linalg.norm(off, axis=1)


def test_sites_are_found_with_offsets_and_steps() -> None:
    def above(condition: str, level: str) -> np.ndarray:
        skips = level in ("l1_l2", "l2_l3")
        return leaning_mm(condition, level) + np.array([-4, 0, 30]) * skips

    heatmaps = shown(leaning_mm)
    wrong = seen(SAGITTAL_T2, VIEWS[SAGITTAL_T2], place=above)
    heatmaps[SAGITTAL_T2] = mixed(wrong, heatmaps[SAGITTAL_T2], 0.9)
    assert errors_mm(pipeline(locators=[Shower(heatmaps)]), leaning_mm).max() < 2.6


def test_a_type_that_no_locator_has_learned_is_left_unread() -> None:
    canal_only = frozenset({SAGITTAL_T2})
    tested = pipeline(locators=[Shower(shown())], locator_types=[canal_only])
    study = Study(77, overviews=VIEWS)
    sites = tested.find_sites(study)
    assert {condition for condition, _ in sites} == {SPINAL}
    assert "has learned to find sites on Axial T2" in study.read_errors[AXIAL_T2]
    assert SAGITTAL_T2 not in study.read_errors


@pytest.mark.parametrize("order", [1, -1])
def test_every_locator_is_used(order: int) -> None:
    locators = [Shower(shown(blind=True)), Shower(shown())][::order]
    assert errors_mm(pipeline(locators=locators)).max() < 3


# Grades and reasons


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study with an axial series 4, a sagittal T2 series 5, and no sagittal T1."""
    for series_id, axes, step in ((4, AXIAL, (0, 0, -4)), (5, SAGITTAL, (4, 0, 0))):
        volume = np.random.default_rng(series_id).integers(0, 900, (3, 40, 60), "u2")
        planes = [plane(index * np.array(step, float), axes) for index in range(3)]
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


def graded_rows(
    study: Study, prior: pd.DataFrame | None = None, **parts: object
) -> pd.DataFrame:
    prior = uniform() if prior is None else prior
    findings = prior_findings([77], prior, "not read yet")
    rows = pipeline(**parts).grade(study, SITES, findings).findings
    assert len(rows) == 25
    return rows.set_index(["condition", "level"])


def test_each_site_is_calibrated_as_its_own_family(study: Study) -> None:
    rows = graded_rows(study, calibration=by_temperature(2.0, 1.0, 0.5, 1.5))
    p = np.array([0.6, 0.3, 0.1])
    expected = {
        (SPINAL, "l4_l5"): np.array([1, 1, 1.5]) * (p**0.5 / (p**0.5).sum()),
        (FORAMEN, "l2_l3"): p,
        (LEFT, "l5_s1"): p**2,
    }
    for target, weights in expected.items():
        row = rows.loc[target, PROBABILITY_COLUMNS].to_numpy(float)
        assert row == pytest.approx(weights / weights.sum(), rel=1e-4), target
    assert rows.loc[(LEFT, "l1_l2"), PROBABILITY_COLUMNS].tolist() == pytest.approx(
        [1 / 3] * 3
    )


def by_temperature(
    spinal: float, foraminal: float, subarticular: float, any_severe: float
) -> Calibration:
    temperatures = dict(zip(FAMILIES, (spinal, foraminal, subarticular), strict=True))
    corrections = {
        family: Correction("temperature", (np.eye(3) / temperature).tolist())
        for family, temperature in temperatures.items()
    }
    return Calibration(corrections, any_severe)


def test_each_site_is_blended_with_its_own_prior(study: Study) -> None:
    prior = uniform()
    foramen = (prior["condition"] == FORAMEN) & (prior["level"] == "l2_l3")
    prior.loc[foramen, PROBABILITY_COLUMNS] = (0.2, 0.1, 0.7)
    weights = {"spinal": 0.0, "foraminal": 0.25, "subarticular": 1.0}
    blended = {name: Correction(prior_weight=w) for name, w in weights.items()}
    rows = graded_rows(study, prior, calibration=Calibration(blended))
    expected = {
        (SPINAL, "l4_l5"): (0.6, 0.3, 0.1),
        (FORAMEN, "l2_l3"): (0.5, 0.25, 0.25),
        (LEFT, "l5_s1"): (1 / 3, 1 / 3, 1 / 3),
    }
    for target, probabilities in expected.items():
        row = rows.loc[target, PROBABILITY_COLUMNS].to_numpy(float)
        assert row == pytest.approx(probabilities, rel=1e-4), target


def test_a_row_has_the_reason_why_it_is_not_simply_located(study: Study) -> None:
    rows = graded_rows(study)
    assert rows.loc[(SPINAL, "l4_l5"), ["source", "reason"]].tolist() == ["located", ""]
    source, reason = rows.loc[(FORAMEN, "l2_l3"), ["source", "reason"]]
    assert source == "projected"
    assert f"not found in {SAGITTAL_T1}" in reason
    source, reason = rows.loc[(LEFT, "l1_l2"), ["source", "reason"]]
    assert source == "prior"
    assert "99.dcm" in reason
    # Not found: the read error of its own series type, or that it is not shown there.
    reasons = rows["reason"]
    assert reasons[FORAMEN, "l4_l5"] == f"the study has no {SAGITTAL_T1} series"
    assert reasons[SPINAL, "l1_l2"] == f"not found in {SAGITTAL_T2}"
    assert reasons[LEFT, "l2_l3"] == f"not found in {AXIAL_T2}"


@pytest.mark.parametrize(("probability", "flagged"), [(0.6, True), (0.4, False)])
def test_another_condition_is_flagged_where_the_condition_model_is_sure_of_it(
    study: Study, probability: float, flagged: bool
) -> None:
    rest = (1 - probability) / 4
    named = [probability if name == SPINAL else rest for name in CONDITIONS]
    severe = Fixed(0.1, 0.2, 0.7)
    rows = graded_rows(
        study,
        severity_models=[fixed(severe)],
        condition_models=[fixed(Fixed(*named), "condition")],
    )
    other = rows.loc[(LEFT, "l5_s1")]
    assert (other["seen_condition"], other["source"]) == (SPINAL, "located")
    assert other["seen_probability"] == pytest.approx(probability, rel=1e-4)
    assert other[PROBABILITY_COLUMNS].tolist() == pytest.approx(
        [0.1, 0.2, 0.7], rel=1e-4
    )
    assert ("predicts spinal canal stenosis here" in other["reason"]) is flagged
    assert rows.loc[(SPINAL, "l4_l5"), "reason"] == ""
    both = rows.loc[(FORAMEN, "l2_l3"), "reason"]
    assert ("series; the condition model predicts" in both) is flagged
    named = ["seen_condition", "seen_probability"]
    assert rows.loc[(LEFT, "l1_l2"), named].isna().all()


@pytest.mark.parametrize(
    ("shift", "doubt"),
    [
        (LevelShift(0.234, 0.014), "levels may be one too high (23%) or too low (1%)"),
        (LevelShift(0.06, 0.07), "levels may be one too high (6%) or too low (7%)"),
        (LevelShift(0.04, 0.05), ""),
    ],
)
def test_graded_rows_say_that_all_levels_may_be_off_by_one(
    study: Study, shift: LevelShift, doubt: str
) -> None:
    study.level_shift = shift
    reasons = graded_rows(study)["reason"]
    assert reasons[SPINAL, "l4_l5"] == doubt
    assert reasons[FORAMEN, "l2_l3"].endswith(doubt)
    # Neither grade nor level of a prior's row is taken from the study.
    assert "levels may be" not in reasons[LEFT, "l1_l2"]
    assert "levels may be" not in reasons[SPINAL, "l1_l2"]
    reasons = graded_rows(study, severity_models=[])["reason"]
    assert reasons[SPINAL, "l4_l5"].endswith(doubt)


def test_doubt_about_levels_makes_a_grade_more_doubtful(study: Study) -> None:
    sure = graded_rows(study)["wrong_probability"]
    study.level_shift = LevelShift(0.5, 0.0)
    doubted = graded_rows(study)["wrong_probability"]
    # .6, .3, .1 less the weights: .6 of .775; the prior of thirds: 1 of 1.75.
    own, prior = 0.6 / 0.775, 1 / 1.75
    assert sure[SPINAL, "l4_l5"] == pytest.approx(1 - own, abs=1e-3)
    mean = (own + prior) / 2
    assert doubted[SPINAL, "l4_l5"] == pytest.approx(1 - mean, abs=1e-3)
    assert doubted[SPINAL, "l1_l2"] == sure[SPINAL, "l1_l2"]


def test_a_study_that_seems_shifted_on_its_heatmaps_is_doubted() -> None:
    def below(condition: str, level: str) -> np.ndarray:
        return site_mm(condition, level) - np.array([0, 0, 30.0])

    heatmaps = shown()
    for name in (SAGITTAL_T1, SAGITTAL_T2):
        lower = seen(name, VIEWS[name], place=below)
        heatmaps[name] = mixed(lower, heatmaps[name], 0.4)
    study = Study(77, overviews=VIEWS)
    pipeline(locators=[Shower(heatmaps)]).find_sites(study)
    assert study.level_shift.too_high == pytest.approx(0.4, abs=0.03)
    pipeline(locators=[Shower(shown())]).find_sites(study)
    assert study.level_shift.too_high < 0.01


class Bright:
    """A locator that finds every target where a slice is bright."""

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
    rows = pipeline(locators=[Bright()]).predict(folder, listed, findings).findings
    # One bright spot is one level of the canal; the others keep the prior.
    [canal] = rows[rows["source"] == "located"].itertuples()
    assert canal.condition == SPINAL
    assert (canal.series_id, canal.instance_number) == (5, 3)
    assert (canal.x, canal.y) == pytest.approx((73.5, 15.5), abs=2.5)  # a cell
    assert canal.normal_mild == pytest.approx(0.6, rel=1e-4)
    assert (rows["reason"] == f"the study has no {AXIAL_T2} series").sum() == 10


def test_a_site_of_a_series_without_positions_says_so(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (3, 80, 120), "u2")
    volume[1, 12:20, 70:78] = 900
    folder = write_series(tmp_path / "77" / "5", volume, [plane((0, 0, 0))] * 3).parent
    listed = pd.DataFrame({"series_id": [5], "series_description": [SAGITTAL_T2]})
    findings = prior_findings([77], uniform(), "not read yet")
    rows = pipeline(locators=[Bright()]).predict(folder, listed, findings).findings
    [canal] = rows[rows["source"] == "located"].itertuples()
    assert "one position for 3 slices" in canal.reason


class NoNumber(Fixed):
    """A predictor without a finite output."""

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return no number."""
        return super().outputs(images) * torch.nan


def test_a_run_without_finite_outputs_is_told_once_and_the_others_grade(
    study: Study,
) -> None:
    logged: list[str] = []
    good, bad = fixed(Fixed(0.6, 0.3, 0.1)), fixed(NoNumber())
    bad = replace(bad, run=replace(bad.run, folder=Path("severity-bad")))
    tested = pipeline(severity_models=[bad, good], log=logged.append)
    findings = prior_findings([77], uniform(), "not read yet")
    rows = [tested.grade(study, SITES, findings).findings for _ in range(2)][1]
    rows = rows.set_index(["condition", "level"])
    for target in [(SPINAL, "l4_l5"), (LEFT, "l5_s1")]:
        assert rows.loc[target, "normal_mild"] == pytest.approx(0.6, rel=1e-4)
        assert rows.loc[target, "reason"] == "without severity-bad: no finite output"
    [sentence] = logged
    assert "severity-bad" in sentence


def test_a_locator_without_finite_heatmaps_is_told_once_and_the_others_find() -> None:
    class Blind(Shower):
        def outputs(self, images: torch.Tensor) -> torch.Tensor:
            return super().outputs(images) * torch.nan

    logged: list[str] = []
    locators = [Blind(shown()), Shower(shown())]
    named = {"locator_names": ["location-bad", "location-good"], "log": logged.append}
    assert errors_mm(pipeline(locators=locators, **named)).max() < 3
    [sentence] = logged
    assert "location-bad" in sentence
    study = Study(77, overviews=VIEWS)
    assert pipeline(locators=locators[:1]).find_sites(study) == {}
    assert study.read_errors.keys() == VIEWS.keys()


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


def learned(x_mm: float) -> dict[str, list]:
    offset = {"condition": LEFT, "level": "l4_l5", "sd_mm": [1, 1, 1]}
    step = {"level": "l1_l2", "mean_mm": x_mm, "sd_mm": 1.0}
    return {
        "canal_offsets": [offset | {"mean_mm": [x_mm, 0, 0]}],
        "level_spacing": [step],
    }


RUNS = [
    run("condition-a", **learned(1)),
    run("location-a", **learned(2)),
    run("location-b", **learned(3)),
    run("severity-a", **learned(4)),
    run("severity-b"),
]
CALIBRATION = by_temperature(2.0, 2.0, 2.0, 1.25)


def names(parts: list) -> list[str]:
    return [one.run.folder.name for one in parts]


def test_every_run_does_its_own_task(tmp_path: Path) -> None:
    save_calibration(CALIBRATION, tmp_path, ["severity-b", "severity-a"])
    logged: list[str] = []
    loaded = load_pipeline(tmp_path, RUNS, logged.append)
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
    assert logged == []


def test_a_run_that_leaks_or_is_damaged_is_skipped_and_logged(tmp_path: Path) -> None:
    others = [
        run("location-leaks", split="row", **learned(9)),
        run("severity-leaks", split="row"),
        run("condition-leaks", split="row"),
        run("severity-damaged"),
    ]
    save_calibration(CALIBRATION, tmp_path, ["severity-a", "severity-b"])
    logged: list[str] = []
    loaded = load_pipeline(tmp_path, [*others, *RUNS], logged.append)
    assert loaded.locators == ["location-a", "location-b"]
    assert names(loaded.severity_models) == ["severity-a", "severity-b"]
    assert names(loaded.condition_models) == ["condition-a"]
    assert loaded.canal_offsets[LEFT, "l4_l5"].mean_mm[0] == 2
    assert loaded.calibration == CALIBRATION
    assert len(logged) == 4
    for one, sentence in zip(others, logged, strict=True):
        assert one.folder.name in sentence


@pytest.mark.parametrize(
    "leave",
    [
        lambda folder: None,
        lambda folder: save_calibration(CALIBRATION, folder, ["severity-a"]),
        lambda folder: (folder / "calibration.json").write_text("{"),
        lambda folder: other_rule(folder),
    ],
    ids=["none", "of other runs", "damaged", "of another ensemble rule"],
)
def test_without_a_calibration_of_these_runs_nothing_is_corrected(
    tmp_path: Path, leave: Callable[[Path], object]
) -> None:
    leave(tmp_path)
    logged: list[str] = []
    assert load_pipeline(tmp_path, RUNS, logged.append).calibration == IDENTITY
    [sentence] = logged
    assert sentence.startswith("Not calibrated: ")
    assert "run train.py again" in sentence


def test_a_blend_with_the_prior_is_told(tmp_path: Path) -> None:
    blended = {**IDENTITY.families, "foraminal": Correction(prior_weight=0.925)}
    save_calibration(Calibration(blended), tmp_path, ["severity-a", "severity-b"])
    logged: list[str] = []
    assert load_pipeline(tmp_path, RUNS, logged.append).calibration.families == blended
    [sentence] = logged
    assert sentence.startswith("Blended with the prior: the foraminal grades, 92%")


def other_rule(folder: Path) -> None:
    """Write a calibration as releases did that averaged probabilities."""
    save_calibration(CALIBRATION, folder, ["severity-a", "severity-b"])
    path = folder / CALIBRATION_FILE
    held = json.loads(path.read_text())
    del held["ensemble"]
    path.write_text(json.dumps(held))


def test_without_a_usable_location_run_there_is_no_pipeline(tmp_path: Path) -> None:
    runs = [one for one in RUNS if one.config.task != "location"]
    with pytest.raises(UserError, match="no usable location run"):
        load_pipeline(tmp_path, [*runs, run("location-damaged")], lambda sentence: None)


def test_without_a_usable_severity_run_the_sites_can_still_be_found(
    tmp_path: Path,
) -> None:
    runs = [one for one in RUNS if one.config.task != "severity"]
    logged: list[str] = []
    damaged = run("severity-damaged")
    loaded = load_pipeline(tmp_path, [*runs, damaged], logged.append)
    assert loaded.locators == ["location-a", "location-b"]
    assert loaded.severity_models == []
    assert "Skipped: severity-damaged" in logged[0]
    assert "no usable severity run was given" in logged[1]
    assert len(logged) == 2


def test_without_a_severity_run_sites_are_listed_and_grades_stay_the_prior(
    study: Study,
) -> None:
    rows = graded_rows(study, severity_models=[])
    for target, site in SITES.items():
        row = rows.loc[target]
        assert (row["source"], row["series_id"]) == (site.source, site.series_id)
        assert (row["x"], row["y"]) == (30.0, 20.0)
        assert NO_SEVERITY_RUN in row["reason"]
    assert "projected from another series" in rows.loc[(FORAMEN, "l2_l3"), "reason"]
    assert (rows["source"] == "prior").sum() == 25 - len(SITES)
    grades = rows[PROBABILITY_COLUMNS].to_numpy(float)
    assert grades == pytest.approx(np.full((25, 3), 1 / 3))
    assert keeps_prior(rows).all()

"""Pages made by the kit's own code of small synthetic inputs."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from dicom_files import AXIAL, SAGITTAL, plane, write_series
from fake_classifiers import Fixed, fixed
from fake_condition_runs import KEY, description, predicted, write_cache, write_run
from synthetic_study import OFFSETS, STEPS

from evaluate import report_runs
from src.classification.calibration import IDENTITY
from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
    SEVERITIES,
    SPINAL,
)
from src.competition.folds import row_splits
from src.competition.prior import uniform
from src.imaging.geometry import SliceGeometry
from src.inference.findings import prior_findings
from src.inference.pipeline import StudyPipeline
from src.inference.study import Study, read_study
from src.localization.locate import LocatedSite, Sites
from src.localization.spine_prior import read_canal_offsets, read_level_spacing
from src.reporting.study_page import StudyPages

MILD, SEVERE, PRIOR = 7, 12, 130  # studies, by what their grades are
STUDIES = (MILD, SEVERE, PRIOR)
SIDE_MM = {"left": 8.0, "right": -8.0}


def make_report(folder: Path) -> Path:
    """Make the report of condition runs of two backbones and both splits, and grades.

    The severity run calls every site moderate, with a probability of .8.
    """
    studies = 12
    table = write_cache(folder / "cache", studies)
    by_study = predicted(table[table["study_id"] > studies - 2])
    by_row = predicted(table[row_splits(len(table), 0) == "test"])
    for backbone in ("vgg16", "resnet10t"):
        write_run(folder / "runs", description(backbone=backbone), by_study)
    write_run(folder / "runs", description(split="row", slices="repeat"), by_row)
    where = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    graded = table.loc[table["study_id"] > studies - 2, where].assign(
        truth=1, predicted=1, p_normal_mild=0.1, p_moderate=0.8, p_severe=0.1
    )
    config = description(
        task="severity", cache_fingerprint=KEY, labels=list(SEVERITIES)
    )
    write_run(folder / "runs", config, graded)
    report_runs(folder / "cache", folder / "runs", folder / "report")
    return folder / "report" / "report.html"


def make_studies(folder: Path) -> Path:
    """Make the pages of STUDIES: all mild, all severe, and none found; two marked."""
    pages = StudyPages(folder / "pages", STUDIES)
    tables = []
    for study_id, probabilities in (
        (MILD, (0.8, 0.15, 0.05)),
        (SEVERE, (0.1, 0.2, 0.7)),
    ):
        study = _study(folder / "images", study_id)
        findings = prior_findings([study_id], uniform(), "not read yet")
        predicted_one = _pipeline(*probabilities).grade(study, _sites(), findings)
        pages.add(predicted_one)
        tables.append(predicted_one.findings)
    unread = prior_findings([PRIOR], uniform(), "the study has no readable series")
    pages.add_unread(unread)
    table = pd.concat([*tables, unread], ignore_index=True)
    is_marked = (table["study_id"] == SEVERE) & (table["level"] == "l4_l5")
    pages.finish(table.assign(review=is_marked.astype(int)))
    return folder / "pages"


def make_lone_study(folder: Path) -> Path:
    """Make the page of a study with a sagittal T2 alone and no model that grades."""
    pages = StudyPages(folder / "lone", [MILD])
    study = _study(folder / "lone-images", MILD, [SAGITTAL_T2])
    canals = {at: site for at, site in _sites().items() if at[0] == SPINAL}
    findings = prior_findings([MILD], uniform(), "not read yet")
    predicted_one = _pipeline().grade(study, canals, findings)
    pages.add(predicted_one)
    pages.finish(predicted_one.findings.assign(review=0))
    return folder / "lone" / f"{MILD}.html"


# 9 sagittal slices from x = -16 mm on, 15 axial ones from z = 28 mm down.
def _planes(description: str) -> list[SliceGeometry]:
    if description == AXIAL_T2:
        return [plane((-30, -30, 28 - 4 * i), AXIAL) for i in range(15)]
    return [plane((4 * i - 16, -30, 40), SAGITTAL) for i in range(9)]


NUMBERS = {SAGITTAL_T1: 1, SAGITTAL_T2: 2, AXIAL_T2: 3}  # the series' ids


def _study(images: Path, study_id: int, names: Iterable[str] = NUMBERS) -> Study:
    for name in names:
        series_id = NUMBERS[name]
        planes = _planes(name)
        random = np.random.default_rng(series_id + study_id)
        volume = random.integers(0, 900, (len(planes), 80, 64), "u2")
        write_series(images / str(study_id) / str(series_id), volume, planes)
    rows = [(NUMBERS[name], name) for name in names]
    columns = ["series_id", "series_description"]
    return read_study(images / str(study_id), pd.DataFrame(rows, columns=columns))


def _sites() -> Sites:
    """Place each site 12 mm below that of the level above, 8 mm to its side."""
    found = {}
    for condition in CONDITIONS:
        name = SERIES_OF[FAMILY_OF[condition]]
        for number, level in enumerate(LEVELS):
            x = SIDE_MM.get(condition.split("_")[0], 0.0)
            point = np.array([x, 0.0, 24.0 - 12 * number])
            planes = _planes(name)
            index = min(
                range(len(planes)), key=lambda i: abs(planes[i].distance_mm(point))
            )
            across, down = planes[index].to_pixel(point).tolist()
            found[condition, level] = LocatedSite(
                NUMBERS[name], index + 1, across, down, point, 0.9, "located"
            )
    return found


def _pipeline(*probabilities: float) -> StudyPipeline:
    """Make a pipeline that grades all alike, or none without probabilities."""
    return StudyPipeline(
        locators=[],
        canal_offsets=read_canal_offsets(OFFSETS),
        level_spacing=read_level_spacing(STEPS),
        severity_models=[fixed(Fixed(*probabilities))] if probabilities else [],
        condition_models=[],
        calibration=IDENTITY,
        with_views=True,
    )

"""Six small studies in the competition's layout, and runs that nobody trained.

A study has three series, 19 slices of 64 x 64 px in all, so that a script reads it in a
fraction of a second. The runs are whole folders with random weights: their
answers are worth nothing, but each depends on the images, to the last bit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from dicom_files import AXIAL, SAGITTAL, plane, write_series
from fake_condition_runs import run_config
from synthetic_study import marked, site_mm

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    SEVERITIES,
    TARGETS,
)
from src.competition.submission import row_ids
from src.competition.tables import (
    LABEL_FILE,
    POINT_COLUMNS,
    POINT_FILE,
    SAMPLE_FILE,
    SERIES_COLUMNS,
    SERIES_FILE,
    TEST_SERIES_FILE,
)
from src.files import write_csv
from src.imaging.geometry import SliceGeometry
from src.localization.spine_prior import fit_canal_offsets, fit_level_spacing
from src.training.config import LABELS, EpochMetrics
from src.training.run_folder import build_model, finalize_run, partial_folder
from src.training.run_folder import write_history as write_run_history

TRAINING, TEST = (101, 102, 103), (201, 202, 203)
SIDE_PX, SPACING_MM = 64, 3.2
BACKBONE = "test_resnet"  # timm's own for tests: half a million weights
AXES = {SAGITTAL_T1: SAGITTAL, SAGITTAL_T2: SAGITTAL, AXIAL_T2: AXIAL}
HEIGHTS_MM = {
    SAGITTAL_T1: np.arange(-16, 17, 8.0),
    SAGITTAL_T2: np.arange(-16, 17, 8.0),
    AXIAL_T2: np.arange(60, -61, -15.0),
}
# Of random weights' outputs, so that heatmaps have peaks and grades differ.
SPREAD = {"location": 200.0, "severity": 20.0, "condition": 20.0}
WIDE_MM = 300.0  # deviation of a site's place, so that a random peak is believed


def series_id(study: int, description: str) -> int:
    """Return the id of a study's series of a type."""
    return 10 * study + SERIES_DESCRIPTIONS.index(description)


def planes(description: str) -> list[SliceGeometry]:
    """Place the slices of a series, around the spine of synthetic_study.py."""
    right, down = np.array(AXES[description], float)
    out = []
    for height in HEIGHTS_MM[description]:
        axial = description == AXIAL_T2
        middle = np.array([0.0, 20, height] if axial else [height, 20, 0])
        corner = middle - SPACING_MM * (SIDE_PX - 1) / 2 * (right + down)
        out.append(plane(corner, AXES[description], (SPACING_MM, SPACING_MM)))
    return out


def write_cohort(root: Path) -> Path:
    """Write the competition: images and all five tables."""
    points = [row for study in TRAINING for row in _points(study)]
    for split, studies in (("train", TRAINING), ("test", TEST)):
        for study in studies:
            for description in SERIES_DESCRIPTIONS:
                name = str(series_id(study, description))
                folder = root / f"{split}_images" / str(study) / name
                write_series(folder, *_slices(study, description))
    write_csv(pd.DataFrame(points, columns=list(POINT_COLUMNS)), root / POINT_FILE)
    write_csv(_series(TRAINING), root / SERIES_FILE)
    write_csv(_series(TEST), root / TEST_SERIES_FILE)
    sample = pd.DataFrame({"row_id": row_ids(TEST)})
    write_csv(sample.assign(**dict.fromkeys(SEVERITIES, 1 / 3)), root / SAMPLE_FILE)
    drawn = np.random.default_rng(0).choice(
        ["Normal/Mild", "Moderate", "Severe"], (len(TRAINING), len(TARGETS))
    )
    labels = pd.DataFrame(drawn, columns=list(TARGETS))
    labels.insert(0, "study_id", TRAINING)
    write_csv(labels, root / LABEL_FILE)
    return root


def _slices(
    study: int, description: str
) -> tuple[Sequence[np.ndarray], list[SliceGeometry]]:
    """Draw a series: coarse noise, and a bright spot at each of its sites."""
    geometry = planes(description)
    rng = np.random.default_rng(series_id(study, description))
    coarse = rng.uniform(50, 500, (len(geometry), 16, 16))
    volume = coarse.repeat(4, axis=1).repeat(4, axis=2)
    volume += rng.uniform(0, 100, volume.shape)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    for condition in CONDITIONS:
        for level in LEVELS:
            if SERIES_OF[FAMILY_OF[condition]] == description:
                index, (px, py) = _nearest(geometry, site_mm(condition, level))
                off = (x - px) ** 2 + (y - py) ** 2
                volume[index] += 600 * np.exp(-off / 8)
    return list(volume.astype("u2")), geometry


def _points(study: int) -> list[tuple[object, ...]]:
    """Mark the 25 sites of a study, each on the nearest slice of its series."""
    rows: list[tuple[object, ...]] = []
    for condition in CONDITIONS:
        description = SERIES_OF[FAMILY_OF[condition]]
        for level in LEVELS:
            index, (x, y) = _nearest(planes(description), site_mm(condition, level))
            name = condition.replace("_", " ").title()
            spelled = level.replace("_", "/").upper()
            where = (study, series_id(study, description), index + 1)
            rows.append((*where, name, spelled, round(x, 2), round(y, 2)))
    return rows


def _nearest(
    geometry: list[SliceGeometry], point_mm: np.ndarray
) -> tuple[int, tuple[float, float]]:
    away = [abs(one.distance_mm(point_mm)) for one in geometry]
    index = int(np.argmin(away))
    x, y = geometry[index].to_pixel(point_mm)
    return index, (float(x), float(y))


def _series(studies: Sequence[int]) -> pd.DataFrame:
    rows = [
        (study, series_id(study, description), description)
        for study in studies
        for description in SERIES_DESCRIPTIONS
    ]
    return pd.DataFrame(rows, columns=list(SERIES_COLUMNS))


def write_run(runs: Path, task: str, seed: int = 0, **changes: Any) -> Path:
    """Write a finished run of a task with random weights; `changes` of its config."""
    spine = {
        "canal_offsets": [
            {**row, "sd_mm": [WIDE_MM] * 3} for row in fit_canal_offsets(marked())
        ],
        "level_spacing": [
            {**row, "sd_mm": WIDE_MM} for row in fit_level_spacing(marked())
        ],
    }
    usual = {"task": task, "labels": list(LABELS[task]), "backbone": BACKBONE}
    usual |= {"seed": seed, "input_px": 64 if task == "location" else 0}
    usual |= spine if task == "location" else {}
    config = run_config(**(usual | changes))
    torch.manual_seed(seed)
    model = build_model(config)
    head = model.head if task == "location" else model.get_classifier()
    with torch.no_grad():
        head.weight.mul_(SPREAD[task])
    epoch = EpochMetrics(1, 1.0, 1.0, 0.5, 0.001, 1.0, True)
    write_run_history([epoch], partial_folder(runs, config))
    sites = pd.DataFrame(columns=["crop", "study_id", "condition", "level"])
    finalize_run(runs, config, model, sites)
    return runs / config.name

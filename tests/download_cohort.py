"""A small download that is sound in every respect, to be damaged in one."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from dicom_files import AXIAL, SAGITTAL, plane, write_slice

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    TARGETS,
)

STUDY, TEST_STUDY = 11, 21
T1, T2, AX = 111, 112, 113  # the series of the study
T1_TAGS = {"EchoTime": "10", "RepetitionTime": "550"}
T2_TAGS = {"EchoTime": "102", "RepetitionTime": "3600"}
TAGS = {"SliceThickness": "4", "SpacingBetweenSlices": "4"}
TYPES = {1: SAGITTAL_T1, 2: SAGITTAL_T2, 3: AXIAL_T2}
STEP_MM, SIZE = 4.0, 32
ORDINARY = {"left": 7, "right": 1, "spinal": 4}  # sagittal instances, right to left


def write_training(root: Path) -> Path:
    """One study of three series, and the three tables."""
    write_study(root, "train", STUDY)
    labels = {"study_id": [STUDY], **{name: ["Normal/Mild"] for name in TARGETS}}
    write_table(root, "train", pd.DataFrame(labels))
    write_table(root, "train_label_coordinates", points())
    return root


def write_test(root: Path) -> Path:
    """One study of three series, and the two tables."""
    write_study(root, "test", TEST_STUDY)
    rows = {"row_id": [f"{TEST_STUDY}_{name}" for name in TARGETS]}
    write_table(root, "sample_submission", pd.DataFrame(rows))
    return root


def write_study(root: Path, split: str, study: int) -> None:
    rows = []
    for number, words in TYPES.items():
        series = 10 * study + number
        folder = root / f"{split}_images" / str(study) / str(series)
        write_scan(folder, number, shift_mm=study + 100 * number)
        rows.append((study, series, words))
    names = ["study_id", "series_id", "series_description"]
    table = pd.DataFrame(rows, columns=names)
    write_table(root, f"{split}_series_descriptions", table)


def write_scan(folder: Path, number: int, shift_mm: float) -> None:
    """Sagittal T1 or T2 from right to left, or axial T2 from head to foot."""
    axial = number == 3
    rng = np.random.default_rng(int(shift_mm))
    for index in range(15 if axial else 8):
        x_mm, z_mm = (-8.0, -STEP_MM * index) if axial else (STEP_MM * (index - 3), 0.0)
        axes, spacing = (AXIAL, 0.5) if axial else (SAGITTAL, 0.7)
        where = plane((x_mm, shift_mm, z_mm), axes, (spacing, spacing))
        pixels = rng.integers(0, 900, (SIZE, SIZE), "u2")
        tags = TAGS | (T1_TAGS if number == 1 else T2_TAGS)
        write_slice(folder / f"{index + 1}.dcm", pixels, where, **tags)


def points() -> pd.DataFrame:
    """Mark all 25 sites of the study, sides and levels where they belong."""
    rows = []
    for condition, (rank, level) in product(CONDITIONS, enumerate(LEVELS)):
        side = condition.partition("_")[0]
        if "subarticular" in condition:
            x = {"left": 26.0, "right": 6.0}[side]
            place = (AX, 1 + 3 * rank, x, 16.0)
        else:
            series = T2 if side == "spinal" else T1
            place = (series, ORDINARY[side], 16.0, 4.0 + 5 * rank)
        series, instance, x, y = place
        words = condition.replace("_", " ").title(), level.replace("_", "/").upper()
        rows.append((STUDY, series, instance, *words, x, y))
    names = ["study_id", "series_id", "instance_number", "condition", "level", "x", "y"]
    return pd.DataFrame(rows, columns=names)


def write_table(root: Path, name: str, table: pd.DataFrame) -> None:
    root.mkdir(parents=True, exist_ok=True)
    table.to_csv(root / f"{name}.csv", index=False)


def edit(root: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a table, whose cells are text."""
    table = pd.read_csv(root / f"{name}.csv", dtype=str, keep_default_na=False)
    write_table(root, name, change(table))

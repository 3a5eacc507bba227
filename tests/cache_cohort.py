"""Two studies with four small series, their tables, and their crop cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dicom_files import AXIAL, SAGITTAL, plane, write_series

from src.cache.build_crops import CacheSummary, build_cache
from src.cache.crop_cache import CropCache
from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.series import read_series

SPEC = CropSpec(crop_px=16, field_mm=12)
SPINAL, FORAMINAL = "spinal_canal_stenosis", "left_neural_foraminal_narrowing"
SUBARTICULAR = "right_subarticular_stenosis"
SITE = ["study_id", "condition", "level"]
POINTS = pd.DataFrame(
    [
        (2, 21, 5, SPINAL, "l2_l3", 11.25, 14.0),
        (2, 21, 5, SPINAL, "l1_l2", 12.5, 3.75),
        (2, 22, 8, SUBARTICULAR, "l4_l5", 15.0, 15.5),
        (1, 11, 3, SPINAL, "l4_l5", 20.0, 19.0),
        (1, 12, 1, FORAMINAL, "l1_l2", 9.0, 10.0),
        (1, 12, 7, SPINAL, "l5_s1", 17.0, 16.0),
    ],
    columns=["study_id", "series_id", "instance_number", *SITE[1:], "x", "y"],
)
SERIES = pd.DataFrame(
    [
        (1, 11, SAGITTAL_T2),
        (1, 12, SAGITTAL_T1),
        (2, 21, SAGITTAL_T2),
        (2, 22, AXIAL_T2),
    ],
    columns=["study_id", "series_id", "series_description"],
)
LABELS = POINTS[SITE].assign(
    severity=["severe", "moderate", "normal_mild", None, "moderate", "severe"]
)
# Files of three slices, in the order that they have in the patient.
NUMBERS = {11: (9, 3, 5), 12: (1, 7, 4), 21: (5, 6, 2), 22: (1, 8, 3)}
AXES = {11: SAGITTAL, 12: SAGITTAL, 21: SAGITTAL, 22: AXIAL}


def write_images(images: Path) -> Path:
    """The cohort's four series, 32 x 32 px of 0.75 mm, slices 4 mm apart."""
    for study_id, series_id, _ in SERIES.itertuples(index=False):
        volume = np.random.default_rng(series_id).integers(0, 900, (3, 32, 32), "u2")
        across = np.abs(np.cross(*np.array(AXES[series_id], float))) * (4, 4, -4)
        planes = [plane(i * across, AXES[series_id], (0.75, 0.75)) for i in range(3)]
        folder = images / str(study_id) / str(series_id)
        write_series(folder, volume, planes, NUMBERS[series_id])
    return images


def build(images: Path, cache: Path, **changes: Any) -> CacheSummary:
    given = {"points": POINTS, "labels": LABELS, "series": SERIES, "spec": SPEC}
    return build_cache(images=images, cache=cache, **{**given, **changes})


def contents(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.iterdir()}


def assert_crops_are_of_their_points(cache: CropCache, images: Path) -> None:
    """Cut every row's crop a second time, from its own file."""
    assert len(cache.crops) == len(cache.table)
    for row in cache.table.itertuples():
        series = read_series(images / str(row.study_id) / str(row.series_id))
        index = series.index_of(row.instance_number)
        expected = extract_crop(series, index, row.x, row.y, SPEC).pixels
        np.testing.assert_array_equal(cache.crops[row.crop], expected)

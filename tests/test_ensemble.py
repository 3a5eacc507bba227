"""The ensemble rule: worked by hand, and the same in evaluation and submission."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import AXIAL, plane, write_series
from fake_classifiers import Fixed, fixed

from src.classification.calibration import (
    PROBABILITY_COLUMNS,
    out_of_fold_probabilities,
)
from src.classification.ensemble import MIN_PROBABILITY, ensemble, ensemble_tables
from src.competition.constants import AXIAL_T2, SEVERITIES
from src.inference.grading import predict_ensemble
from src.inference.study import read_study
from src.localization.locate import LocatedSite

LEFT = "left_subarticular_stenosis"
NAMES = [f"p_{name}" for name in SEVERITIES]


def test_rows_of_a_site_are_averaged_by_their_logarithms() -> None:
    rows = np.array([[0.8, 0.1, 0.1], [0.3, 0.3, 0.4], [0.2, 0.4, 0.4]])
    first, second = ensemble(rows, np.array([0, 1, 0]))
    assert first == pytest.approx(np.array([0.4, 0.2, 0.2]) / 0.8)
    assert second == pytest.approx(rows[1])


def test_a_probability_of_zero_counts_as_the_floor() -> None:
    [alone] = ensemble(np.array([[1.0, 0.0, 0.0]]), np.zeros(1, int))
    assert alone[1] == pytest.approx(MIN_PROBABILITY, rel=1e-4)
    rows = np.array([[1.0, 0.0, 0.0], [0.01, 0.01, 0.98]])
    [mean] = ensemble(rows, np.zeros(2, int))
    expected = np.sqrt([0.01, 0.01 * MIN_PROBABILITY, 0.98 * MIN_PROBABILITY])
    assert mean == pytest.approx(expected / expected.sum())


def test_tables_keep_each_sites_keys_and_probabilities_in_one_row() -> None:
    columns = ["study_id", "level", "p", "q"]
    one = pd.DataFrame(
        [(9, "l1_l2", 0.5, 0.5), (4, "l2_l3", 0.9, 0.1)], columns=columns
    )
    two = pd.DataFrame(
        [(4, "l2_l3", 0.1, 0.9), (4, "l1_l2", 0.2, 0.8)], columns=columns
    )
    table = ensemble_tables([one, two], columns[:2], columns[2:])
    assert table.columns.tolist() == columns
    assert {row[:2]: row[2] for row in table.itertuples(index=False, name=None)} == {
        (4, "l1_l2"): pytest.approx(0.2),
        (4, "l2_l3"): pytest.approx(0.5),
        (9, "l1_l2"): pytest.approx(0.5),
    }


def test_evaluation_and_submission_average_disagreeing_runs_alike(
    tmp_path: Path,
) -> None:
    runs = [(0.989, 0.01, 0.001), (0.05, 0.15, 0.8)]
    volume = np.random.default_rng(0).integers(0, 900, (3, 40, 60), "u2")
    planes = [plane((0, 0, z), AXIAL) for z in (8, 4, 0)]
    folder = write_series(tmp_path / "9" / "4", volume, planes).parent
    listed = pd.DataFrame({"series_id": [4], "series_description": [AXIAL_T2]})
    site = LocatedSite(4, 2, 30.0, 20.0, np.zeros(3), 0.9, "located")
    graded, _ = predict_ensemble(
        read_study(folder, listed),
        {(LEFT, "l4_l5"): site},
        [fixed(Fixed(*row)) for row in runs],
    )
    row = {"study_id": 9, "condition": LEFT, "level": "l4_l5", "truth": 2}
    tables = [pd.DataFrame([row | dict(zip(NAMES, one, strict=True))]) for one in runs]
    [evaluated] = out_of_fold_probabilities(tables)[PROBABILITY_COLUMNS].to_numpy()
    assert graded[LEFT, "l4_l5"] == pytest.approx(evaluated, rel=1e-4)
    assert evaluated != pytest.approx(np.mean(runs, axis=0), abs=0.05)

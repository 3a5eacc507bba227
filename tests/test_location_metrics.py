"""Location metrics, against values worked out by hand."""

from pathlib import Path

import pandas as pd
import pytest

from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SPINAL,
)
from src.errors import UserError
from src.localization.location_metrics import (
    COMPARED_COLUMNS,
    location_metrics,
    read_locations,
    site_errors,
)

COLUMNS = (
    *("run", "study_id", "series_description", "source", "error_mm", "slices_off"),
    *("level_right", "side_right"),
)


def sites() -> pd.DataFrame:
    """Two runs on two studies of two sites each; one site is missed by one run."""
    rows = [
        ("a", 1, "located", 1.0, 0, True, True),
        ("a", 1, "located", 2.0, 1, True, True),
        ("a", 2, "projected", 6.0, 2, True, True),
        ("a", 2, "located", 30.0, 0, False, True),
        ("b", 1, "located", 3.0, 0, True, False),
        ("b", 1, None, None, None, False, False),
        ("b", 2, "located", 4.0, 1, True, True),
        ("b", 2, "located", 5.0, 0, True, True),
    ]
    rows = [(*row[:2], SAGITTAL_T2, *row[2:]) for row in rows]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_shares_are_of_all_sites_and_studies_of_each_run_count() -> None:
    [(description, metrics)] = location_metrics(sites()).items()
    assert description == SAGITTAL_T2
    assert (metrics["sites"], metrics["studies"]) == (8, 2)
    assert metrics["median_mm"] == 4.0  # of 1 2 3 4 5 6 30
    expected = {
        "within_5mm": 5 / 8,
        "slice_exact": 4 / 8,
        "slice_within_one": 6 / 8,
        "level_right": 6 / 8,
        "side_right": 6 / 8,
        "missed": 1 / 8,
        "projected": 1 / 8,
        "studies_level_right": 2 / 4,  # run a's first, run b's second
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_a_series_type_without_sites_has_no_entry() -> None:
    assert location_metrics(sites()[:0]) == {}


def test_a_series_type_is_measured_by_its_own_sites() -> None:
    axial = sites()[["run", "study_id"]].assign(
        series_description=AXIAL_T2,
        source="located",
        error_mm=[0.5, 7, 7, 7, 7, 7, 7, 10],
        slices_off=float("nan"),
        level_right=True,
        side_right=[True, False, False, False, False, False, False, False],
    )
    metrics = location_metrics(pd.concat([axial, sites()], ignore_index=True))
    assert metrics[SAGITTAL_T2] == location_metrics(sites())[SAGITTAL_T2]
    expected = {
        **{"within_5mm": 1 / 8, "slice_exact": 0, "slice_within_one": 0, "missed": 0},
        **{"level_right": 1, "side_right": 1 / 8, "studies_level_right": 1},
    }
    assert {name: metrics[AXIAL_T2][name] for name in expected} == expected
    assert metrics[AXIAL_T2]["median_mm"] == 7


def test_the_95th_percentile_is_of_the_sites_found() -> None:
    # Of 1 2 3 4 5 6 30 it lies 0.7 of the distance from the sixth to the last.
    metrics = location_metrics(sites())[SAGITTAL_T2]
    assert metrics["p95_mm"] == pytest.approx(6 + 0.7 * 24)
    nothing = sites().assign(error_mm=float("nan"), source=None)
    assert location_metrics(nothing)[SAGITTAL_T2]["p95_mm"] is None


def written(folder: Path, **changes: list) -> Path:
    """Write a run's predictions of four marked sites, the last one missed."""
    table = pd.DataFrame(index=range(4), columns=list(COMPARED_COLUMNS))
    usual = {
        "study_id": [7, 7, 8, 8],
        "condition": SPINAL,
        "level": ["l1_l2", "l2_l3", "l1_l2", "l2_l3"],
        "series_description": SAGITTAL_T2,
        "true_series_id": 70,
        "true_instance_number": 3,
        "true_x": 1.5,
        "true_y": 2.5,
        "source": ["located", "projected", "located", None],
        "error_mm": [1.25, 2.5, 30, None],
        "level_right": [True, True, False, None],
        "side_right": [True, False, True, None],
    }
    path = folder / "predictions.csv"
    table.assign(**{**usual, **changes}).to_csv(path, index=False)
    return path


def test_a_missed_site_has_neither_level_nor_side_right(tmp_path: Path) -> None:
    table = read_locations(written(tmp_path), {7, 8, 9})
    assert table["level_right"].tolist() == [True, True, False, False]
    assert table["side_right"].tolist() == [True, False, True, False]
    assert table["error_mm"].tolist()[:3] == [1.25, 2.5, 30]
    assert table["error_mm"].isna().tolist() == [False, False, False, True]
    [metrics] = location_metrics(table.assign(run="a")).values()
    assert (metrics["missed"], metrics["level_right"], metrics["projected"]) == (
        0.25,
        0.5,
        0.25,
    )


def test_a_site_marked_in_two_series_is_read_of_each(tmp_path: Path) -> None:
    levels = {"study_id": 7, "level": "l1_l2"}
    path = written(tmp_path, **levels, true_series_id=[70, 71, 70, 72])
    assert read_locations(path, {7})["true_series_id"].tolist() == [70, 71, 72]


def test_a_run_with_a_study_that_its_fold_does_not_test_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="tests other studies"):
        read_locations(written(tmp_path), {7, 9})
    path = written(tmp_path, level="t12_l1")
    with pytest.raises(UserError, match="is damaged"):
        read_locations(path, {7, 8})


def test_jitter_is_measured_in_each_plane_on_sites_of_their_own_level() -> None:
    sagittal = sites()
    sagittal.loc[4:, "series_description"] = SAGITTAL_T1
    axial = sites().assign(series_description=AXIAL_T2, error_mm=8.0, slices_off=3)
    table = pd.concat([sagittal, axial[axial["side_right"]]], ignore_index=True)
    flat, across = site_errors(table)
    # Of the sagittal sites 1, 2, 6, 4 and 5 mm off; on 3 and 30 mm the model erred.
    assert (flat["axial"], across["axial"]) == (False, True)
    assert flat["error_mm"][::5] == [1.0, 4.0, 6.0]
    assert flat["error_mm"][1] == pytest.approx(1.4)  # a tenth: .4 of 1 to 2
    assert len(flat["error_mm"]) == 11
    assert flat["slices_off"] == [0.4, 0.4, 0.2]
    assert set(across["error_mm"]) == {8.0}
    assert across["slices_off"] == [0.0, 0.0, 0.0, 1.0]


def test_without_a_site_at_its_level_there_is_no_jitter() -> None:
    assert site_errors(sites().assign(level_right=False)) == []

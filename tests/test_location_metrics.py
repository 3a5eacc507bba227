"""How well sites are found, summed up by hand."""

import pandas as pd
import pytest

from src.competition.vocab import SAGITTAL_T2
from src.reading.location_metrics import location_metrics

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
    [(description, told)] = location_metrics(sites()).items()
    assert description == SAGITTAL_T2
    assert (told["sites"], told["studies"]) == (8, 2)
    assert told["median_mm"] == 4.0  # of 1 2 3 4 5 6 30
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
    assert {name: told[name] for name in expected} == pytest.approx(expected)


def test_a_series_type_without_sites_has_no_entry() -> None:
    assert location_metrics(sites()[:0]) == {}

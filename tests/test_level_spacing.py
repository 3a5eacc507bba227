"""Spacing of levels, against lengths worked out by hand."""

import pandas as pd
import pytest
from synthetic_study import STEPS, marked

from src.competition.constants import SPINAL
from src.localization.spine_prior import (
    LevelSpacing,
    fit_level_spacing,
    negative_log_prior,
    read_level_spacing,
)


def test_spacing_is_measured_in_3d() -> None:
    # The made canal goes down 30 mm a level, and back by 1, 3, 5 and 7 mm.
    expected = [(30**2 + back**2) ** 0.5 for back in (1, 3, 5, 7)]
    assert [row["level"] for row in STEPS] == ["l1_l2", "l2_l3", "l3_l4", "l4_l5"]
    assert [row["mean_mm"] for row in STEPS] == pytest.approx(expected, abs=0.01)
    assert [row["sd_mm"] for row in STEPS] == [0, 0, 0, 0]


def test_a_point_on_a_wrong_level_hardly_moves_the_spacing() -> None:
    sites = marked(9)
    wrong = (sites["study_id"] == 4) & (sites["level"] == "l3_l4")
    sites.loc[wrong, "z_mm"] -= 30
    assert fit_level_spacing(sites) == STEPS


def test_spacing_is_between_levels_of_one_study() -> None:
    sites = marked(5)
    sites["x_mm"] += 100 * sites["study_id"] ** 2
    lacking = zip((0, 2, 3), ("l1_l2", "l2_l3", "l5_s1"), strict=True)
    for study, level in lacking:
        sites = sites[(sites["study_id"] != study) | (sites["level"] != level)]
    assert fit_level_spacing(sites) == STEPS


def test_a_spacing_that_no_study_shows_has_no_row() -> None:
    sites = marked()
    rows = fit_level_spacing(sites[sites["level"] != "l2_l3"])
    assert [row["level"] for row in rows] == ["l3_l4", "l4_l5"]
    assert fit_level_spacing(sites[sites["condition"] != SPINAL]) == []
    assert fit_level_spacing(pd.DataFrame(columns=sites.columns)) == []


def test_the_log_prior_is_a_gaussians_over_all_steps_between() -> None:
    steps = {"l1_l2": LevelSpacing(32, 6), "l2_l3": LevelSpacing(30, 8)}
    assert negative_log_prior(steps, 0, 1, 32) == 0
    assert negative_log_prior(steps, 0, 1, 44) == pytest.approx(2)  # two deviations
    assert negative_log_prior(steps, 0, 2, 82) == pytest.approx(
        2
    )  # 20 off, by hypot(6, 8)
    assert negative_log_prior(steps, 0, 3, 500) == 0


def test_no_sd_is_below_five_millimetres() -> None:
    rows = [
        {"level": "l1_l2", "mean_mm": 32, "sd_mm": 1},
        {"level": "l2_l3", "mean_mm": 30, "sd_mm": 4},
        {"level": "l5_s1", "mean_mm": 30, "sd_mm": 4},
    ]
    expected = {"l1_l2": LevelSpacing(32, 5), "l2_l3": LevelSpacing(30, 8)}
    assert read_level_spacing(rows) == expected
    assert read_level_spacing(None) == {}

"""The spine prior of several location runs: the first run that has a row counts."""

from typing import Any

import pytest
from fake_condition_runs import run_config

from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SPINAL,
)
from src.localization.spine_prior import learned_types, load_spine_prior
from src.training.config import RunConfig

LEFT = "left_subarticular_stenosis"


def config(offsets: dict[str, float], steps: dict[str, float]) -> RunConfig:
    """A run with offsets to the left by condition, and spacing by level."""
    rows: list[dict[str, Any]] = [
        {
            "condition": name,
            "level": "l4_l5",
            "mean_mm": [x, 0, 0],
            "sd_mm": [9] * 3,
        }
        for name, x in offsets.items()
    ]
    lengths = [
        {"level": level, "mean_mm": length, "sd_mm": 4.0}
        for level, length in steps.items()
    ]
    return run_config(task="location", canal_offsets=rows, level_spacing=lengths)


def test_an_offset_or_spacing_is_that_of_the_first_run_that_has_it() -> None:
    first = config({LEFT: 9.0}, {"l1_l2": 31.0})
    second = config({LEFT: 12.0, SPINAL: 1.0}, {"l1_l2": 40.0, "l2_l3": 33.0})
    offsets, steps = load_spine_prior([first, second])
    assert {at: one.mean_mm[0] for at, one in offsets.items()} == {
        (LEFT, "l4_l5"): 9,
        (SPINAL, "l4_l5"): 1,
    }
    assert {level: one.mean_mm for level, one in steps.items()} == {
        "l1_l2": 31,
        "l2_l3": 33,
    }
    assert offsets[LEFT, "l4_l5"].sd_mm == pytest.approx([18] * 3)
    assert steps["l1_l2"].sd_mm == 8


def test_a_run_has_learned_the_types_that_its_offsets_are_on() -> None:
    assert learned_types(config({SPINAL: 0.0}, {})) == {SAGITTAL_T2}
    assert learned_types(config({SPINAL: 0.0, LEFT: 9.0}, {})) == {
        SAGITTAL_T2,
        AXIAL_T2,
    }
    without_canals = config({}, {})
    assert learned_types(without_canals) == set(SERIES_DESCRIPTIONS)

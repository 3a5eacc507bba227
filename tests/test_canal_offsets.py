"""Offsets from the canal, against medians worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from synthetic_study import OFFSETS, marked

from src.competition.constants import SPINAL
from src.localization.spine_prior import POINT_MM, fit_canal_offsets, read_canal_offsets

LEFT, RIGHT = (f"{side}_neural_foraminal_narrowing" for side in ("left", "right"))
LEVEL = "l4_l5"


def offsets(sites: pd.DataFrame) -> dict[tuple[str, str], dict]:
    return {(row["condition"], row["level"]): row for row in fit_canal_offsets(sites)}


def test_both_sides_are_symmetric_where_the_marked_ones_are_not() -> None:
    # The left 18 mm from the canal, the right 14: each side counts for both.
    sites = marked()
    sites.loc[sites["condition"] == LEFT, "x_mm"] += 2
    sites.loc[sites["condition"] == RIGHT, "x_mm"] += 2
    found = offsets(sites)
    assert found[LEFT, LEVEL]["mean_mm"] == [16, -8, 5]
    assert found[RIGHT, LEVEL]["mean_mm"] == [-16, -8, 5]
    assert found[LEFT, LEVEL]["sd_mm"] == pytest.approx([2 * 1.4826, 0, 0], abs=0.01)


def test_a_site_is_measured_from_the_canal_of_its_own_study_and_level() -> None:
    sites = marked(4)
    sites[POINT_MM] += sites[["study_id"]].to_numpy() ** 2 * np.array([100, 50, 20])
    assert fit_canal_offsets(sites) == OFFSETS


def test_a_canal_marked_twice_counts_by_its_first_point() -> None:
    sites = marked()
    again = sites[sites["condition"] == SPINAL].copy()
    again["y_mm"] += 9
    once = offsets(sites)
    twice = offsets(pd.concat([sites, again, again]))
    sided = [at for at in once if at[0] != SPINAL]
    assert {at: twice[at] for at in sided} == {at: once[at] for at in sided}


def test_the_sd_is_a_gaussians_and_doubled_when_it_is_read() -> None:
    sites = marked(5)
    here = (sites["condition"] == LEFT) & (sites["level"] == LEVEL)
    here |= (sites["condition"] == RIGHT) & (sites["level"] == LEVEL)
    # 8, 4, 0, -4 and 40 mm: their middle is 4, the middle distance from it 4.
    higher = sites["study_id"].map(dict(enumerate((8, 4, 0, -4, 40))))
    sites.loc[here, "z_mm"] += higher[here]
    row = offsets(sites)[LEFT, LEVEL]
    assert row["mean_mm"] == [16, -8, 5 + 4]
    assert row["sd_mm"] == [0, 0, 5.93]
    read = read_canal_offsets([row])[LEFT, LEVEL]
    assert read.mean_mm.tolist() == [16, -8, 9]
    assert read.sd_mm == pytest.approx([5, 5, 11.86])


def test_rows_of_unknown_targets_are_ignored() -> None:
    row = OFFSETS[0]
    assert (
        read_canal_offsets([{**row, "level": "t12_l1"}, {**row, "condition": "x"}])
        == {}
    )
    assert read_canal_offsets(None) == {}

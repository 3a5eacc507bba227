"""Doubt about all levels of a study, on heatmaps whose masses are set by hand.

With the five masses all alike, the score of a shift is the logarithm of one of them.
"""

import numpy as np
import pytest
from synthetic_study import AWAY_MM, STEPS, mixed, overviews, seen, site_mm

from src.competition.constants import (
    AXIAL_T2,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SPINAL,
)
from src.localization.level_assignment import MISSING
from src.localization.level_shift import NO_SHIFT, LevelShift, estimate_level_shift
from src.localization.locate import LocatedSite, SeriesHeatmaps, Sites, targets_on
from src.localization.spine_prior import read_level_spacing

VIEWS = overviews()
SPACING = read_level_spacing(STEPS)


def sites_of(*descriptions: str) -> Sites:
    """Find every site of some series types where it truly is."""
    return {
        at: LocatedSite(1, 1, 0.0, 0.0, site_mm(*at), 0.9, "located")
        for description in descriptions
        for at in targets_on(description)
    }


def disc_mm(condition: str, number: int) -> np.ndarray:
    """Return a site at any disc: one above LEVELS is -1, one below is 5."""
    away = np.array(AWAY_MM[FAMILY_OF[condition]], float)
    if condition.startswith("right"):
        away[0] *= -1
    return np.array([2.0, 10 + number**2, 60 - 30 * number]) + away


def torn(
    description: str, share: float, step: int, sixth: bool = True
) -> SeriesHeatmaps:
    """Show each level at its own disc, and with a share at the disc `step` below.

    sixth: whether there is such a disc beyond the five.
    """

    def elsewhere(condition: str, level: str) -> np.ndarray:
        number = LEVELS.index(level) + step
        if not (sixth or 0 <= number < len(LEVELS)):
            return site_mm(condition, level)
        return disc_mm(condition, number)

    view = VIEWS[description]
    other = seen(description, view, place=elsewhere)
    return mixed(other, seen(description, view), share)


def doubt(heatmaps: dict[str, SeriesHeatmaps]) -> LevelShift:
    return estimate_level_shift(heatmaps, sites_of(*heatmaps), SPACING)


def test_levels_without_any_sign_of_another_count_are_not_doubted() -> None:
    shift = doubt({SAGITTAL_T2: seen(SAGITTAL_T2, VIEWS[SAGITTAL_T2])})
    # A level is never less probable elsewhere than one that is out of view.
    assert shift.too_high == pytest.approx(MISSING, rel=0.05)
    assert shift.too_low == pytest.approx(MISSING, rel=0.05)


@pytest.mark.parametrize("description", [SAGITTAL_T2, SAGITTAL_T1])
def test_the_doubt_is_the_share_of_the_mass_that_lies_one_level_off(
    description: str,
) -> None:
    # If levels truly lie one disc lower than found, those found are too high.
    shift = doubt({description: torn(description, 0.3, 1)})
    assert shift.too_high == pytest.approx(0.3, abs=0.01)
    assert shift.too_low < 0.01
    shift = doubt({description: torn(description, 0.3, -1)})
    assert shift.too_low == pytest.approx(0.3, abs=0.01)
    assert shift.too_high < 0.01


def test_more_mass_one_level_off_is_more_than_doubt() -> None:
    shift = doubt({SAGITTAL_T2: torn(SAGITTAL_T2, 0.8, 1)})
    assert shift.too_high == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("step", [1, -1])
def test_without_a_sixth_disc_one_level_would_be_out_of_view(step: int) -> None:
    shift = doubt({SAGITTAL_T2: torn(SAGITTAL_T2, 0.3, step, sixth=False)})
    moved, stays = 0.3**0.8 * MISSING**0.2, 0.7**0.8  # geometric means of five
    expected = moved / (moved + stays)
    assert shift.probability == pytest.approx(expected, abs=0.01)


def test_both_sagittal_types_count_alike() -> None:
    heatmaps = {
        SAGITTAL_T2: seen(SAGITTAL_T2, VIEWS[SAGITTAL_T2]),
        SAGITTAL_T1: torn(SAGITTAL_T1, 0.4, 1),
    }
    moved, stays = np.sqrt(MISSING * 0.4), np.sqrt(0.6)
    assert doubt(heatmaps).too_high == pytest.approx(moved / (moved + stays), rel=0.05)


def test_the_axial_is_asked_only_without_a_sagittal_type() -> None:
    axial = seen(AXIAL_T2, VIEWS[AXIAL_T2], levels_alike=True)
    sagittal = {SAGITTAL_T2: seen(SAGITTAL_T2, VIEWS[SAGITTAL_T2])}
    assert doubt(sagittal | {AXIAL_T2: axial}) == doubt(sagittal)
    # Alone: a fifth at each of five discs, and none at a sixth.
    moved, stays = 0.2**0.8 * MISSING**0.2, 0.2
    shift = doubt({AXIAL_T2: axial})
    expected = moved / (2 * moved + stays)
    assert shift.too_high == pytest.approx(expected, rel=0.05)
    assert shift.too_low == pytest.approx(expected, rel=0.05)


def test_where_nothing_was_found_nothing_is_doubted() -> None:
    heatmaps = {SAGITTAL_T2: torn(SAGITTAL_T2, 0.3, 1)}
    assert estimate_level_shift(heatmaps, {}, SPACING) == NO_SHIFT
    assert estimate_level_shift({}, sites_of(SAGITTAL_T2), SPACING) == NO_SHIFT


def test_a_level_that_was_not_found_is_out_of_view_in_any_count() -> None:
    heatmaps = {SAGITTAL_T2: torn(SAGITTAL_T2, 0.3, 1)}
    sites = sites_of(SAGITTAL_T2)
    del sites[SPINAL, "l1_l2"]
    shift = estimate_level_shift(heatmaps, sites, SPACING)
    # As found: four levels and one out of view; one too high: all five.
    stays, moved = 0.7**0.8 * MISSING**0.2, 0.3
    assert shift.too_high == pytest.approx(moved / (moved + stays), abs=0.02)

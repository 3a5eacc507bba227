"""Sites from chances, on a study whose every site is known."""

import numpy as np
import pandas as pd
import pytest
from made_study import (
    AXIAL_MM,
    OFFSETS,
    SAGITTAL_MM,
    STEPS,
    overview,
    overviews,
    seen,
    site_mm,
)

from src.competition.vocab import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
    SPINAL,
)
from src.imaging.overview import Overview, joined
from src.reading.comparison import compare
from src.reading.locate import Seen, Sites, locate
from src.reading.offsets import read_offsets
from src.reading.steps import read_steps

TARGETS = [(condition, level) for condition in CONDITIONS for level in LEVELS]


def found(views: dict[str, Overview], **changes: dict) -> Sites:
    """Locate with all series seen as they are; `changes` by series type."""
    shown = {
        name: seen(name, view, **changes.get(name, {})) for name, view in views.items()
    }
    return locate(shown, read_offsets(OFFSETS), read_steps(STEPS))


def errors_mm(sites: Sites) -> pd.Series:
    """How far each site lies from its true point."""
    return pd.Series(
        {at: np.linalg.norm(one.point_mm - site_mm(*at)) for at, one in sites.items()}
    )


def of(description: str) -> list[tuple[str, str]]:
    return [at for at in TARGETS if SERIES_OF[FAMILY_OF[at[0]]] == description]


def test_a_whole_study_is_found_on_its_own_series() -> None:
    sites = found(overviews())
    assert set(sites) == set(TARGETS)
    # A slice is up to 2 mm from a site, and the place on it is finer than a cell.
    assert errors_mm(sites).max() < 2.6
    assert {one.source for one in sites.values()} == {"located"}
    for condition, level in TARGETS:
        expected = {SAGITTAL_T2: 1, SAGITTAL_T1: 2, AXIAL_T2: 3}
        description = SERIES_OF[FAMILY_OF[condition]]
        assert sites[condition, level].series_id == expected[description]


def test_pixels_are_the_files_own() -> None:
    site = found(overviews())[SPINAL, "l3_l4"]
    # The canal of l3/l4 is at (2, 14, 0): 94 right of the file's corner, 100 below.
    assert (site.x, site.y) == pytest.approx((94, 100), abs=0.6)
    heights = dict(enumerate(SAGITTAL_MM, start=1))
    assert abs(heights[site.instance_number] - 2) <= 2


def test_an_axial_slice_gets_its_level_from_the_sagittal_series() -> None:
    alike = {"levels_alike": True}
    sites = found(overviews(), **{AXIAL_T2: alike})
    assert errors_mm(sites).max() < 2.6


def test_axial_alone_counts_its_levels_from_the_top() -> None:
    sites = found({AXIAL_T2: overviews()[AXIAL_T2]})
    assert set(sites) == set(of(AXIAL_T2))
    assert errors_mm(sites).max() < 2.6


@pytest.mark.parametrize("missing", [SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2])
def test_a_missing_series_costs_its_own_sites_alone(missing: str) -> None:
    views = {name: view for name, view in overviews().items() if name != missing}
    sites = found(views, **{AXIAL_T2: {"levels_alike": True}})
    assert set(sites) == set(TARGETS) - set(of(missing))
    assert errors_mm(sites).max() < 2.6


def test_t1_alone_is_found() -> None:
    sites = found({SAGITTAL_T1: overviews()[SAGITTAL_T1]})
    assert set(sites) == set(of(SAGITTAL_T1))
    assert errors_mm(sites).max() < 2.6


@pytest.mark.parametrize("blind", [SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2])
def test_what_a_series_does_not_show_is_projected(blind: str) -> None:
    sites = found(overviews(), **{blind: {"blind": True}})
    assert {sites[at].source for at in of(blind)} == {"projected"}
    assert errors_mm(sites).max() < 4
    assert {sites[at].source for at in TARGETS if at not in of(blind)} == {"located"}


def test_two_axial_series_share_the_levels() -> None:
    views = overviews()
    parts = [overview(AXIAL_T2, 7, AXIAL_MM[:17]), overview(AXIAL_T2, 8, AXIAL_MM[17:])]
    views[AXIAL_T2] = joined(parts)
    sites = found(views, **{AXIAL_T2: {"levels_alike": True}})
    assert errors_mm(sites).max() < 2.6
    by_level = {level: sites["left_subarticular_stenosis", level] for level in LEVELS}
    assert [by_level[level].series_id for level in LEVELS] == [7, 7, 8, 8, 8]


def test_sites_out_of_every_image_are_left_out() -> None:
    views = overviews()
    views[AXIAL_T2] = overview(AXIAL_T2, 3, AXIAL_MM[:20])
    sites = found(views)
    error = errors_mm(sites)
    # Slices end at -4 mm: l4/l5 at -30 and l5/s1 at -60 are graded from no other's.
    kept = {at for at in of(AXIAL_T2) if at in sites}
    assert {level for _, level in kept} == {"l1_l2", "l2_l3", "l3_l4"}
    assert error[list(kept)].max() < 2.6


def test_confidence_is_what_the_locator_gives_the_place() -> None:
    views = overviews()
    shown = {name: seen(name, view) for name, view in views.items()}
    canal = shown[SAGITTAL_T1]
    doubtful = np.log(0.1 * np.exp(canal.logs) + 0.9 / canal.logs[0].size)
    shown[SAGITTAL_T1] = Seen(canal.overview, doubtful)
    sites = locate(shown, read_offsets(OFFSETS), read_steps(STEPS))
    for at in of(SAGITTAL_T1):
        assert 0.05 < sites[at].confidence < 0.35


def test_a_target_without_an_offset_is_looked_for_by_itself() -> None:
    rows = [row for row in OFFSETS if row["level"] != "l2_l3"]
    shown = {name: seen(name, view) for name, view in overviews().items()}
    sites = locate(shown, read_offsets(rows), read_steps(STEPS))
    assert set(sites) == set(TARGETS)
    assert errors_mm(sites).max() < 2.6


def test_comparison_counts_what_a_person_would() -> None:
    sites = found(overviews())
    marked = pd.DataFrame(
        [
            # Marked 3 mm in front of where it is found, one slice to the right.
            (1, SPINAL, "l3_l4", SAGITTAL_T2, 1, 7, 91.0, 100.0, -2.0, 11.0, 0.0),
            (1, SPINAL, "l4_l5", SAGITTAL_T2, 1, 8, 99.0, 130.0, 2.0, 19.0, -30.0),
        ],
        columns=[
            *("study_id", "condition", "level", "series_description", "series_id"),
            *("instance_number", "x", "y", "x_mm", "y_mm", "z_mm"),
        ],
    )
    table = compare(sites, marked, overviews()).set_index("level")
    assert table.loc["l3_l4", "error_mm"] == pytest.approx(3, abs=0.5)
    assert table.loc["l3_l4", "slices_off"] == 1
    assert table.loc["l4_l5", "error_mm"] < 0.6
    assert table["level_right"].all()
    del sites[SPINAL, "l4_l5"]
    table = compare(sites, marked, overviews()).set_index("level")
    assert table["error_mm"].isna().tolist() == [False, True]
    axial = next(at for at in sites if at[0].startswith("left_sub"))
    sites[SPINAL, "l4_l5"] = sites[axial]  # on another series altogether
    table = compare(sites, marked, overviews()).set_index("level")
    assert table["slices_off"].isna().tolist() == [False, True]
    sites[SPINAL, "l4_l5"] = sites[SPINAL, "l3_l4"]
    table = compare(sites, marked, overviews()).set_index("level")
    assert table["level_right"].tolist() == [True, False]


def test_offsets_are_the_mirror_images_of_each_other() -> None:
    offsets = read_offsets(OFFSETS)
    left = offsets["left_neural_foraminal_narrowing", "l4_l5"].mean_mm
    right = offsets["right_neural_foraminal_narrowing", "l4_l5"].mean_mm
    assert left.tolist() == [16, -8, 5]
    assert right.tolist() == [-16, -8, 5]
    assert offsets[SPINAL, "l1_l2"].mean_mm.tolist() == [0, 0, 0]

"""Sites located from heatmaps, on a study whose sites are all known."""

import numpy as np
import pandas as pd
import pytest
from dicom_files import STORAGES, Storage, plane, stored_as
from synthetic_study import (
    AXIAL_MM,
    OFFSETS,
    SAGITTAL_MM,
    STEPS,
    Place,
    leaning_mm,
    mixed,
    overview,
    overviews,
    seen,
    site_mm,
)

from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
    SPINAL,
    swap_side,
)
from src.imaging.overview import Overview, joined
from src.localization.locate import SeriesHeatmaps, Sites, locate
from src.localization.location_metrics import compare_sites
from src.localization.spine_prior import read_canal_offsets, read_level_spacing

TARGETS = [(condition, level) for condition in CONDITIONS for level in LEVELS]


def found(views: dict[str, Overview], **changes: dict) -> Sites:
    """Locate with heatmaps of all series; `changes` by series type."""
    shown = {
        name: seen(name, view, **changes.get(name, {})) for name, view in views.items()
    }
    return locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))


def errors_mm(sites: Sites, place: Place = site_mm) -> pd.Series:
    """Return the distance of each site from its true point."""
    return pd.Series(
        {at: np.linalg.norm(one.point_mm - place(*at)) for at, one in sites.items()}
    )


def moved(x_mm: float, y_mm: float, z_mm: float) -> Place:
    """Move each site by an offset."""
    distance_mm = np.array([x_mm, y_mm, z_mm])
    return lambda condition, level: site_mm(condition, level) + distance_mm


def without(*descriptions: str) -> dict[str, Overview]:
    """Make a study that lacks some series types."""
    views = overviews()
    return {name: view for name, view in views.items() if name not in descriptions}


def of(description: str) -> list[tuple[str, str]]:
    return [at for at in TARGETS if SERIES_OF[FAMILY_OF[at[0]]] == description]


def test_a_whole_study_is_found_on_its_own_series() -> None:
    sites = found(overviews())
    assert set(sites) == set(TARGETS)
    # A slice is up to 2 mm from a site, and the position on it is finer than a cell.
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
def test_a_site_that_its_series_does_not_show_is_projected(blind: str) -> None:
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


def test_sites_outside_every_image_are_not_found() -> None:
    views = overviews()
    views[AXIAL_T2] = overview(AXIAL_T2, 3, AXIAL_MM[:20])
    sites = found(views)
    error = errors_mm(sites)
    # Slices end at -4 mm: l4/l5 at -30 and l5/s1 at -60 are graded from no other's.
    kept = {at for at in of(AXIAL_T2) if at in sites}
    assert {level for _, level in kept} == {"l1_l2", "l2_l3", "l3_l4"}
    assert error[list(kept)].max() < 2.6


def test_an_anchored_site_out_of_view_is_not_searched_elsewhere() -> None:
    views = without(SAGITTAL_T1)
    views[AXIAL_T2] = overview(AXIAL_T2, 3, AXIAL_MM[:20])
    shown = {SAGITTAL_T2: seen(SAGITTAL_T2, views[SAGITTAL_T2])}
    shown[AXIAL_T2] = seen(AXIAL_T2, views[AXIAL_T2], levels_alike=True)
    shown[SAGITTAL_T2].log_probs[0] = -np.log(shown[SAGITTAL_T2].log_probs[0].size)
    sites = locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))
    # The canal of l1/l2 is not found, so that this level alone has no anchor.
    axial = {level for condition, level in sites if condition != SPINAL}
    assert {"l2_l3", "l3_l4"} <= axial <= {"l1_l2", "l2_l3", "l3_l4"}


def test_confidence_is_the_locators_probability_of_the_site() -> None:
    views = overviews()
    shown = {name: seen(name, view) for name, view in views.items()}
    canal = shown[SAGITTAL_T1]
    doubtful = np.log(0.1 * np.exp(canal.log_probs) + 0.9 / canal.log_probs[0].size)
    shown[SAGITTAL_T1] = SeriesHeatmaps(canal.overview, doubtful)
    sites = locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))
    for at in of(SAGITTAL_T1):
        assert 0.05 < sites[at].confidence < 0.35


def test_a_target_without_an_offset_is_located_by_itself() -> None:
    rows = [row for row in OFFSETS if row["level"] != "l2_l3"]
    shown = {name: seen(name, view) for name, view in overviews().items()}
    sites = locate(shown, read_canal_offsets(rows), read_level_spacing(STEPS))
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
    table = compare_sites(sites, marked, overviews()).set_index("level")
    assert table.loc["l3_l4", "error_mm"] == pytest.approx(3, abs=0.5)
    assert table.loc["l3_l4", "slices_off"] == 1
    assert table.loc["l4_l5", "error_mm"] < 0.6
    assert table["level_right"].all()
    del sites[SPINAL, "l4_l5"]
    table = compare_sites(sites, marked, overviews()).set_index("level")
    assert table["error_mm"].isna().tolist() == [False, True]
    axial = next(at for at in sites if at[0].startswith("left_sub"))
    sites[SPINAL, "l4_l5"] = sites[axial]  # on another series altogether
    table = compare_sites(sites, marked, overviews()).set_index("level")
    assert table["slices_off"].isna().tolist() == [False, True]
    sites[SPINAL, "l4_l5"] = sites[SPINAL, "l3_l4"]
    table = compare_sites(sites, marked, overviews()).set_index("level")
    assert table["level_right"].tolist() == [True, False]


def test_offsets_are_the_mirror_images_of_each_other() -> None:
    offsets = read_canal_offsets(OFFSETS)
    left = offsets["left_neural_foraminal_narrowing", "l4_l5"].mean_mm
    right = offsets["right_neural_foraminal_narrowing", "l4_l5"].mean_mm
    assert left.tolist() == [16, -8, 5]
    assert right.tolist() == [-16, -8, 5]
    assert offsets[SPINAL, "l1_l2"].mean_mm.tolist() == [0, 0, 0]


def test_a_scoliotic_study_is_found_where_its_sites_lie() -> None:
    leaning = {"place": leaning_mm}
    sites = found(overviews(), **dict.fromkeys(overviews(), leaning))
    assert set(sites) == set(TARGETS)
    assert {one.source for one in sites.values()} == {"located"}
    assert errors_mm(sites, leaning_mm).max() < 2.6


def test_a_t1_on_other_levels_moves_no_canal() -> None:
    sites = found(without(AXIAL_T2), **{SAGITTAL_T1: {"place": moved(0, 0, -30)}})
    # The canal lies on a slice, so that it is found to a fraction of a cell.
    assert errors_mm(sites)[of(SAGITTAL_T2)].max() < 0.6
    assert {sites[at].source for at in of(SAGITTAL_T2)} == {"located"}
    # At its own levels the T1 shows nothing: their sites are projected from the T2.
    assert {sites[at].source for at in of(SAGITTAL_T1)} == {"projected"}
    assert errors_mm(sites)[of(SAGITTAL_T1)].max() < 0.6


def test_where_t2_and_t1_disagree_the_t2_anchors_the_axial_sites() -> None:
    changes = {SAGITTAL_T1: {"place": moved(0, 6, -6)}, AXIAL_T2: {"blind": True}}
    sites = found(overviews(), **changes)
    assert {sites[at].source for at in of(AXIAL_T2)} == {"projected"}
    assert errors_mm(sites)[of(AXIAL_T2)].max() < 0.6


def test_without_a_t2_the_canal_is_the_mean_of_both_foramina() -> None:
    def uneven(condition: str, level: str) -> np.ndarray:
        up = 6 if condition.startswith("left") else -6
        return site_mm(condition, level) + np.array([0, 0, up])

    changes = {SAGITTAL_T1: {"place": uneven}, AXIAL_T2: {"blind": True}}
    sites = found(without(SAGITTAL_T2), **changes)
    assert {sites[at].source for at in of(AXIAL_T2)} == {"projected"}
    assert errors_mm(sites)[of(AXIAL_T2)].max() < 1


def test_without_a_t2_the_t1_goes_before_the_axial_series() -> None:
    sites = found(without(SAGITTAL_T2), **{AXIAL_T2: {"place": moved(0, 0, -30)}})
    assert {sites[at].source for at in of(SAGITTAL_T1)} == {"located"}
    assert errors_mm(sites)[of(SAGITTAL_T1)].max() < 2.6


def test_levels_mistaken_for_those_above_are_corrected_by_the_spacing() -> None:
    def above(condition: str, level: str) -> np.ndarray:
        skips = level in ("l1_l2", "l2_l3")
        return site_mm(condition, level) + np.array([0, 0, 30 if skips else 0])

    view = overviews()[SAGITTAL_T2]
    wrong, right = (seen(SAGITTAL_T2, view, place=one) for one in (above, site_mm))
    shown = {SAGITTAL_T2: mixed(wrong, right, 0.9)}
    sites = locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))
    assert set(sites) == set(of(SAGITTAL_T2))
    assert errors_mm(sites).max() < 0.6
    sites = locate(shown, read_canal_offsets(OFFSETS), {})
    assert errors_mm(sites)[SPINAL, "l1_l2"] > 25


@pytest.mark.parametrize(("share", "source"), [(0.01, "projected"), (0.05, "located")])
def test_a_canal_with_hardly_any_probability_counts_as_not_shown(
    share: float, source: str
) -> None:
    views = without(AXIAL_T2)
    shown = {name: seen(name, view) for name, view in views.items()}
    blind = seen(SAGITTAL_T2, views[SAGITTAL_T2], blind=True)
    shown[SAGITTAL_T2] = mixed(shown[SAGITTAL_T2], blind, share)
    sites = locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))
    assert {sites[at].source for at in of(SAGITTAL_T2)} == {source}
    assert errors_mm(sites).max() < 2.6


def test_an_anchored_site_lies_between_its_peak_and_its_usual_offset() -> None:
    sites = found(without(AXIAL_T2), **{SAGITTAL_T1: {"place": moved(0, 5, -5)}})
    for at in of(SAGITTAL_T1):
        assert sites[at].source == "located"
        off = sites[at].point_mm - site_mm(*at)
        # A peak of 3 mm and a prior of 5 mm: 25 / (25 + 9) of the distance.
        assert off[1:] == pytest.approx([5 * 25 / 34, -5 * 25 / 34], abs=0.7)


def test_an_offset_that_varies_more_counts_less() -> None:
    place = moved(0, 0, -20)
    views = without(AXIAL_T2)
    shown = {name: seen(name, view) for name, view in views.items()}
    shown[SAGITTAL_T1] = seen(SAGITTAL_T1, views[SAGITTAL_T1], place=place)
    for sd_mm, source in ((0, "projected"), (10, "located")):
        rows = [{**row, "sd_mm": [0, 0, sd_mm]} for row in OFFSETS]
        sites = locate(shown, read_canal_offsets(rows), read_level_spacing(STEPS))
        assert {sites[at].source for at in of(SAGITTAL_T1)} == {source}
    assert errors_mm(sites, place)[of(SAGITTAL_T1)].max() < 2.6


@pytest.mark.parametrize(
    ("description", "other", "source"),
    [
        (SAGITTAL_T1, "level", "projected"),
        (AXIAL_T2, "level", "located"),
        (AXIAL_T2, "side", "projected"),
    ],
)
def test_another_targets_probability_counts_between_axial_levels_alone(
    description: str, other: str, source: str
) -> None:
    # A site is shown on the heatmap of the level above, or of the other side, alone.
    views = {name: overviews()[name] for name in {SAGITTAL_T2, description}}
    shown = {name: seen(name, view) for name, view in views.items()}
    targets, logs = of(description), shown[description].log_probs
    lost = next(at for at in targets if at[0].startswith("left") and at[1] == "l4_l5")
    taken = {"level": (lost[0], "l3_l4"), "side": (swap_side(lost[0]), lost[1])}[other]
    true = logs[targets.index(lost)].copy()
    for level in LEVELS:
        logs[targets.index((lost[0], level))] = -np.log(true.size)
    logs[targets.index(taken)] = true
    sites = locate(shown, read_canal_offsets(OFFSETS), read_level_spacing(STEPS))
    assert sites[lost].source == source
    assert errors_mm(sites)[lost] < 2.6


@pytest.mark.parametrize(("columns", "rows"), [(141, 201), (201, 141), (11, 101)])
def test_pixels_and_numbers_are_those_of_an_oblong_file_in_any_order(
    columns: int, rows: int
) -> None:
    view = overviews()[SAGITTAL_T2]
    # A picture around the same middle, and numbers that say nothing of the order.
    corner_mm = {"at_y": 20 - (columns - 1) / 2, "at_z": (rows - 1) / 2}
    numbers = (7 * view.slices["place"] + 3) % 101
    shape = {"columns": columns, "rows": rows}
    slices = view.slices.assign(**shape, **corner_mm, instance_number=numbers)
    sites = found({SAGITTAL_T2: Overview(view.images, slices, view.field_mm)})
    for level in LEVELS:
        _, y_mm, z_mm = site_mm(SPINAL, level)
        # A site beyond the picture is graded at its edge.
        x = np.clip(y_mm - corner_mm["at_y"], 0, columns - 1)
        y = np.clip(corner_mm["at_z"] - z_mm, 0, rows - 1)
        site = sites[SPINAL, level]
        assert (site.x, site.y) == pytest.approx((x, y), abs=0.6)
        assert site.instance_number == (7 * 7 + 3) % 101  # the eighth, at x = 2 mm


def restored(view: Overview, storage: Storage) -> Overview:
    """Say that the files of an overview are stored in another order."""
    slices = view.slices.copy()
    for row in slices.index:
        at, right, down = (
            slices.loc[row, [f"{name}_{axis}" for axis in "xyz"]].to_numpy(float)
            for name in ("at", "right", "down")
        )
        picture = np.zeros((201, 201))
        _, other, _ = stored_as(storage, picture, plane(at, (right, down)))
        for name, vector in zip(
            ("at", "right", "down"),
            (other.position_mm, other.right, other.down),
            strict=True,
        ):
            slices.loc[row, [f"{name}_{axis}" for axis in "xyz"]] = vector
    return Overview(view.images, slices, view.field_mm)


@pytest.mark.parametrize("storage", STORAGES[1:])
def test_sites_are_found_in_images_that_are_stored_another_way(
    storage: Storage,
) -> None:
    usual = found(overviews())
    views = {name: restored(view, storage) for name, view in overviews().items()}
    sites = found(views)
    assert set(sites) == set(TARGETS)
    _, _, moved = stored_as(storage, np.zeros((201, 201)), plane((0, 0, 0)))
    for target, site in sites.items():
        # The same patient point, at the pixel that the file stores it in.
        np.testing.assert_allclose(site.point_mm, usual[target].point_mm, atol=1e-3)
        xy = moved(usual[target].x, usual[target].y)
        assert (site.x, site.y) == pytest.approx(xy, abs=1e-3)
        assert site.instance_number == usual[target].instance_number


def test_axial_stacks_angled_to_their_discs_show_their_own_level() -> None:
    tilts = dict(zip(LEVELS, (18, 10, 2, -8, -25), strict=True))
    parts = []
    for number, (level, degrees) in enumerate(tilts.items()):
        flat = overview(AXIAL_T2, 3, np.arange(8, -9, -4.0))
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        right, down = np.array([(1, 0, 0), (0, cosine, sine)])
        normal = np.cross(right, down)
        middles = site_mm(SPINAL, level) + np.arange(8, -9, -4.0)[:, None] * normal
        slices = flat.slices.assign(stack=number)
        slices[["at_x", "at_y", "at_z"]] = middles - 100 * (right + down)
        slices[["down_x", "down_y", "down_z"]] = down
        slices["instance_number"] += 10 * number
        parts.append(Overview(flat.images, slices, flat.field_mm))
    views = {**overviews(), AXIAL_T2: joined(parts)}
    sites = found(views, **{AXIAL_T2: {"levels_alike": True}})
    assert errors_mm(sites).max() < 2.6
    for condition, level in of(AXIAL_T2):
        assert sites[condition, level].source == "located"
        assert sites[condition, level].instance_number // 10 == LEVELS.index(level)

"""The other views of the marked points in a crop cache, and why one is missing."""

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cache_cohort import (
    FORAMINAL,
    LABELS,
    NUMBERS,
    POINTS,
    SERIES,
    SPINAL,
    SUBARTICULAR,
    assert_crops_are_of_their_points,
    build,
    contents,
    write_images,
)
from dicom_files import AXIAL, SAGITTAL, plane, write_series, write_slice

from src.cache import shards
from src.cache.crop_cache import CropCache, open_cache
from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
)
from src.errors import UserError
from src.imaging.crops import CropSpec
from src.imaging.geometry import SliceGeometry
from src.imaging.series import read_series
from src.phantom.anatomy import draw_anatomy
from src.phantom.protocol import draw_scans
from src.phantom.rater import draw_narrowing

PX = 0.75  # mm between the cohort's pixels
WHERE = ["series_id", "instance_number", "slice", "x", "y"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def with_views(images: Path, cache: Path, **changes: Any) -> CropCache:
    build(images, cache, views="all", **changes)
    return open_cache(cache)


def view_of(cache: CropCache, condition: str, level: str, view: str) -> list[float]:
    table = cache.table.set_index(["condition", "level", "view"])
    return table.loc[(condition, level, view), WHERE].tolist()


def rejects(cache: CropCache) -> pd.DataFrame:
    return pd.read_csv(cache.path / "rejects.csv").set_index(["level", "view"])


def test_each_view_lies_where_the_point_does(images: Path, tmp_path: Path) -> None:
    cache = with_views(images, tmp_path / "cache")
    # Marked at x 0, y 11.25 px, z -10.5 mm: nearest are x 0 px and the slice at -8 mm.
    found = view_of(cache, SPINAL, "l2_l3", AXIAL_T2)
    assert found == pytest.approx([22, NUMBERS[22][2], 2, 0.0, 11.25], abs=1e-3)
    # Marked at x 11.25, y 11.625, z -4 mm: nearest is the slice at x 8 mm.
    found = view_of(cache, SUBARTICULAR, "l4_l5", SAGITTAL_T2)
    assert found == pytest.approx([21, NUMBERS[21][2], 2, 15.5, 4 / PX], abs=1e-3)
    # Marked on the T1, whose slices are those of the T2.
    found = view_of(cache, SPINAL, "l5_s1", SAGITTAL_T2)
    assert found == [11, NUMBERS[11][1], 1, 17.0, 16.0]
    assert_crops_are_of_their_points(cache, images)


def test_a_views_row_repeats_its_site_and_has_its_own_position(
    images: Path, tmp_path: Path
) -> None:
    cache = with_views(images, tmp_path / "cache")
    table = cache.table.set_index(["condition", "level", "view"])
    own, other = (
        table.loc[(SUBARTICULAR, "l4_l5", view)] for view in ("own", SAGITTAL_T2)
    )
    for name in ("site", "study_id", "severity"):
        assert own[name] == other[name]
    assert other["series_description"] == SAGITTAL_T2
    position = (8.0, 15.5 * PX, -4.0)
    assert other[["x_mm", "y_mm", "z_mm"]].tolist() == pytest.approx(position, abs=1e-3)


def test_rows_are_by_site_with_the_own_crop_first_then_by_type(
    images: Path, tmp_path: Path
) -> None:
    table = with_views(images, tmp_path / "cache").table
    assert table["crop"].tolist() == list(range(len(table)))
    assert table["site"].is_monotonic_increasing
    order = ["own", *SERIES_DESCRIPTIONS]
    for _, group in table.groupby("site"):
        ranks = group["view"].map(order.index).tolist()
        assert ranks[0] == 0
        assert ranks == sorted(set(ranks))
    others = table[table["view"] != "own"]
    assert (others["view"] == others["series_description"]).all()


def test_the_sites_of_all_views_are_the_crops_without_views(
    images: Path, tmp_path: Path
) -> None:
    points = POINTS.assign(x=POINTS["x"].replace(12.5, 99.0))
    whole = with_views(images, tmp_path / "all", points=points)
    build(images, tmp_path / "own", points=points)
    alone = open_cache(tmp_path / "own")
    assert len(whole.table) > len(alone.table) == 5
    unnumbered = [
        one.drop(columns="crop").reset_index(drop=True)
        for one in (whole.sites, alone.table)
    ]
    pd.testing.assert_frame_equal(*unnumbered)
    pd.testing.assert_frame_equal(alone.sites, alone.table)
    np.testing.assert_array_equal(
        whole.crops[whole.sites["crop"].to_numpy()], alone.crops[:]
    )


def test_a_study_without_a_series_type_lacks_its_views_with_the_reason(
    images: Path, tmp_path: Path
) -> None:
    cache = with_views(images, tmp_path / "cache")
    found = rejects(cache)
    reasons = found["reason"].to_dict()
    assert reasons["l2_l3", SAGITTAL_T1] == "the study has no Sagittal T1 series"
    assert reasons["l4_l5", AXIAL_T2] == "the study has no Axial T2 series"
    point = found.loc[("l2_l3", SAGITTAL_T1)]
    assert (point["study_id"], point["series_id"], point["condition"]) == (
        *(2, 21),
        SPINAL,
    )


def test_every_site_has_each_other_type_or_its_reason(
    images: Path, tmp_path: Path
) -> None:
    cache = with_views(images, tmp_path / "cache")
    table, listed = cache.table, rejects(cache)
    summary = build(images, tmp_path / "cache", views="all")
    assert (summary.crops, summary.rejects) == (6, 0)
    assert summary.views == (table["view"] != "own").sum()
    assert summary.missing_views == len(listed)
    assert summary.views + summary.missing_views == 2 * 6


def axial_at(images: Path, series_id: int, heights: Iterable[float]) -> pd.DataFrame:
    """Add an axial series to study 2; return the table of all series."""
    planes = [plane((0, 0, z), AXIAL, (PX, PX)) for z in heights]
    volume = np.random.default_rng(1).integers(0, 900, (len(planes), 32, 32), "u2")
    write_series(images / "2" / str(series_id), volume, planes)
    more = pd.DataFrame([(2, series_id, AXIAL_T2)], columns=SERIES.columns)
    return pd.concat([SERIES, more], ignore_index=True)


def test_of_two_series_of_a_type_the_nearest_slice_is_kept(
    images: Path, tmp_path: Path
) -> None:
    series = axial_at(images, 23, (-10.0, -14.0, -18.0))
    cache = with_views(images, tmp_path / "cache", series=series)
    assert view_of(cache, SPINAL, "l2_l3", AXIAL_T2)[:3] == [23, 1, 0]  # z -10.5
    assert view_of(cache, SPINAL, "l1_l2", AXIAL_T2)[:3] == [22, 8, 1]  # z -2.8
    keys = cache.table[["site", "view"]]
    assert not keys.duplicated().any()
    assert_crops_are_of_their_points(cache, images)


def test_the_reasons_of_all_series_of_a_type_are_told(
    images: Path, tmp_path: Path
) -> None:
    series = axial_at(images, 23, (-60.0, -64.0))
    points = POINTS.assign(y=POINTS["y"].replace(14.0, 28.0))  # z -21
    reason = rejects(
        with_views(images, tmp_path / "cache", series=series, points=points)
    ).loc[("l2_l3", AXIAL_T2), "reason"]
    assert "2/22 has no slice within 5 mm of the point: the nearest is 13.0" in reason
    assert "2/23 has no slice within 5 mm of the point: the nearest is 39.0" in reason


def test_a_series_of_another_type_than_its_row_says_shows_nothing(
    images: Path, tmp_path: Path
) -> None:
    series = SERIES.assign(
        series_description=[SAGITTAL_T2, SAGITTAL_T1, SAGITTAL_T2, SAGITTAL_T1]
    )
    cache = with_views(images, tmp_path / "cache", series=series)
    reason = rejects(cache).loc[("l2_l3", SAGITTAL_T1), "reason"]
    assert "has axial slices" in reason
    assert "correct its row of the series descriptions" in reason


def test_a_point_of_a_series_without_positions_has_no_views(
    images: Path, tmp_path: Path
) -> None:
    for path in (images / "1/12").iterdir():
        pixels = np.random.default_rng(0).integers(0, 900, (32, 32), "u2")
        write_slice(path, pixels, plane((0, 0, 0), SAGITTAL, (PX, PX)))
    cache = with_views(images, tmp_path / "cache")
    reasons = rejects(cache)["reason"]
    assert "one position for its slices" in reasons["l1_l2", SAGITTAL_T2]
    [in_series, _] = reasons["l4_l5", SAGITTAL_T1]
    assert "1/12 has one position for all its slices" in in_series


def test_rows_without_crops_are_listed_beside_missing_views(
    images: Path, tmp_path: Path
) -> None:
    points = POINTS.assign(x=POINTS["x"].replace(12.5, 99.0))
    found = rejects(with_views(images, tmp_path / "cache", points=points))
    assert "is outside" in found.loc[("l1_l2", "own"), "reason"]
    lost = found[found["study_id"] == 2].loc["l1_l2"]
    assert lost.index.tolist() == ["own"]  # no point, so nothing to look for


def dies(calls: int) -> Callable[[int, int], None]:
    """A progress callback that ends the run at its n-th call, as Ctrl-C does."""
    count = itertools.count(1)

    def progress(_done: int, _total: int) -> None:
        if next(count) == calls:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("after", range(1, 9))
def test_a_run_killed_between_any_two_series_resumes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """One point is too low for the axial series, which is not asked for it again."""
    asked = {"views": "all", "points": POINTS.assign(y=POINTS["y"].replace(14.0, 28.0))}
    build(images, tmp_path / "whole", **asked)
    with pytest.raises(KeyboardInterrupt):
        build(images, tmp_path / "cache", **asked, progress=dies(after))
    read = []
    monkeypatch.setattr(
        shards, "read_series", lambda path: read.append(path) or read_series(path)
    )
    build(images, tmp_path / "cache", **asked)
    assert len(read) == 8 - after
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_views_missed_for_a_damaged_file_are_looked_for_again(
    images: Path, tmp_path: Path
) -> None:
    build(images, tmp_path / "whole", views="all")
    last = images / "2/22" / f"{NUMBERS[22][2]}.dcm"
    sound = last.read_bytes()
    last.write_bytes(b"damaged")
    with pytest.raises(KeyboardInterrupt):
        build(images, tmp_path / "cache", views="all", progress=dies(8))
    last.write_bytes(sound)
    build(images, tmp_path / "cache", views="all")
    whole, cache = (
        open_cache(tmp_path / name).table.set_index(["level", "view"])
        for name in ("whole", "cache")
    )
    key = ("l2_l3", AXIAL_T2)
    assert cache.loc[key, "slice"] == whole.loc[key, "slice"] == 2


def test_workers_make_the_same_cache(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "whole", views="all")
    with ThreadPoolExecutor(4) as executor:
        build(images, tmp_path / "cache", views="all", executor=executor)
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            "own",
            "all",
            "holds crops of the sites' own series alone, not the req",
        ),
        ("all", "own", "holds crops of all views of the sites, not the req"),
    ],
)
def test_a_cache_of_other_views_is_not_taken(
    images: Path, tmp_path: Path, first: str, then: str, message: str
) -> None:
    build(images, tmp_path / "cache", views=first)
    with pytest.raises(UserError, match=message):
        build(images, tmp_path / "cache", views=then)


def spotted(
    planes: Iterable[SliceGeometry], shape: tuple[int, int], spots_mm: np.ndarray
) -> list[np.ndarray]:
    """Draw a bright ball of 3 mm around each patient point, over a dim background."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    drawn = []
    for one in planes:
        (dx, dy), at = one.spacing_mm, one.position_mm
        points = at + x[..., None] * dx * one.right + y[..., None] * dy * one.down
        image = np.full(shape, 100.0)
        for spot in spots_mm:
            image += 2000 * np.exp(-((points - spot) ** 2).sum(axis=-1) / 18)
        drawn.append(image.astype("u2"))
    return drawn


@pytest.mark.parametrize("seed", [1, 4])
def test_the_middle_of_each_view_shows_a_phantoms_site(
    tmp_path: Path, seed: int
) -> None:
    """Of straight and of angled stacks, against spots drawn in patient space."""
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, draw_narrowing(rng))
    recesses = anatomy.sites[anatomy.sites["condition"].str.startswith("left_suba")]
    points = anatomy.spine.to_patient(recesses[["a", "b", "t"]].to_numpy())
    scans = dict(enumerate(draw_scans(rng, anatomy, 0), start=10))
    rows, spots = [], []
    for level, point in zip(recesses["level"], points, strict=True):
        _, series_id, number, one = min(
            (abs((point - one.position_mm) @ one.normal), series_id, number, one)
            for series_id, scan in scans.items()
            if scan.description == AXIAL_T2
            for number, one in zip(scan.numbers, scan.planes, strict=True)
        )
        x, y = np.round(one.to_pixel(point), 2)
        rows.append((1, series_id, number, SUBARTICULAR, level, x, y))
        spots.append(one.to_patient([x, y]))
    for series_id, scan in scans.items():
        volume = spotted(scan.planes, scan.shapes[0], np.array(spots))
        folder = tmp_path / "images/1" / str(series_id)
        write_series(folder, volume, scan.planes, scan.numbers)
    cache = with_views(
        tmp_path / "images",
        tmp_path / "cache",
        points=pd.DataFrame(rows, columns=POINTS.columns),
        labels=pd.DataFrame(
            [(1, SUBARTICULAR, row[4], "severe") for row in rows],
            columns=LABELS.columns,
        ),
        series=pd.DataFrame(
            [(1, series_id, scan.description) for series_id, scan in scans.items()],
            columns=SERIES.columns,
        ),
        spec=CropSpec(crop_px=40, field_mm=20),
    )
    assert cache.table["view"].value_counts().to_dict() == {
        **{"own": 5, SAGITTAL_T1: 5, SAGITTAL_T2: 5},
    }
    y, x = np.mgrid[:40, :40]
    for crop in cache.crops[:, 1].astype(float):
        spot = crop > (crop.min() + crop.max()) / 2
        assert abs(x[spot].mean() - 19.5) < 1
        assert abs(y[spot].mean() - 19.5) < 1


def test_a_canal_is_cut_between_the_recesses_of_its_level(
    images: Path, tmp_path: Path
) -> None:
    """Its sagittal slice lies at x 0 and the recesses at 5 and 16 px of .75 mm."""
    recesses = [
        (2, 22, 8, side, "l1_l2", x, 12.0)
        for side, x in (("left_subarticular_stenosis", 16.0), (SUBARTICULAR, 5.0))
    ]
    added = pd.DataFrame(recesses, columns=POINTS.columns)
    graded = added[LABELS.columns[:3]].assign(severity="severe")
    cache = with_views(
        images,
        tmp_path / "cache",
        points=pd.concat([POINTS, added], ignore_index=True),
        labels=pd.concat([LABELS, graded], ignore_index=True),
    )
    assert view_of(cache, SPINAL, "l1_l2", AXIAL_T2)[3] == 10.5
    assert view_of(cache, SPINAL, "l2_l3", AXIAL_T2)[3] == 0.0
    assert view_of(cache, FORAMINAL, "l1_l2", SAGITTAL_T2)[3] == 9.0

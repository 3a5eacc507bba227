"""Overviews: every slice at one scale, every pixel where it is in the patient."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cache_cohort import SERIES, write_images
from dicom_files import (
    AXIAL,
    SAGITTAL,
    STORAGES,
    Storage,
    plane,
    stored_as,
    write_series,
    write_slice,
)

from src import __version__
from src.cache.overview_cache import build_overviews, open_overviews
from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.errors import UserError
from src.imaging.overview import FIELD_MM, OVERVIEW_PX, Overview, joined, overview_of
from src.imaging.series import read_series

SPACING_MM = (0.8, 1.25)  # between columns, between rows


@pytest.fixture
def drawn(tmp_path: Path) -> Overview:
    """Three slices of 96 rows and 128 columns with a bright dot, written backwards."""
    volume = np.zeros((3, 96, 128), np.uint16)
    volume[:, 27:36, 97:106] = 1000
    planes = [plane((x, -40, 70), SAGITTAL, SPACING_MM) for x in (10, 5, 0)]
    folder = write_series(tmp_path / "7", volume, planes)
    return overview_of(read_series(folder), 7, SAGITTAL_T2)[0]


def test_slices_are_in_patient_order_and_of_one_size(drawn: Overview) -> None:
    assert drawn.images.shape == (3, OVERVIEW_PX, OVERVIEW_PX)
    assert drawn.slices["instance_number"].tolist() == [3, 2, 1]
    assert drawn.neighbours(0) == (0, 0, 1)
    assert drawn.neighbours(1) == (0, 1, 2)
    assert drawn.index_of(7, 1) == 2
    assert drawn.index_of(7, 9) is None


def test_a_pixel_of_the_file_is_shown_where_the_map_says(drawn: Overview) -> None:
    xy = drawn.from_image(1, np.array([101.0, 31.0]))
    rows, columns = np.nonzero(drawn.images[1] > 200)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(xy), abs=0.5)
    assert drawn.to_image(1, xy) == pytest.approx(np.array([101.0, 31.0]))


def test_its_planes_lead_to_the_same_patient_point(drawn: Overview) -> None:
    # By hand: 101 columns of .8 mm to the back, 31 rows of 1.25 mm to the feet.
    xy = drawn.from_image(1, np.array([101.0, 31.0]))
    expected = np.array([5, -40 + 101 * 0.8, 70 - 31 * 1.25])
    assert drawn.planes[1].to_patient(xy) == pytest.approx(expected)
    assert drawn.planes[1].spacing_mm == (drawn.pitch_mm, drawn.pitch_mm)


@pytest.mark.parametrize("storage", STORAGES[1:])
@pytest.mark.parametrize("axes", [SAGITTAL, AXIAL], ids=["sagittal", "axial"])
def test_an_overview_is_the_same_however_its_files_are_stored(
    tmp_path: Path, axes: tuple, storage: Storage
) -> None:
    volume = np.random.default_rng(0).integers(0, 900, (3, 96, 128), "u2")
    step = 5 * np.abs(np.cross(*np.array(axes, float)))
    planes = [plane(i * step, axes, SPACING_MM) for i in range(3)]
    stored = [stored_as(storage, *one) for one in zip(volume, planes, strict=True)]
    pictures, turned, moved = zip(*stored, strict=True)
    usual, other = (
        overview_of(read_series(write_series(tmp_path / name, *shown)), 7, AXIAL_T2)[0]
        for name, shown in {
            "usual": (volume, planes),
            "other": (pictures, turned),
        }.items()
    )
    np.testing.assert_array_equal(other.images, usual.images)
    for index, plane_there in enumerate(other.planes):
        here = usual.planes[index]
        for name in ("position_mm", "right", "down"):
            expected = getattr(here, name)
            np.testing.assert_allclose(getattr(plane_there, name), expected, atol=1e-6)
        shown_at = usual.from_image(index, np.array([101.0, 31.0]))
        stored_at = np.array(moved[index](101.0, 31.0))
        np.testing.assert_allclose(other.from_image(index, stored_at), shown_at)
        np.testing.assert_allclose(other.to_image(index, shown_at), stored_at)


def test_echoes_are_not_each_others_neighbours_in_an_overview(tmp_path: Path) -> None:
    for number in (1, 2, 3, 5, 6):  # the second echo of the middle slice is lost
        where = plane((4 * ((number - 1) // 2), 0, 0), SAGITTAL)
        echo = {"EchoNumbers": 1 + number % 2}
        path = tmp_path / "images" / "1" / "7" / f"{number}.dcm"
        write_slice(path, np.ones((96, 128), "u2"), where, **echo)
    series = pd.DataFrame(
        [(1, 7, SAGITTAL_T1)], columns=["study_id", "series_id", "series_description"]
    )
    build_overviews(series, tmp_path / "images", tmp_path / "cache")
    [(_, _, view)] = open_overviews(tmp_path / "cache").groups()
    assert [view.neighbours(index) for index in range(5)] == [
        (0, 0, 2), (1, 1, 1), (0, 2, 3), (2, 3, 3), (4, 4, 4),
    ]  # fmt: skip


def dotted(folder: Path, columns: list[int], axes: Sequence = SAGITTAL) -> Path:
    """Write slices 4 mm apart in patient order, each with a dot at its own column."""
    volume = np.zeros((len(columns), 96, 128), np.uint16)
    for picture, column in zip(volume, columns, strict=True):
        picture[40:49, column - 4 : column + 5] = 1000
    step = np.array((0, 0, -4) if axes == AXIAL else (4, 0, 0))
    planes = [plane(i * step, axes) for i in range(len(columns))]
    return write_series(folder, volume, planes)


def dots(view: Overview) -> list[float]:
    """The column of the file at which each slice of an overview is bright."""
    columns = [np.nonzero(image > 200)[1].mean() for image in view.images]
    shown = [view.to_image(i, np.array([x, 0])) for i, x in enumerate(columns)]
    return [round(float(xy[0])) for xy in shown]


def test_each_slice_shows_itself_where_it_lies(tmp_path: Path) -> None:
    series = read_series(dotted(tmp_path, [20, 60, 100, 40]))
    view, _ = overview_of(series, 7, SAGITTAL_T1)
    assert dots(view) == [20, 60, 100, 40]
    assert [one.position_mm[0] for one in view.planes] == [0, 4, 8, 12]


def test_slices_beyond_a_gap_are_no_neighbours(tmp_path: Path) -> None:
    volume = np.zeros((5, 96, 128), np.uint16)
    planes = [plane((x, 0, 0), SAGITTAL) for x in (0, 4, 8, 40, 44)]
    series = read_series(write_series(tmp_path, volume, planes))
    view, _ = overview_of(series, 7, SAGITTAL_T1)
    assert view.neighbours(2) == (1, 2, 2)
    assert view.neighbours(3) == (3, 3, 4)


def test_a_slice_without_pixels_is_skipped_and_listed(tmp_path: Path) -> None:
    dotted(tmp_path, [20, 60, 100])
    nothing = np.zeros((96, 128), "u2")
    write_slice(tmp_path / "2.dcm", nothing, plane((4, 0, 0)), PixelData=b"")
    (tmp_path / "5.dcm").write_bytes(b"nothing")
    view, rejected = overview_of(read_series(tmp_path), 7, SAGITTAL_T1)
    assert dots(view) == [20, 100]
    assert view.slices["instance_number"].tolist() == [1, 3]
    assert [one.position_mm[0] for one in view.planes] == [0, 8]
    assert sorted(rejected) == ["2.dcm", "5.dcm"]
    assert "is cut short" in rejected["2.dcm"]


LONG = 900719925474099312  # more than a float tells apart


def test_a_study_has_the_slices_of_its_own_series_of_a_type(tmp_path: Path) -> None:
    rows = [
        *((1, 5, AXIAL_T2, [20, 24]), (1, 6, SAGITTAL_T1, [30, 34])),
        *((1, LONG, AXIAL_T2, [40, 44]), (2, 5, AXIAL_T2, [50, 54])),
    ]
    for study, number, description, columns in rows:
        axes = AXIAL if description == AXIAL_T2 else SAGITTAL
        dotted(tmp_path / "images" / str(study) / str(number), columns, axes)
    names = ["study_id", "series_id", "series_description", "columns"]
    series = pd.DataFrame(rows, columns=names).drop(columns="columns")
    build_overviews(series[::-1], tmp_path / "images", tmp_path / "cache")
    views = {(s, d): view for s, d, view in open_overviews(tmp_path / "cache").groups()}
    assert {place: dots(view) for place, view in views.items()} == {
        (1, AXIAL_T2): [20, 24, 40, 44],
        (1, SAGITTAL_T1): [30, 34],
        (2, AXIAL_T2): [50, 54],
    }
    several = views[1, AXIAL_T2]
    assert several.slices["series_id"].tolist() == [5, 5, LONG, LONG]
    assert several.index_of(LONG, 1) == 2
    assert several.neighbours(2) == (2, 2, 3)
    assert several.field_mm == FIELD_MM[AXIAL_T2]


def test_stacks_of_two_series_are_never_each_others_neighbours(
    drawn: Overview,
) -> None:
    other = Overview(drawn.images, drawn.slices.assign(series_id=8), drawn.field_mm)
    both = joined([drawn, other])
    assert both.neighbours(2) == (1, 2, 2)
    assert both.neighbours(3) == (3, 3, 4)
    assert both.index_of(8, 1) == 5


def test_a_series_of_other_planes_than_its_row_says_is_listed_not_drawn(
    tmp_path: Path,
) -> None:
    images, cache = tmp_path / "images", tmp_path / "cache"
    dotted(images / "1" / "5", [20, 24], SAGITTAL)
    dotted(images / "1" / "6", [30, 34], AXIAL)
    rows = [(1, 5, AXIAL_T2), (1, 6, AXIAL_T2)]
    series = pd.DataFrame(rows, columns=["study_id", "series_id", "series_description"])
    assert build_overviews(series, images, cache) == {"slices": 2, "rejects": 1}
    [(_, _, view)] = open_overviews(cache).groups()
    assert view.slices["series_id"].tolist() == [6, 6]
    [reject] = pd.read_csv(cache / "overview-rejects.csv").itertuples()
    assert reject.series_id == 5
    assert "described as 'Axial T2' and has sagittal slices" in reject.reason


def test_the_cache_returns_the_drawn_overviews(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    counts = build_overviews(SERIES, images, cache)
    assert counts["slices"] == 12
    assert counts["rejects"] == 0
    groups = {(s, d): view for s, d, view in open_overviews(cache).groups()}
    assert set(groups) == {
        *((1, SAGITTAL_T2), (1, SAGITTAL_T1), (2, SAGITTAL_T2), (2, AXIAL_T2))
    }
    again, _ = overview_of(read_series(images / "2" / "22"), 22, AXIAL_T2)
    held = groups[2, AXIAL_T2]
    assert (held.images == again.images).all()
    assert held.field_mm == FIELD_MM[AXIAL_T2]
    assert held.planes[2].position_mm == pytest.approx(again.planes[2].position_mm)
    assert held.slices["series_id"].tolist() == [22] * 3


def test_a_second_call_draws_nothing_and_other_series_are_refused(
    tmp_path: Path,
) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    before = (cache / "overviews.npy").stat().st_mtime_ns
    build_overviews(SERIES, images, cache)
    assert (cache / "overviews.npy").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="other series"):
        build_overviews(SERIES.iloc[1:], images, cache)


@pytest.mark.parametrize("part", ["drawn", "px"])
def test_overviews_drawn_otherwise_are_refused(tmp_path: Path, part: str) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    key = json.loads((cache / "overviews.json").read_text())
    (cache / "overviews.json").write_text(json.dumps({**key, part: key[part] - 1}))
    with pytest.raises(UserError, match=r"delete (it|.*cache)"):
        build_overviews(SERIES, images, cache)


def test_overviews_of_an_older_version_are_not_opened(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    key = json.loads((cache / "overviews.json").read_text())
    (cache / "overviews.json").write_text(json.dumps({**key, "drawn": 1}))
    with pytest.raises(UserError, match=r"drawn by version 1 .* delete .*cache and"):
        open_overviews(cache)


def test_a_killed_build_resumes(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_overviews(SERIES, images, cache, progress=kill)
    with pytest.raises(UserError, match="no overviews"):
        open_overviews(cache)
    kept = sorted((cache / "overview-parts").glob("*.safetensors"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 3
    seen: list[list[int]] = []

    def look(done: int, total: int) -> None:
        seen.append([path.stat().st_mtime_ns for path in kept])

    build_overviews(SERIES, images, cache, progress=look)
    assert seen[-1] == times
    assert not (cache / "overview-parts").exists()
    assert len(open_overviews(cache).slices) == 12


def test_other_series_never_land_in_a_killed_build(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"

    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_overviews(SERIES, images, cache, progress=kill)
    with pytest.raises(UserError, match="other series"):
        build_overviews(SERIES.iloc[1:], images, cache)


def test_half_written_files_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    cache.mkdir()
    (cache / ".overviews.npy.123.tmp.npy").write_bytes(b"half")
    build_overviews(SERIES, images, cache)
    assert not list(cache.glob("*.tmp*"))


def test_overviews_without_a_kit_version_are_opened_and_kept(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    counts = build_overviews(SERIES, images, cache)
    key = json.loads((cache / "overviews.json").read_text())
    assert key.pop("kit_version") == __version__
    (cache / "overviews.json").write_text(json.dumps(key))
    assert len(open_overviews(cache).slices) == 12
    assert build_overviews(SERIES, images, cache) == counts
    assert json.loads((cache / "overviews.json").read_text()) == key


def test_unreadable_files_are_listed(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    (images / "1" / "11" / "3.dcm").write_bytes(b"nothing")
    for path in (images / "2" / "22").iterdir():
        path.unlink()
    counts = build_overviews(SERIES, images, cache)
    assert (counts["slices"], counts["rejects"]) == (8, 2)
    listed = pd.read_csv(cache / "overview-rejects.csv", keep_default_na=False)
    where = ["study_id", "series_id", "file"]
    assert listed[where].to_numpy().tolist() == [[1, 11, "3.dcm"], [2, 22, ""]]
    assert "not a DICOM file" in listed["reason"][0]
    assert "is empty" in listed["reason"][1]


def test_files_fixed_since_a_killed_build_are_drawn(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    lost = (images / "1" / "11").rename(tmp_path / "lost")

    def kill(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_overviews(SERIES, images, cache, progress=kill)
    lost.rename(images / "1" / "11")
    counts = build_overviews(SERIES, images, cache)
    assert (counts["slices"], counts["rejects"]) == (12, 0)


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    (cache / "overviews.npy").write_bytes(b"short")
    with pytest.raises(UserError, match="damaged"):
        open_overviews(cache)


def test_a_damaged_key_leaves_the_crops_of_its_cache(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    (cache / "overviews.json").write_text("{}")
    with pytest.raises(UserError, match=r"delete .*overviews\.json and run"):
        build_overviews(SERIES, images, cache)

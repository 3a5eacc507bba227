"""Overviews: every slice at one scale, every pixel where it is in the patient."""

from pathlib import Path

import numpy as np
import pytest
from cache_cohort import SERIES, write_images
from dicom_files import SAGITTAL, plane, write_series

from src.competition.vocab import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.errors import InputError
from src.imaging.overview import FIELD_MM, OVERVIEW_PX, Overview, joined, overview_of
from src.imaging.overview_cache import build_overviews, open_overviews
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


def test_stacks_of_two_series_are_never_each_others_neighbours(
    drawn: Overview,
) -> None:
    other = Overview(drawn.images, drawn.slices.assign(series_id=8), drawn.field_mm)
    both = joined([drawn, other])
    assert both.neighbours(2) == (1, 2, 2)
    assert both.neighbours(3) == (3, 3, 4)
    assert both.index_of(8, 1) == 5


def test_the_cache_gives_back_what_was_drawn(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="other series"):
        build_overviews(SERIES.iloc[1:], images, cache)


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_overviews(SERIES, images, cache, progress=kill)
    with pytest.raises(InputError, match="no overviews"):
        open_overviews(cache)
    kept = sorted((cache / "overview-parts").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 3
    seen: list[list[int]] = []

    def look(done: int, total: int) -> None:
        seen.append([path.stat().st_mtime_ns for path in kept])

    build_overviews(SERIES, images, cache, progress=look)
    assert seen[-1] == times
    assert not (cache / "overview-parts").exists()
    assert len(open_overviews(cache).slices) == 12


def test_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    (images / "1" / "11" / "3.dcm").write_bytes(b"nothing")
    for path in (images / "2" / "22").iterdir():
        path.unlink()
    counts = build_overviews(SERIES, images, cache)
    assert counts["slices"] == 8
    told = (cache / "overview-rejects.csv").read_text()
    assert "3.dcm" in told
    assert "is empty" in told


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    images, cache = write_images(tmp_path / "images"), tmp_path / "cache"
    build_overviews(SERIES, images, cache)
    (cache / "overviews.npy").write_bytes(b"short")
    with pytest.raises(InputError, match="damaged"):
        open_overviews(cache)

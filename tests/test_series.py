"""Patient order, stacks and neighbours, against positions chosen by the test."""

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, plane, write_series, write_slice

from src.errors import UserError
from src.imaging.dicom import DicomError, SliceHeader
from src.imaging.geometry import SliceGeometry
from src.imaging.series import Series, read_series
from src.imaging.slice_order import SliceOrder

SHAPE = (40, 30)


def header(number: int, geometry: SliceGeometry, shape: tuple = SHAPE) -> SliceHeader:
    return SliceHeader(Path(f"{number}.dcm"), number, *shape, geometry)


def tilted_axial(degrees: float) -> np.ndarray:
    """Axes of an axial plane turned about the patient's right-to-left axis."""
    angle = np.radians(degrees)
    return np.array([(1, 0, 0), (0, np.cos(angle), -np.sin(angle))])


def block(
    centre_mm: Sequence[float], axes: np.ndarray, count: int, step_mm: float = 4
) -> list[SliceGeometry]:
    """Planes in reading order, stacked across the first one's normal to the feet."""
    right, down = np.array(axes, float)
    across = np.cross(right, down)
    corner = np.array(centre_mm, float) - 14.5 * right - 19.5 * down
    steps = (np.arange(count) - (count - 1) / 2) * step_mm
    across = across * -np.sign(across[2])
    return [plane(corner + step * across, axes) for step in steps]


def shuffled(planes: Sequence[SliceGeometry], seed: int = 0) -> Series:
    """A series whose file numbers, with gaps, say nothing of the order."""
    numbers = random.Random(seed).sample(range(1, 6000), len(planes))
    headers = [header(number, one) for number, one in zip(numbers, planes, strict=True)]
    random.Random(seed + 1).shuffle(headers)
    return Series.of(headers)


def assert_order(series: Series, planes: Sequence[SliceGeometry]) -> None:
    assert [one.geometry for one in series.headers] == list(planes)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("axes", "places"),
    [
        (SAGITTAL, [(x, 0, 0) for x in (-20, -16, -12, -7, -3)]),
        (np.multiply(SAGITTAL, [[-1], [1]]), [(x, 0, 0) for x in (-8, -4, 0, 4)]),
        (AXIAL, [(0, 0, z) for z in (90, 86, 82, 78)]),
        (np.multiply(AXIAL, [[-1], [1]]), [(0, 0, z) for z in (9, 5, 1, -3)]),
        (CORONAL, [(0, y, 0) for y in (-30, -26, -22)]),
    ],
    ids=[
        "sagittal",
        "sagittal seen from the left",
        "axial",
        "axial, mirrored",
        "coronal",
    ],
)
def test_slices_run_right_to_left_head_to_foot_front_to_back(
    axes: np.ndarray, places: list, seed: int
) -> None:
    planes = [plane(place, axes) for place in places]
    series = shuffled(planes, seed)
    assert_order(series, planes)
    assert set(series.stacks) == {0}


def test_oblique_slices_run_along_their_normal() -> None:
    # The corner moves up from slice to slice while the slices themselves go down.
    axes = tilted_axial(40)
    planes = [
        plane(one.position_mm + i * 9 * axes[1], axes)
        for i, one in enumerate(block((0, 0, 0), axes, 5))
    ]
    assert_order(shuffled(planes), planes)


@pytest.mark.parametrize("seed", range(4))
def test_angled_blocks_are_stacks_from_head_to_foot(seed: int) -> None:
    blocks = [
        block((0, 0, 120 - 35 * i), tilted_axial(angle), 3 + i % 2)
        for i, angle in enumerate([18, 10, 2, -8, -25])
    ]
    planes = list(chain(*blocks))
    series = shuffled(planes, seed)
    assert_order(series, planes)
    assert series.stacks.tolist() == [
        number for number, one in enumerate(blocks) for _ in one
    ]
    assert len(set(series.positions)) == len(planes)


def test_blocks_that_overlap_in_height_stay_apart() -> None:
    upper = block((0, 0, 10), tilted_axial(0.75), 6)
    lower = block((0, 0, 0), tilted_axial(-0.75), 6)
    series = shuffled(upper + lower)
    assert_order(series, upper + lower)
    assert series.stacks.tolist() == [0] * 6 + [1] * 6


@pytest.mark.parametrize(
    ("gap_mm", "stacks"), [(9.9, [0] * 8), (10.1, [0] * 4 + [1] * 4)]
)
def test_gap_of_more_than_two_and_a_half_steps_parts_a_block(
    gap_mm: float, stacks: list[int]
) -> None:
    heights = [100, 96, 92, 88]
    heights += [88 - gap_mm - 4 * i for i in range(4)]
    series = shuffled([plane((0, 0, z), AXIAL) for z in heights])
    assert series.stacks.tolist() == stacks


def test_pairs_at_one_position_do_not_hide_a_gap() -> None:
    heights = np.repeat([100, 96, 92, 70, 66], 2)
    series = shuffled([plane((0, 0, z), AXIAL) for z in heights])
    assert series.stacks.tolist() == [0] * 6 + [1] * 4


def test_normals_that_wander_less_than_a_degree_make_one_stack() -> None:
    # Pictures so wide that a corner can lie lower than that of the slice below.
    headers = []
    for number, degrees in enumerate([0, -0.6, 0.7, 0.3, -0.2]):
        right, down = axes = tilted_axial(degrees)
        corner = np.array([0, 0, -4.0 * number]) - 199.5 * right - 199.5 * down
        headers.append(header(number, plane(corner, axes), (400, 400)))
    series = Series.of(headers[::-1])
    assert [one.instance_number for one in series.headers] == [0, 1, 2, 3, 4]
    assert set(series.stacks) == {0}


def test_slices_of_different_shape_and_spacing_are_ordered_by_position() -> None:
    # The wide one's corner is far off, its plane is between the two others.
    middle = plane((-4, -200, 200), SAGITTAL, (0.3, 0.3))
    outer = [plane((x, 0, 0), SAGITTAL) for x in (-8, 0)]
    headers = [header(1, outer[1]), header(2, middle, (700, 900)), header(3, outer[0])]
    assert [one.instance_number for one in Series.of(headers).headers] == [3, 2, 1]


def test_slices_at_one_position_keep_their_numbers_order_and_are_no_neighbours() -> (
    None
):
    heights = {7: 8, 9: 4, 3: 4, 8: 4, 5: 0}
    series = Series.of(
        [header(number, plane((0, 0, z), AXIAL)) for number, z in heights.items()]
    )
    assert [one.instance_number for one in series.headers] == [7, 3, 8, 9, 5]
    assert [series.neighbours(i) for i in range(5)] == [
        (0, 0, 1), (0, 1, 4), (0, 2, 4), (0, 3, 4), (1, 4, 4),
    ]  # fmt: skip


def test_many_slices_at_one_position_keep_their_numbers_order() -> None:
    series = shuffled([plane((0, 0, z), AXIAL) for z in (8, 4, 0)] * 40)
    numbers = [one.instance_number for one in series.headers]
    for start in (0, 40, 80):
        assert numbers[start : start + 40] == sorted(numbers[start : start + 40])


def test_neighbours_stop_at_the_ends_of_their_stack() -> None:
    heights = [100, 96, 92, 60, 56]
    series = shuffled([plane((0, 0, z), AXIAL) for z in heights])
    assert [series.neighbours(i) for i in range(5)] == [
        (0, 0, 1), (0, 1, 2), (1, 2, 2), (3, 3, 4), (3, 4, 4),
    ]  # fmt: skip
    assert series.neighbours(1, before_after=2) == (0, 0, 1, 2, 2)


def test_single_slice_is_its_own_neighbour() -> None:
    series = Series.of([header(4, plane((0, 0, 0)))])
    assert (len(series), series.neighbours(0)) == (1, (0, 0, 0))


def write_sagittal(folder: Path, numbers: Sequence[int]) -> Path:
    """Slices from right to left, each of the value of its position, 1, 2, 3, ..."""
    volume = [np.full((4, 3), place + 1, "u2") for place in range(len(numbers))]
    planes = [plane((4 * place, 0, 0)) for place in range(len(numbers))]
    return write_series(folder, volume, planes, numbers)


def test_folder_is_read_in_patient_order(tmp_path: Path) -> None:
    series = read_series(write_sagittal(tmp_path, [30, 4, 101]))
    assert [one.instance_number for one in series.headers] == [30, 4, 101]
    assert [series.pixels(i)[0, 0] for i in range(3)] == [1, 2, 3]
    assert [series.index_of(number) for number in (101, 4, 30)] == [2, 1, 0]


def test_other_files_are_rejected_with_reasons(tmp_path: Path) -> None:
    write_sagittal(tmp_path, [1, 2])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "5.dcm").write_text("hello")
    (tmp_path / "sub").mkdir()
    series = read_series(tmp_path)
    assert len(series) == 2
    assert sorted(series.rejected) == ["5.dcm", "notes.txt", "sub"]
    assert "not a DICOM file" in series.rejected["5.dcm"]
    with pytest.raises(DicomError, match=r"5\.dcm is not a DICOM file"):
        series.index_of(5)
    with pytest.raises(UserError, match=r"7\.dcm is not there"):
        series.index_of(7)


@pytest.mark.parametrize(
    "name", ["._1.dcm", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden/x"]
)
def test_files_of_the_system_are_no_rejects(tmp_path: Path, name: str) -> None:
    path = tmp_path / "alone" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"Mac OS X")
    with pytest.raises(UserError, match="alone is empty"):
        read_series(tmp_path / "alone")
    write_sagittal(tmp_path / "alone", [1, 2])
    series = read_series(tmp_path / "alone")
    assert (len(series), series.rejected) == (2, {})


def test_a_folder_named_as_a_slice_is_rejected(tmp_path: Path) -> None:
    write_sagittal(tmp_path, [1, 2])
    (tmp_path / "5.dcm").mkdir()
    assert read_series(tmp_path).rejected["5.dcm"].startswith("cannot be read")


def test_file_is_decoded_once_whether_it_can_be_or_not(tmp_path: Path) -> None:
    series = read_series(write_sagittal(tmp_path, [1, 2]))
    (tmp_path / "2.dcm").unlink()
    first = series.pixels(0)
    for _ in range(2):
        with pytest.raises(DicomError, match=r"2\.dcm cannot be read"):
            series.pixels(1)
        (tmp_path / "1.dcm").unlink(missing_ok=True)
        assert series.pixels(0) is first
        write_slice(tmp_path / "2.dcm", np.ones((4, 3), "u2"), plane((4, 0, 0)))


def test_released_pixels_are_decoded_again_and_errors_kept(tmp_path: Path) -> None:
    planes = block((0, 0, 0), AXIAL, 2)
    read = read_series(write_series(tmp_path, [np.eye(8, dtype="u2")] * 2, planes))
    before = read.canonical_pixels(0)
    (tmp_path / "2.dcm").unlink()
    with pytest.raises(DicomError):
        read.pixels(1)
    for index in (0, 1):
        read.release(index)
    assert read.canonical_pixels(0) is not before
    np.testing.assert_array_equal(read.canonical_pixels(0), before)
    write_slice(tmp_path / "2.dcm", np.eye(8, dtype="u2"), planes[1])
    with pytest.raises(DicomError):
        read.pixels(1)


def test_ordinary_stacks_and_those_of_two_contrasts_have_the_same_neighbours() -> None:
    """The first are told by their indices alone, the others by their positions."""
    stacks, positions = np.repeat([0, 1], [5, 3]), np.array([0, 1, 2, 3, 4, 8, 9, 10])
    ordinary = SliceOrder(stacks, positions, np.zeros(8, int))
    other = SliceOrder(
        np.append(stacks, 2), np.append(positions, 20), np.append(np.zeros(8, int), 1)
    )
    shared = SliceOrder(  # the last position of a third stack has two images
        np.append(stacks, [2, 2]), np.append(positions, [20, 20]), np.zeros(10, int)
    )
    assert ordinary.neighbours(0, 2) == (0, 0, 0, 1, 2)
    assert ordinary.neighbours(4, 2) == (2, 3, 4, 4, 4)
    assert ordinary.neighbours(5, 2) == (5, 5, 5, 6, 7)
    for index in range(8):
        for around in (1, 2):
            expected = ordinary.neighbours(index, around)
            assert other.neighbours(index, around) == expected
            assert shared.neighbours(index, around) == expected


@pytest.mark.parametrize("content", [None, "", "hello"])
def test_folder_without_a_slice_is_refused(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "series"
    if content is not None:
        folder.mkdir()
    if content:
        (folder / "1.dcm").write_text(content)
    with pytest.raises(UserError, match=r"series (cannot be read|is empty|holds no)"):
        read_series(folder)

"""Crops against things painted at known patient positions."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    STORAGES,
    Storage,
    plane,
    stored_as,
    write_series,
    write_slice,
)

from src.errors import UserError
from src.imaging.crops import CropSpec, _block_means, extract_crop
from src.imaging.dicom import DicomError
from src.imaging.geometry import SliceGeometry
from src.imaging.grey_levels import (
    WINDOW_PERCENTILES,
    intensity_window,
    to_uint8,
)
from src.imaging.series import Series, read_series

TURNED = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0][:2]
SPEC = CropSpec()


def stacked(
    axes: np.ndarray, spacing_mm: tuple[float, float], count: int = 3
) -> list[SliceGeometry]:
    """Planes 4 mm apart along their normal, the first pixels near the origin."""
    across = np.cross(*np.array(axes, float))
    return [plane(4 * i * across, axes, spacing_mm) for i in range(count)]


def paint(
    planes: Sequence[SliceGeometry],
    shapes: Sequence[tuple[int, int]],
    brightness: Callable[[np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """Pictures of a brightness that is a function of patient positions [..., 3]."""
    grids = [np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1) for h, w in shapes]
    return [
        np.rint(brightness(one.to_patient(grid))).astype("u2")
        for one, grid in zip(planes, grids, strict=True)
    ]


def blob(*centres_mm: np.ndarray, radius_mm: float = 4) -> Callable:
    def brightness(points_mm: np.ndarray) -> np.ndarray:
        far = [((points_mm - one) ** 2).sum(-1) / radius_mm**2 for one in centres_mm]
        return sum(4000 * np.exp(-distance / 2) for distance in far)

    return brightness


def painted(
    folder: Path,
    planes: Sequence[SliceGeometry],
    shape: tuple[int, int],
    brightness: Callable[[np.ndarray], np.ndarray],
) -> Series:
    volume = paint(planes, [shape] * len(planes), brightness)
    return read_series(write_series(folder, volume, planes))


def centroid(channel: np.ndarray) -> np.ndarray:
    """Where (x, y) the brightness of a picture is centred."""
    rows, columns = np.indices(channel.shape)
    weights = channel / channel.sum()
    return np.array([(columns * weights).sum(), (rows * weights).sum()])


def spread(channel: np.ndarray) -> np.ndarray:
    """The standard deviation of the brightness along x and y, in pixels."""
    rows, columns = np.indices(channel.shape)
    x, y = centroid(channel)
    weights = channel / channel.sum()
    variance = ((columns - x) ** 2 * weights).sum(), ((rows - y) ** 2 * weights).sum()
    return np.sqrt(variance)


@pytest.mark.parametrize("spec", [SPEC, CropSpec(61, None), CropSpec(64, 40, 5)])
@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7), (0.4, 1.1), (1.2, 0.6)])
@pytest.mark.parametrize("axes", [SAGITTAL, AXIAL, TURNED], ids=["sag", "ax", "turned"])
def test_point_lies_in_the_middle_of_every_channel(
    tmp_path: Path, axes: np.ndarray, spacing_mm: tuple[float, float], spec: CropSpec
) -> None:
    planes = stacked(axes, spacing_mm, 5)
    x, y = 61.3, 48.8
    centre = planes[2].to_patient([x, y])
    series = painted(tmp_path, planes, (110, 120), blob(centre))
    crop = extract_crop(series, 2, x, y, spec)
    assert (crop.pixels.shape, crop.pixels.dtype) == (
        (spec.slices, spec.crop_px, spec.crop_px),
        np.uint8,
    )
    assert crop.notes == ()
    for channel in crop.pixels:
        middle = (spec.crop_px - 1) / 2
        np.testing.assert_allclose(centroid(channel), middle, atol=0.15)


def test_neighbours_of_other_shape_spacing_and_axes_show_the_same_point(
    tmp_path: Path,
) -> None:
    planes = stacked(AXIAL, (0.6, 0.6))
    mirrored = np.array([(-1, 0, 0), (0, 1, 0)])
    planes[0] = plane((70, -9, 0), mirrored, (0.5, 0.9))
    site, beside = planes[1].to_patient([[60, 55], [76, 55]])
    turn = np.radians(25)
    right, down = (np.cos(turn), np.sin(turn), 0), (-np.sin(turn), np.cos(turn), 0)
    corner = site - np.dot((45, 40, -4), (right, down, (0, 0, 1)))
    planes[2] = plane(corner, (right, down), (0.9, 0.5))
    shapes = [(90, 180), (120, 110), (160, 100)]
    volume = paint(planes, shapes, blob(site, beside, radius_mm=3))
    series = read_series(write_series(tmp_path, volume, planes))
    crop = extract_crop(series, 1, 60, 55, SPEC)
    # Two blobs of equal brightness, 16 columns of 0.6 mm apart.
    for channel in crop.pixels:
        expected = 49.5 + 16 * 0.6 / 0.5 / 2, 49.5
        np.testing.assert_allclose(centroid(channel), expected, atol=0.15)
    before, _, after = crop.pixels.astype(int)
    np.testing.assert_allclose(before, after, atol=6)


def test_millimetres_make_a_circle_of_anisotropic_pixels(tmp_path: Path) -> None:
    planes = stacked(SAGITTAL, (0.4, 1.0))
    centre = planes[1].to_patient([80, 50])
    series = painted(tmp_path, planes, (100, 160), blob(centre, radius_mm=4))
    in_mm = spread(extract_crop(series, 1, 80, 50, CropSpec(100, 50)).pixels[1])
    np.testing.assert_allclose(in_mm, 4 / 0.5, rtol=0.03)
    native = spread(extract_crop(series, 1, 80, 50, CropSpec(100, None)).pixels[1])
    np.testing.assert_allclose(native, (4 / 0.4, 4 / 1.0), rtol=0.03)


def test_ten_millimetres_are_twenty_of_a_hundred_pixels_over_fifty(
    tmp_path: Path,
) -> None:
    planes = stacked(SAGITTAL, (0.8, 0.8))
    site = planes[1].to_patient([50, 50])
    # To the back and to the feet, which a sagittal picture has right and down.
    beside = site + np.array([0, 10, -6])
    series = painted(tmp_path, planes, (100, 100), blob(beside, radius_mm=2))
    found = centroid(extract_crop(series, 1, 50, 50, SPEC).pixels[1])
    np.testing.assert_allclose(found, (49.5 + 20, 49.5 + 12), atol=0.1)


@pytest.mark.parametrize("spec", [SPEC, CropSpec(61, None), CropSpec(64, 40, 5)])
@pytest.mark.parametrize("axes", [SAGITTAL, AXIAL, CORONAL], ids=["sag", "ax", "cor"])
def test_one_patient_point_gives_one_crop_however_it_is_stored(
    tmp_path: Path, axes: np.ndarray, spec: CropSpec
) -> None:
    planes = stacked(axes, (0.4, 1.1), 5)
    volume = np.random.default_rng(0).integers(0, 900, (5, 50, 131), "u2")
    crops = {}
    for number, storage in enumerate(STORAGES):
        stored = [
            stored_as(storage, picture, one)
            for picture, one in zip(volume, planes, strict=True)
        ]
        pictures, turned, moved = zip(*stored, strict=True)
        folder = write_series(tmp_path / str(number), pictures, turned)
        series = read_series(folder)
        xy = moved[2](61.3, 20.8)
        crops[storage] = extract_crop(series, series.index_of(3), *xy, spec)
    usual = crops[STORAGES[0]].pixels
    assert (usual != usual[:, ::-1]).any()
    for crop in crops.values():
        np.testing.assert_array_equal(crop.pixels, usual)


def test_a_neighbour_stored_the_other_way_shows_the_same_point(tmp_path: Path) -> None:
    planes = stacked(AXIAL, (0.7, 0.7))
    volume = np.random.default_rng(0).integers(0, 900, (3, 120, 110), "u2")
    usual = read_series(write_series(tmp_path / "usual", volume, planes))
    storage: Storage = (True, False, True)
    volume_2, plane_2, _ = stored_as(storage, volume[2], planes[2])
    mixed = write_series(
        tmp_path / "mixed", [*volume[:2], volume_2], [*planes[:2], plane_2]
    )
    np.testing.assert_array_equal(
        extract_crop(read_series(mixed), 1, 60, 55, SPEC).pixels,
        extract_crop(usual, 1, 60, 55, SPEC).pixels,
    )


def test_native_pixels_on_the_grid_are_copied(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 4000, (60, 70), "u2")
    planes = stacked(SAGITTAL, (0.7, 0.4))
    series = read_series(write_series(tmp_path, [picture] * 3, planes))
    crop = extract_crop(series, 1, 40, 30, CropSpec(21, None))
    patch = picture[20:41, 30:51].astype(float)
    low, high = np.percentile(picture, [0.5, 99.5])
    expected = np.clip((patch - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(crop.pixels[1], expected, atol=4)


def test_what_lies_outside_the_image_is_black(tmp_path: Path) -> None:
    planes = stacked(SAGITTAL, (0.5, 0.5))
    bright = lambda points_mm: 3000 + 10 * points_mm[..., 1]  # noqa: E731
    series = painted(tmp_path, planes, (60, 60), bright)
    crop = extract_crop(series, 1, -0.5, 59.5, CropSpec(40, 20)).pixels
    # The image's lower left corner is the crop's middle: one quarter is image.
    assert (crop[:, :20, 20:] > 0).mean() > 0.9
    assert not crop[:, 20:].any()
    assert not crop[:, :, :20].any()


def test_fine_pixels_are_averaged_where_the_crop_shrinks_them(tmp_path: Path) -> None:
    board = (np.indices((160, 160)).sum(0) % 2 * 1000).astype("u2")
    planes = stacked(SAGITTAL, (0.25, 0.25))
    series = read_series(write_series(tmp_path, [board] * 3, planes))
    crop = extract_crop(series, 1, 80.2, 79.9, CropSpec(20, 20)).pixels
    np.testing.assert_allclose(crop, 127.5, atol=8)


@pytest.mark.parametrize("numbers", [(3, 1, 2), (1, 2, 3), (30, 20, 10)])
def test_channels_run_right_to_left_for_any_instance_numbers(
    tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype("u2")
    volume = [np.full_like(ramp, 60), ramp, np.full_like(ramp, 200)]
    planes = [plane((x, 0, 0), SAGITTAL) for x in (-4, 0, 4)]
    series = read_series(write_series(tmp_path, volume, planes, numbers))
    crop = extract_crop(series, 1, 32, 32, CropSpec(20, 20)).pixels
    np.testing.assert_allclose(crop[0], 60, atol=4)
    np.testing.assert_allclose(crop[2], 200, atol=4)


def test_first_slice_stands_in_for_the_one_before_it(tmp_path: Path) -> None:
    planes = stacked(AXIAL, (0.5, 0.5))[::-1]
    picture = np.random.default_rng(0).integers(0, 99, (64, 64), "u2")
    series = read_series(
        write_series(tmp_path, [picture, picture[::-1], picture], planes)
    )
    crop = extract_crop(series, 0, 30, 30, SPEC).pixels
    np.testing.assert_array_equal(crop[0], crop[1])
    assert (crop[2] != crop[1]).any()


def test_grey_depends_on_the_labelled_slice_and_not_on_units(tmp_path: Path) -> None:
    planes = stacked(SAGITTAL, (0.5, 0.5))
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 900, (3, 64, 64), "u2")
    crops = []
    for i, scaled in enumerate([volume, volume * 7 + 300]):
        series = read_series(write_series(tmp_path / str(i), scaled, planes))
        crops.append(extract_crop(series, 1, 30, 30, SPEC).pixels)
    np.testing.assert_allclose(*crops, atol=1)
    volume[::2] = volume[::2] * 60
    series = read_series(write_series(tmp_path / "bright", volume, planes))
    np.testing.assert_array_equal(
        extract_crop(series, 1, 30, 30, SPEC).pixels[1], crops[0][1]
    )


def test_window_leaves_out_the_outermost_values() -> None:
    pixels = np.linspace(0, 1000, 200 * 200).reshape(200, 200)
    pixels[0, 0], pixels[-1, -2] = -1e6, 1e6
    low, high = intensity_window(pixels)
    assert (low, high) == (pytest.approx(5, abs=3), pytest.approx(995, abs=3))
    grey = to_uint8(np.array([-9, low, (low + high) / 2, high, 1e6]), low, high)
    assert grey.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("draw", ["whole", "halves", "normal", "mostly black", "few"])
def test_the_window_is_numpys_percentiles_to_the_last_bit(draw: str) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 40, 700, 9000):
        pixels = {
            "whole": rng.integers(0, 3000, size),
            "halves": rng.integers(0, 900, size) / 2,
            "normal": rng.normal(-40, 900, size),
            "mostly black": rng.exponential(50, size) * (rng.random(size) < 0.3),
            "few": rng.integers(0, 3, size),
        }[draw].astype(np.float32)
        expected = np.percentile(pixels[::3], WINDOW_PERCENTILES)
        assert intensity_window(pixels) == tuple(expected.tolist())


def test_pixels_without_tissue_do_not_move_the_window() -> None:
    pixels = np.random.default_rng(0).normal(500, 90, 9000).astype(np.float32)
    hole = np.random.default_rng(1).random(9000) < 0.4
    holed = np.where(hole, np.float32(np.nan), pixels)
    assert intensity_window(holed) == intensity_window(pixels[~hole])


def test_flat_slice_is_black(tmp_path: Path) -> None:
    planes = stacked(SAGITTAL, (0.5, 0.5))
    flat = lambda points_mm: np.full(points_mm.shape[:-1], 500)  # noqa: E731
    series = painted(tmp_path, planes, (40, 40), flat)
    assert not extract_crop(series, 1, 20, 20, SPEC).pixels.any()


@pytest.mark.parametrize("xy", [(-0.6, 5), (5, 40.5), (np.nan, 5), (5, np.inf)])
def test_point_outside_its_image_is_refused(tmp_path: Path, xy: tuple) -> None:
    series = painted(tmp_path, stacked(SAGITTAL, (1, 1)), (40, 50), blob(np.zeros(3)))
    with pytest.raises(UserError, match=r"outside .*2\.dcm, 50 x 40 pixels"):
        extract_crop(series, 1, *xy, SPEC)


def test_a_neighbour_that_does_not_decode_is_replaced_with_a_note(
    tmp_path: Path,
) -> None:
    planes = stacked(SAGITTAL, (0.5, 0.5))[::-1]
    rng = np.random.default_rng(0)
    series = read_series(
        write_series(tmp_path, rng.integers(0, 900, (3, 64, 64), "u2"), planes)
    )
    write_slice(tmp_path / "3.dcm", np.zeros((64, 64), "u2"), planes[2], PixelData=b"")
    crop = extract_crop(series, 1, 30, 30, SPEC)
    np.testing.assert_array_equal(crop.pixels[2], crop.pixels[1])
    assert (crop.pixels[0] != crop.pixels[1]).any()
    assert len(crop.notes) == 1
    assert re.search(r"3\.dcm .*is cut short", crop.notes[0])
    with pytest.raises(DicomError, match=r"3\.dcm .*is cut short"):
        extract_crop(series, 2, 30, 30, SPEC)


@pytest.mark.parametrize(
    "values",
    [
        {"crop_px": 7},
        {"crop_px": 2000},
        {"field_mm": 0},
        {"field_mm": -50},
        {"field_mm": 1e4},
        {"field_mm": float("nan")},
        {"slices": 2},
        {"slices": 0},
        {"slices": -1},
    ],
)
def test_crop_that_makes_no_sense_is_refused(values: dict) -> None:
    with pytest.raises(UserError, match=r"^A (crop|field) of .*\.$"):
        CropSpec(**values)


@pytest.mark.parametrize("samples", range(2, 12))
def test_blocks_have_the_mean_of_numpy_to_the_last_bit(samples: int) -> None:
    """The cache's bytes must not depend on how the mean is found."""
    fine = np.random.default_rng(samples).random((32 * samples,) * 2, np.float32) * 900
    blocks = fine.reshape(32, samples, 32, samples)
    found = _block_means(fine, samples)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, blocks.mean(axis=(1, 3)))

"""Padding and burnt-in text: out of the grey levels, and black."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_dataset
from pydicom.dataelem import DataElement
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom import read_pixels
from src.imaging.overview import overview_of
from src.imaging.series import read_series

SPEC = CropSpec(60, None, 1)
PLANE = plane((0, 0, 0), SAGITTAL, (0.8, 0.8))
ROWS, COLUMNS = np.indices((120, 100))
# Outside a circle, as a scanner pads; and a line of capitals, a quarter of a percent.
CORNERS = np.hypot(ROWS - 59.5, COLUMNS - 49.5) > 58
TEXT = (ROWS > 100) & (ROWS < 103) & (COLUMNS > 30) & (COLUMNS < 46)


def tissue(dtype: str = "u2") -> np.ndarray:
    """Noise in bands of three brightnesses, 0 to about 1500, clipped at the top."""
    rng = np.random.default_rng(3)
    bands = np.choose(ROWS // 8 % 3, (100, 600, 1100))
    noisy = bands + rng.normal(0, 60, bands.shape)
    return np.clip(noisy, 0, 1250).astype(dtype)


def written(
    folder: Path,
    pixels: np.ndarray,
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> Path:
    return write_dataset(slice_dataset(pixels, PLANE, **tags), folder / "1.dcm", syntax)


def crop_of(folder: Path, pixels: np.ndarray, **tags: Any) -> np.ndarray:
    """The crop of one slice around its middle, which the padding hardly touches."""
    written(folder, pixels, **tags)
    return extract_crop(read_series(folder), 0, 49.5, 59.5, SPEC).pixels[0]


def padded(dtype: str, value: int, where: np.ndarray = CORNERS) -> np.ndarray:
    return np.where(where, value, tissue(dtype)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "value", "tags"),
    [
        ("i2", -2000, {"PixelPaddingValue": -2000}),
        ("u2", 65535, {"PixelPaddingValue": 65535}),
        ("u2", 3000, {"PixelPaddingValue": 3000}),
        ("u2", 1300, {"PixelPaddingValue": 1300}),  # no gap: only the tag tells
        ("i2", -9, {"PixelPaddingValue": 1, "PixelPaddingRangeLimit": -10}),
        ("u2", 1400, {"PixelPaddingValue": 1300, "PixelPaddingRangeLimit": 1500}),
        ("u2", 1400, {"PixelPaddingValue": 1500, "PixelPaddingRangeLimit": 1300}),
        ("i2", -32768, {}),
        ("i2", 32767, {}),
        ("u2", 65535, {}),
        ("u2", 32768, {}),
        ("u2", 4095, {"BitsStored": 12}),
        ("u2", 65535, {"BitsStored": 12}),
        ("u2", 30000, {}),  # no extreme of a format, but far away
    ],
)
@pytest.mark.parametrize("where", [CORNERS, TEXT], ids=["padding", "text"])
def test_a_crop_has_the_grey_levels_of_the_clean_image(
    tmp_path: Path, dtype: str, value: int, tags: dict[str, Any], where: np.ndarray
) -> None:
    clean = crop_of(tmp_path / "clean", tissue(dtype))
    found = crop_of(tmp_path / "padded", padded(dtype, value, where), **tags)
    shown = ~where[30:90, 20:80]
    assert len(np.unique(clean)) > 180
    np.testing.assert_allclose(found[shown].astype(int), clean[shown], atol=3)


@pytest.mark.parametrize("value", [-32768, 32767])
def test_an_overview_draws_padding_black_and_smears_none_of_it(
    tmp_path: Path, value: int
) -> None:
    overviews = {}
    for name, pixels in {
        "clean": tissue("i2") + 1000,
        "padded": np.where(CORNERS, value, tissue("i2") + 1000),
    }.items():
        written(tmp_path / name, pixels.astype("i2"))
        series = read_series(tmp_path / name)
        overviews[name] = overview_of(series, 7, "Sagittal T1")[0].images[0]
    # The overview's 1.25 mm pixels average the file's of 0.8 mm.
    middle = slice(112 - 25, 112 + 25)
    levels = [image[middle, middle].astype(int) for image in overviews.values()]
    np.testing.assert_allclose(*levels, atol=3)
    # Beside the circle's edge a pixel is between black and the tissue, never white.
    assert (overviews["padded"] <= overviews["clean"].max()).all()
    corner = 112 - int(59 * 0.8 / 1.25) + 2, 112 - int(49 * 0.8 / 1.25) + 2
    assert overviews["clean"][corner] > 0
    assert overviews["padded"][corner] == 0


def test_an_interpolated_neighbour_of_padding_is_mixed_with_black(
    tmp_path: Path,
) -> None:
    pixels = np.where(COLUMNS < 50, -32768, tissue("i2"))
    written(tmp_path, pixels.astype("i2"))
    series = read_series(tmp_path)
    # A quarter of a pixel to the right: of the column at the edge three quarters stay.
    crop = extract_crop(series, 0, 49.75, 59.5, SPEC).pixels[0].astype(float)
    whole = extract_crop(series, 0, 49.5, 59.5, SPEC).pixels[0].astype(float)
    assert not whole[:, 29].any()
    np.testing.assert_allclose(crop[:, 29], whole[:, 30] / 4, atol=1.01)


@pytest.mark.parametrize(
    "pixels",
    [
        tissue(),
        np.where(TEXT, 1700, tissue()).astype("u2"),
        np.where(CORNERS, 0, tissue()).astype("u2"),
        (np.indices((120, 100)).sum(0) % 2 * 4000).astype("u2"),
        np.where(TEXT, 4000, 0).astype("u2"),
        np.full((120, 100), 700, "u2"),
        np.minimum(np.indices((120, 100)).prod(0), 4095).astype("u2"),
        np.where((ROWS == 3) & (COLUMNS < 5), 40000, tissue()).astype("u2"),
        np.where(TEXT, 9000, tissue()).astype("u2"),
    ],
    ids=[
        *("clipped", "near", "air", "board", "lone", "flat", "saturated", "spike"),
        "marker",
    ],
)
def test_ordinary_images_keep_every_pixel(tmp_path: Path, pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(read_pixels(written(tmp_path, pixels)), pixels)


def test_padding_of_an_inverted_image_is_black_too(tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12}
    inverted = np.where(CORNERS, 4095, 3000 - tissue()).astype("u2")
    clean = crop_of(tmp_path / "clean", (3000 - tissue()).astype("u2"), **tags)
    for name, more in {"tagged": {"PixelPaddingValue": 4095}, "untagged": {}}.items():
        found = crop_of(tmp_path / name, inverted, **tags, **more)
        shown = ~CORNERS[30:90, 20:80]
        np.testing.assert_allclose(found[shown].astype(int), clean[shown], atol=3)
        assert np.isnan(read_pixels(tmp_path / name / "1.dcm")[CORNERS]).all()


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize(("vr", "tag"), [("SS", -300), ("US", 65236)])
def test_signed_padding_is_found_however_its_tag_is_typed(
    tmp_path: Path, syntax: UID, vr: str, tag: int, bits: int
) -> None:
    dataset = slice_dataset(padded("i2", -300), PLANE, BitsStored=bits)
    dataset.add(DataElement(Tag(0x0028, 0x0120), vr, tag))
    found = read_pixels(write_dataset(dataset, tmp_path / "1.dcm", syntax))
    np.testing.assert_array_equal(np.isnan(found), CORNERS)


def test_slope_and_intercept_do_not_move_padding(tmp_path: Path) -> None:
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-1300", "PixelPaddingValue": 1300}
    found = read_pixels(written(tmp_path, padded("u2", 1300), **tags))
    np.testing.assert_array_equal(np.isnan(found), CORNERS)
    np.testing.assert_array_equal(found[~CORNERS], tissue()[~CORNERS] * 2.0 - 1300)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65535},
        {"PixelPaddingValue": 5000},
        {"PixelPaddingRangeLimit": 1000},
    ],
    ids=["everything", "nothing", "no value"],
)
def test_a_padding_tag_that_leaves_all_or_nothing_changes_nothing(
    tmp_path: Path, tags: dict[str, int]
) -> None:
    np.testing.assert_array_equal(
        read_pixels(written(tmp_path, tissue(), **tags)), tissue()
    )


def test_text_is_found_beside_tagged_padding_and_at_both_ends(tmp_path: Path) -> None:
    pixels = np.where(TEXT, 32767, padded("i2", -32768)).astype("i2")
    for tags in ({}, {"PixelPaddingValue": -32768}):
        found = read_pixels(written(tmp_path, pixels, **tags))
        np.testing.assert_array_equal(np.isnan(found), CORNERS | TEXT)

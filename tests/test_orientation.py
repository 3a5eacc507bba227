"""Stored images turned to fixed patient axes, against axes written down by hand."""

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
)

from src.imaging.orientation import to_canonical

TO_LEFT, TO_BACK, TO_FEET = (1, 0, 0), (0, 1, 0), (0, 0, -1)
PIXELS = np.arange(4 * 7).reshape(4, 7)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("axes", "wanted"),
    [
        (AXIAL, (TO_LEFT, TO_BACK)),
        (SAGITTAL, (TO_BACK, TO_FEET)),
        (CORONAL, (TO_LEFT, TO_FEET)),
    ],
    ids=["axial", "sagittal", "coronal"],
)
def test_columns_and_rows_run_along_fixed_axes(
    axes: tuple, wanted: tuple, storage: Storage
) -> None:
    shown = plane((10, 20, 30), axes, (0.5, 2))
    pixels, stored, moved = stored_as(storage, PIXELS, shown)
    turn = to_canonical(stored, pixels.shape[1], pixels.shape[0])
    np.testing.assert_array_equal(turn.image(pixels), PIXELS)
    turned = turn.plane(stored)
    np.testing.assert_array_equal((turned.right, turned.down), wanted)
    np.testing.assert_allclose(turned.position_mm, (10, 20, 30))
    assert turned.spacing_mm == (0.5, 2)
    assert turn.from_stored(moved(5, 1)).tolist() == [5, 1]
    assert turn.to_stored((5, 1)).tolist() == list(moved(5, 1))


def lean(degrees: float) -> np.ndarray:
    """Axes of an axial slice whose back is lifted to the head."""
    angle = np.radians(degrees)
    return np.array([(1, 0, 0), (0, np.cos(angle), np.sin(angle))])


@pytest.mark.parametrize("degrees", [-60, -40, -10, 10, 40, 50, 60])
def test_a_slice_along_a_steep_disc_is_not_flipped(degrees: float) -> None:
    turn = to_canonical(plane((0, 0, 0), lean(degrees)), 7, 4)
    assert (turn.transposed, turn.flipped) == (False, (False, False))
    upside_down = plane((0, 0, 0), lean(degrees) * [[1], [-1]])
    assert to_canonical(upside_down, 7, 4).flipped == (False, True)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("seed", range(6))
def test_an_oblique_image_keeps_its_own_axes_in_the_nearest_order(
    seed: int, storage: Storage
) -> None:
    rng = np.random.default_rng(seed)
    wobble, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.15, (3, 3)))
    wobble *= np.sign(np.diag(wobble))
    axes = np.array(SAGITTAL if seed % 2 else AXIAL, float) @ wobble.T
    pixels, stored, _ = stored_as(storage, PIXELS, plane((1, 2, 3), axes))
    turned = to_canonical(stored, pixels.shape[1], pixels.shape[0]).plane(stored)
    np.testing.assert_allclose((turned.right, turned.down), axes)


def test_an_image_in_its_order_is_not_copied() -> None:
    stored = plane((1, 2, 3), AXIAL)
    turn = to_canonical(stored, 7, 4)
    assert np.shares_memory(turn.image(PIXELS), PIXELS)
    assert turn.plane(stored) is stored

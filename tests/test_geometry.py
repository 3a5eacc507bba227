"""Slice geometry against the standard's own equation and hand-worked points."""

import numpy as np
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, plane

from src.imaging.geometry import SliceGeometry


def oblique() -> SliceGeometry:
    turned, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    return plane((12, -7, 41), turned[:2], (0.4, 0.7))


def test_patient_position_follows_the_standards_equation() -> None:
    # PS3.3 equation C.7.6.2.1-1: [P] = [X di, Y dj, 0, S] [i, j, 0, 1].
    geometry = oblique()
    matrix = np.eye(4)
    matrix[:3, 0] = geometry.right * 0.4
    matrix[:3, 1] = geometry.down * 0.7
    matrix[:3, 3] = geometry.position_mm
    expected = (matrix @ [31, 17, 0, 1])[:3]
    np.testing.assert_allclose(geometry.to_patient([31, 17]), expected)


@pytest.mark.parametrize(
    ("axes", "normal"),
    [(SAGITTAL, (-1, 0, 0)), (AXIAL, (0, 0, 1)), (CORONAL, (0, 1, 0))],
)
def test_normal_is_right_cross_down(axes: tuple, normal: tuple) -> None:
    np.testing.assert_array_equal(plane((0, 0, 0), axes).normal, normal)


def test_pixels_come_back_from_the_patient() -> None:
    xy = np.random.default_rng(0).uniform(-50, 500, (4, 6, 2))
    points_mm = oblique().to_patient(xy)
    assert points_mm.shape == (4, 6, 3)
    np.testing.assert_allclose(oblique().to_pixel(points_mm), xy)
    np.testing.assert_allclose(oblique().distance_mm(points_mm), 0, atol=1e-9)


def test_point_off_the_plane_is_dropped_along_the_normal() -> None:
    geometry = oblique()
    lifted = geometry.to_patient([20, 30]) + 8 * geometry.normal
    np.testing.assert_allclose(geometry.to_pixel(lifted), [20, 30])
    assert geometry.distance_mm(lifted) == pytest.approx(8)

"""Phantom slices as files, read back by the kit's own reader and by geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from src.imaging.dicom import read_header, read_pixels
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import draw_anatomy
from src.phantom.protocol import ENCODINGS, RLE, Scan, draw_scans
from src.phantom.reader import draw_narrowing
from src.phantom.writing import write_slice


@pytest.fixture(scope="module")
def scan() -> Scan:
    """One sagittal series' plan."""
    rng = np.random.default_rng(0)
    return draw_scans(rng, draw_anatomy(rng, draw_narrowing(rng)), 0)[0]


@pytest.mark.parametrize("encoding", [*ENCODINGS, RLE])
def test_each_encoding_reads_back_as_the_same_picture(
    scan: Scan, encoding: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(1).uniform(0, 1.5, (40, 30)).astype(np.float32)
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, image, replace(scan, encoding=encoding), 0)
    read = read_pixels(path)
    # The same up to brightness and contrast, and to what 8 bits can hold.
    assert np.corrcoef(read.ravel(), image.ravel())[0, 1] > 0.9999


def test_the_plane_reads_back(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.zeros(scan.shapes[3]), scan, 3)
    read: SliceGeometry = read_header(path).geometry
    xy = np.array([[0, 0], [250, 10], [30, 200]])
    assert read.to_patient(xy) == pytest.approx(scan.planes[3].to_patient(xy), abs=1e-3)


def test_a_bare_file_has_neither_thickness_nor_step(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.zeros((8, 8)), replace(scan, bare=True), 0)
    tags = pydicom.dcmread(path)
    assert "SliceThickness" not in tags
    assert "SpacingBetweenSlices" not in tags

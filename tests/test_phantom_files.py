"""Phantom slices as files, read back by the kit's own reader and by geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from src.imaging.dicom import read_header, read_pixels
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import draw_anatomy
from src.phantom.dicom_writer import write_slice
from src.phantom.protocol import ENCODINGS, RLE, Scan, draw_scans
from src.phantom.rater import draw_narrowing


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


@pytest.mark.parametrize(
    ("encoding", "tag", "value"),
    [
        ("plain", "BitsStored", 12),
        ("signed", "PixelRepresentation", 1),
        ("inverted", "PhotometricInterpretation", "MONOCHROME1"),
        ("rescaled", "RescaleSlope", 0.5),
        ("eight_bit", "BitsAllocated", 8),
    ],
)
def test_an_encoding_matches_its_name(
    scan: Scan, tmp_path: Path, encoding: str, tag: str, value: object
) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.ones((8, 8)), replace(scan, encoding=encoding), 0)
    assert pydicom.dcmread(path).get(tag) == value


def test_run_lengths_are_written_where_they_are_asked_for(
    scan: Scan, tmp_path: Path
) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.ones((8, 8)), replace(scan, encoding=RLE), 0)
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    assert syntax == pydicom.uid.RLELossless


def test_the_plane_reads_back(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.zeros(scan.shapes[3]), scan, 3)
    read: SliceGeometry = read_header(path).geometry
    xy = np.array([[0, 0], [250, 10], [30, 200]])
    assert read.to_patient(xy) == pytest.approx(scan.planes[3].to_patient(xy), abs=1e-3)


def test_a_plane_of_oblong_pixels_reads_back(scan: Scan, tmp_path: Path) -> None:
    oblong = replace(scan.planes[0], spacing_mm=(0.4, 0.9))
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.zeros((30, 40)), replace(scan, planes=[oblong]), 0)
    assert read_header(path).geometry.spacing_mm == pytest.approx((0.4, 0.9))


def test_a_bare_file_has_neither_thickness_nor_step(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "12" / "34" / "5.dcm"
    write_slice(path, np.zeros((8, 8)), replace(scan, bare=True), 0)
    tags = pydicom.dcmread(path)
    assert "SliceThickness" not in tags
    assert "SpacingBetweenSlices" not in tags

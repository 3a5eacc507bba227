"""Phantom slices as files, read back by the kit's own reader and by geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from src.imaging.classify_series import SeriesEvidence, classify_series
from src.imaging.dicom import read_header, read_pixels
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import draw_anatomy
from src.phantom.dicom_writer import write_slice
from src.phantom.header import with_headers
from src.phantom.protocol import ENCODINGS, RLE, Scan, draw_scans
from src.phantom.rater import draw_narrowing
from src.phantom.study import StudyPlan, write_study
from src.phantom.tissue import STIR


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


def test_headers_agree_with_their_rows_and_some_lack_the_times(tmp_path: Path) -> None:
    times, dialects = set(), set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        plans = draw_scans(rng, draw_anatomy(rng, draw_narrowing(rng)), 0)
        for number, plan in enumerate(with_headers(plans, np.random.default_rng(seed))):
            path = tmp_path / str(seed) / str(number) / "1.dcm"
            write_slice(path, np.zeros((8, 8)), plan, 0)
            tags = pydicom.dcmread(path)
            found = classify_series(
                SeriesEvidence(
                    np.array([plan.planes[0].normal]),
                    tags.get("EchoTime"),
                    tags.get("RepetitionTime"),
                    tags.get("InversionTime"),
                    str(tags.get("ScanningSequence", "")),
                    words=tags.SeriesDescription,
                )
            )
            assert (found.description, found.reason) == (plan.description, "")
            assert ("InversionTime" in tags) <= (plan.contrast.weighting == STIR)
            times.add("EchoTime" in tags)
            dialects.add(tags.SeriesDescription.replace("T1", "T2"))
    assert times == {True, False}
    assert len(dialects) > 8


def test_headers_change_neither_pictures_nor_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noise(*given: object) -> np.ndarray:  # what the pictures' generator gives next
        rng = given[-1]
        assert isinstance(rng, np.random.Generator)
        return rng.random((4, 4))

    monkeypatch.setattr("src.phantom.study.render", noise)
    plan = StudyPlan(7, 0, 5, 0.5)
    written = write_study(plan, tmp_path / "with")
    monkeypatch.setattr("src.phantom.study.with_headers", lambda scans, _: scans)
    bare = write_study(plan, tmp_path / "without")
    assert written.points.equals(bare.points)
    paths = sorted((tmp_path / "with").rglob("*.dcm"))
    assert any("EchoTime" in pydicom.dcmread(path) for path in paths)
    for path in paths:
        other = tmp_path / "without" / path.relative_to(tmp_path / "with")
        assert pydicom.dcmread(path).PixelData == pydicom.dcmread(other).PixelData

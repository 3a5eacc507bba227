"""A phantom study's files and marks, its pictures replaced by single pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import plane

from src.competition.constants import AXIAL_T2, SAGITTAL_T2, SPINAL
from src.imaging.dicom import read_header, read_pixels
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import Anatomy
from src.phantom.protocol import Scan
from src.phantom.scanner import Contrast
from src.phantom.study import StudyPlan, StudyTruth, write_study
from src.phantom.tissue import T2


@dataclass
class Pictures:
    """What was rendered: each plane by its number, and for whom.

    A picture is black but for the pixel whose number is that of its plane.
    """

    planes: list[SliceGeometry] = field(default_factory=list)
    people: list[Anatomy] = field(default_factory=list)

    def render(
        self, anatomy: Anatomy, plane: SliceGeometry, shape: tuple[int, int], *_: Any
    ) -> np.ndarray:
        """Stand in for the scanner."""
        image = np.zeros(shape, np.float32)
        image.ravel()[len(self.planes)] = 1
        self.planes.append(plane)
        self.people.append(anatomy)
        return image


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Pictures:
    taken = Pictures()
    monkeypatch.setattr("src.phantom.study.render", taken.render)
    monkeypatch.setattr("src.phantom.study.UNGRADED_STUDIES", 0.0)
    return taken


def files_of(truth: StudyTruth, images: Path, description: str) -> Iterator[Path]:
    """List the files of all series of one type."""
    chosen = truth.series[truth.series["series_description"] == description]
    for row in chosen.itertuples():
        yield from (images / str(row.study_id) / str(row.series_id)).iterdir()


def test_each_file_holds_the_picture_of_its_own_plane(
    pictures: Pictures, tmp_path: Path
) -> None:
    write_study(StudyPlan(7, 0, 5, 0.5), tmp_path)
    paths = list(tmp_path.rglob("*.dcm"))
    assert len(paths) == len(pictures.planes)
    for path in paths:
        pixels, geometry = read_pixels(path), read_header(path).geometry
        shown = pictures.planes[int(pixels.argmax())]
        assert geometry.position_mm == pytest.approx(shown.position_mm, abs=1e-3)
        assert geometry.right == pytest.approx(shown.right, abs=1e-6)


def test_the_studys_index_in_the_cohort_picks_its_quirks(
    pictures: Pictures, tmp_path: Path
) -> None:
    truth = write_study(StudyPlan(7, 3, 5, 0.5), tmp_path)
    rows = {read_header(path).rows for path in files_of(truth, tmp_path, AXIAL_T2)}
    assert len(rows) == 2  # the fourth of ten has one slice of another shape
    truth = write_study(StudyPlan(8, 17, 5, 0.5), tmp_path)
    assert AXIAL_T2 not in set(truth.series["series_description"])


def tall_scan(columns: int, pitch_mm: float = 1.0) -> Scan:
    """Sagittal slices 4 mm apart, of 400 rows, each as wide as `columns` mm."""
    planes = [
        plane((x, -columns / 2, 120), spacing_mm=(pitch_mm, pitch_mm))
        for x in range(-24, 25, 4)
    ]
    looks = Contrast(T2, 1.0, 0.0, 1e9, 0.3, (0.0, 0.0, 0.0))
    shapes = [(400, round(columns / pitch_mm))] * len(planes)
    numbers = list(range(50, 63))
    return Scan(SAGITTAL_T2, looks, planes, shapes, numbers, "plain", bare=False)


def strayed_mm(images: Path, pitch_mm: float, marking_mm: float) -> np.ndarray:
    """How far each mark of one study is from its site, along x and y."""
    scan = tall_scan(150, pitch_mm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.phantom.study.draw_scans", lambda *_: [scan])
        exact, marked = (
            write_study(StudyPlan(7, 0, 5, mm), images / f"{pitch_mm}-{mm}").points
            for mm in (0.0, marking_mm)
        )
    columns = ["instance_number", "level"]
    assert exact[columns].equals(marked[columns])
    return (marked[["x", "y"]] - exact[["x", "y"]]).to_numpy() * pitch_mm


@pytest.mark.usefixtures("pictures")
def test_an_annotators_hand_strays_by_millimetres(tmp_path: Path) -> None:
    fine, coarse = (strayed_mm(tmp_path, pitch, 1.5) for pitch in (0.6, 1.2))
    assert len(fine) == 5
    assert 0.5 < np.abs(fine).mean() < 3
    assert fine == pytest.approx(coarse, abs=1e-3)
    assert strayed_mm(tmp_path, 0.8, 3.0) == pytest.approx(2 * fine, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_site_is_marked_on_the_nearest_slice_of_a_tall_image(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    scan = tall_scan(columns=150)
    monkeypatch.setattr("src.phantom.study.draw_scans", lambda *_: [scan])
    truth = write_study(StudyPlan(7, 0, seed, 0.0), tmp_path)
    assert truth.points["condition"].tolist() == [SPINAL] * 5
    person = pictures.people[0]
    sites = person.sites.set_index(["condition", "level"])
    for point in truth.points.itertuples():
        straight = sites.loc[(SPINAL, point.level), ["a", "b", "t"]]
        x_mm, y_mm, z_mm = person.spine.to_patient(straight.to_numpy(float))
        assert point.instance_number == 50 + round((x_mm + 24) / 4)
        assert (point.x, point.y) == pytest.approx((y_mm + 75, 120 - z_mm), abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_site_beside_the_image_is_not_marked(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    scan = tall_scan(columns=28)
    monkeypatch.setattr("src.phantom.study.draw_scans", lambda *_: [scan])
    truth = write_study(StudyPlan(7, 0, seed, 0.0), tmp_path)
    person = pictures.people[0]
    canal = person.sites[person.sites["condition"] == SPINAL]
    places = person.spine.to_patient(canal[["a", "b", "t"]].to_numpy())
    seen = np.abs(places[:, 1]) < 10  # four pixels from both borders
    assert truth.points["level"].tolist() == canal["level"][seen].tolist()
    assert 0 < seen.sum() < 5

"""The views of found sites: a bright ball in the patient, in the middle of each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cache_cohort import POINTS, build, write_images
from dicom_files import AXIAL, SAGITTAL, plane, write_series
from fake_classifiers import Fixed, fixed

from src.cache.crop_cache import open_cache
from src.classification.calibration import IDENTITY
from src.classification.site_dataset import view_crops
from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SPINAL,
)
from src.competition.prior import uniform
from src.imaging.crops import CropSpec
from src.imaging.geometry import SliceGeometry
from src.inference.findings import FINDINGS_COLUMNS, prior_findings
from src.inference.pipeline import StudyPipeline
from src.inference.site_views import find_site_views
from src.inference.study import Study, read_study
from src.localization.locate import LocatedSite, expected_points
from src.localization.spine_prior import CanalOffset

SPEC = CropSpec(crop_px=21, field_mm=21.0, slices=3)
CANAL, RECESS = (SPINAL, "l3_l4"), ("left_subarticular_stenosis", "l3_l4")
BALL_MM = np.array([9.0, 24.0, -17.0])
SERIES = {SAGITTAL_T1: 5, SAGITTAL_T2: 6, AXIAL_T2: 4}


def planes(description: str) -> list[SliceGeometry]:
    """Stacks of 4 mm steps around the ball, each with another corner and spacing."""
    if description == AXIAL_T2:
        return [plane((-20, 3, z), AXIAL, (0.8, 0.8)) for z in range(0, -40, -4)]
    shift, spacing = (0, 1.0) if description == SAGITTAL_T1 else (5, 0.9)
    return [plane((x, -shift, 12), SAGITTAL, (spacing,) * 2) for x in range(-10, 22, 4)]


def write(folder: Path, description: str, series_id: int | None = None) -> None:
    """Write a series that shows a ball of 5 mm on a ground of its own grey."""
    volume = []
    stack = planes(description)
    for each in stack:
        rows, columns = np.mgrid[:60, :70]
        points = each.to_patient(np.stack([columns, rows], axis=-1))
        ball = np.linalg.norm(points - BALL_MM, axis=-1) < 5
        noise = np.random.default_rng(0).integers(80, 120, ball.shape)
        volume.append(np.where(ball, 200, noise).astype(np.uint16))
    write_series(folder / str(series_id or SERIES[description]), volume, stack)


def read(folder: Path, *descriptions: str) -> Study:
    rows = [(SERIES[name], name) for name in descriptions]
    columns = ["series_id", "series_description"]
    return read_study(folder, pd.DataFrame(rows, columns=columns))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for description in SERIES:
        write(tmp_path / "9", description)
    return tmp_path / "9"


def at(study: Study, description: str, point_mm: np.ndarray) -> LocatedSite:
    """Locate a point on the nearest slice of a series."""
    series = study.series[SERIES[description]]
    away = [abs(h.geometry.distance_mm(point_mm)) for h in series.headers]
    header = series.headers[int(np.argmin(away))]
    x, y = header.geometry.to_pixel(point_mm)
    ids = SERIES[description], header.instance_number
    return LocatedSite(*ids, float(x), float(y), point_mm, 0.9, "located")


def test_each_series_type_shows_the_site_in_the_middle_of_its_crop(
    folder: Path,
) -> None:
    study = read(folder, *SERIES)
    found = find_site_views(study, {RECESS: at(study, AXIAL_T2, BALL_MM)}, {})
    assert found.names(RECESS) == list(SERIES_DESCRIPTIONS)
    [crop] = found.crops(SPEC).values()
    assert crop.shape == (3, 3, 21, 21)
    assert crop.dtype == np.uint8
    for view in crop:
        rows, columns = np.nonzero(view[1] > 200)
        assert (rows.mean(), columns.mean()) == pytest.approx((10, 10), abs=0.8)
        before, own, after = (view > 200).sum(axis=(1, 2))
        assert own > max(before, after)
    assert not found.elsewhere()


def test_a_missing_series_leaves_its_view_black(folder: Path) -> None:
    study = read(folder, SAGITTAL_T2, AXIAL_T2)
    study.overviews.pop(SAGITTAL_T1, None)
    found = find_site_views(study, {RECESS: at(study, AXIAL_T2, BALL_MM)}, {})
    assert found.names(RECESS) == [SAGITTAL_T2, AXIAL_T2]
    [crop] = found.crops(SPEC).values()
    shown = [crop[SERIES_DESCRIPTIONS.index(n)].any() for n in SERIES_DESCRIPTIONS]
    assert shown == [n != SAGITTAL_T1 for n in SERIES_DESCRIPTIONS]


def test_a_site_whose_series_is_missing_is_shown_by_the_others(folder: Path) -> None:
    study = read(folder, SAGITTAL_T1, SAGITTAL_T2)
    study.overviews.pop(AXIAL_T2, None)
    canal = {CANAL: at(study, SAGITTAL_T2, BALL_MM - (8, 0, 0))}
    offset = CanalOffset(np.array([8.0, 0, 0]), np.ones(3))
    expected = expected_points(canal, {RECESS: offset})
    assert expected.keys() == {RECESS}
    assert expected[RECESS] == pytest.approx(BALL_MM)
    found = find_site_views(study, canal, expected)
    assert found.names(RECESS) == [SAGITTAL_T1, SAGITTAL_T2]
    for view in found.crops(SPEC)[RECESS][:2]:
        assert view[1, 10, 10] > 200
    elsewhere = found.elsewhere()
    assert elsewhere.keys() == {RECESS}
    assert elsewhere[RECESS].series_id == SERIES[SAGITTAL_T1]
    assert elsewhere[RECESS].source == "projected"


def test_of_two_series_the_nearer_slice_shows_a_site(folder: Path) -> None:
    before = [plane((x, -5, 12), SAGITTAL, (0.9, 0.9)) for x in range(-11, 21, 4)]
    volume = [np.full((60, 70), 100 + n, np.uint16) for n in range(len(before))]
    write_series(folder / "3", volume, before)
    rows = [(3, SAGITTAL_T2), *((number, name) for name, number in SERIES.items())]
    columns = ["series_id", "series_description"]
    study = read_study(folder, pd.DataFrame(rows, columns=columns))
    for x, nearer in ((9.0, 3), (10.0, SERIES[SAGITTAL_T2]), (9.5, 3)):
        point = np.array([x, 24.0, -17.0])
        found = find_site_views(study, {RECESS: at(study, AXIAL_T2, point)}, {})
        assert found.views[RECESS][SAGITTAL_T2].series_id == nearer


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_view_that_cannot_be_cut_is_dropped_and_the_last_one_tells_why(
    folder: Path, damaged: int
) -> None:
    study = read(folder, *SERIES)
    found = find_site_views(study, {RECESS: at(study, AXIAL_T2, BALL_MM)}, {})
    for description in (SAGITTAL_T1, AXIAL_T2, SAGITTAL_T2)[:damaged]:
        site = found.views[RECESS][description]
        (folder / str(site.series_id) / f"{site.instance_number}.dcm").write_bytes(b"")
        series = study.series[site.series_id]
        series.release(series.index_of(site.instance_number))
    crops = found.crops(SPEC)
    assert len(found.names(RECESS)) == 3 - damaged
    assert (RECESS in crops) == (damaged < 3)
    assert found.errors[RECESS].startswith("series ")
    assert str(folder.parent) not in found.errors[RECESS]


def test_a_site_on_a_slice_that_is_not_there_is_sought_nowhere(folder: Path) -> None:
    study = read(folder, *SERIES)
    site = at(study, AXIAL_T2, BALL_MM)
    lost = LocatedSite(site.series_id, 999, 1.0, 1.0, BALL_MM, 0.9, "located")
    found = find_site_views(study, {RECESS: lost}, {})
    assert found.names(RECESS) == [AXIAL_T2]
    assert not found.crops(SPEC)
    assert found.errors.keys() == {RECESS}


SEEN = {"crop": vars(SPEC), "slices": "attention", "views": "all"}
OFFSETS = {RECESS: CanalOffset(np.array([8.0, 0, 0]), np.ones(3))}


def graded(study: Study, *models: object) -> pd.DataFrame:
    """Grade a study whose canal and, where it has an axial series, recess are found."""
    sites = {CANAL: at(study, SAGITTAL_T2, BALL_MM - (8, 0, 0))}
    if AXIAL_T2 in study.overviews:
        sites[RECESS] = at(study, AXIAL_T2, BALL_MM)
    pipeline = StudyPipeline([], OFFSETS, {}, list(models), [], IDENTITY)
    rows = pipeline.grade(study, sites, prior_findings([9], uniform(), "not read"))
    rows = rows.findings
    assert tuple(rows) == FINDINGS_COLUMNS
    return rows.set_index(["condition", "level"])


def without_axial(folder: Path) -> Study:
    study = read(folder, SAGITTAL_T1, SAGITTAL_T2)
    del study.overviews[AXIAL_T2]  # read all the same, as its files are there
    study.notes.clear()
    study.read_errors[AXIAL_T2] = "the study has no Axial T2 series"
    return study


def test_findings_name_the_views_that_were_graded(folder: Path) -> None:
    study = read(folder, *SERIES)
    rows = graded(study, fixed(Fixed(0.6, 0.3, 0.1), **SEEN))
    names = [", ".join(SERIES_DESCRIPTIONS)] * 2
    assert rows.loc[[CANAL, RECESS], "views"].tolist() == names
    assert (rows["views"] != "").sum() == 2
    rows = graded(study, fixed(Fixed(0.6, 0.3, 0.1), crop=vars(SPEC)))
    assert rows.loc[[CANAL, RECESS], "views"].tolist() == [SAGITTAL_T2, AXIAL_T2]


def test_a_missing_series_costs_a_view_and_not_the_grade(folder: Path) -> None:
    study = without_axial(folder)
    views, one = Fixed(0.6, 0.3, 0.1), Fixed(0.1, 0.1, 0.8)
    rows = graded(study, fixed(views, **SEEN), fixed(one, crop=vars(SPEC)))
    row = rows.loc[RECESS]
    assert row[["normal_mild", "moderate", "severe"]].tolist() == pytest.approx(
        [0.6, 0.3, 0.1], abs=1e-4
    )
    assert row["source"] == "projected"
    assert row["views"] == "Sagittal T1, Sagittal T2/STIR"
    assert row["reason"] == (
        "the study has no Axial T2 series; graded from Sagittal T1, Sagittal T2/STIR"
    )
    assert row["series_id"] == SERIES[SAGITTAL_T1]
    assert len(one.shown) == 1  # the canal
    assert rows.loc[CANAL, "views"] == "Sagittal T1, Sagittal T2/STIR"
    alone = graded(study, fixed(one, crop=vars(SPEC))).loc[RECESS]
    assert (alone["source"], alone["views"]) == ("prior", "")


def test_a_right_site_is_flipped_in_each_of_its_views() -> None:
    shown = {}
    for side in ("left", "right"):
        predictor = Fixed()
        crops = np.random.default_rng(0).integers(0, 255, (1, 3, 3, 21, 21), np.uint8)
        names = [f"{side}_subarticular_stenosis"]
        fixed(predictor, **SEEN).predict_proba(crops, names)
        shown[side] = predictor.shown[0]
    for view, name in enumerate(SERIES_DESCRIPTIONS):
        left = shown["left"][view]
        flipped = left[..., ::-1] if name == AXIAL_T2 else left[::-1]
        assert (shown["right"][view] == flipped).all()


def test_a_study_is_cut_as_its_cache_was(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    usual = POINTS.iloc[:-1]  # without one that is marked on another series type
    build(images, tmp_path / "cache", points=usual, views="all")
    cache = open_cache(tmp_path / "cache")
    numbers = view_crops(cache, cache.sites["site"])
    compared = 0
    for study_id, rows in cache.sites.groupby("study_id"):
        listed = cache.series[cache.series["study_id"] == study_id]
        study = read_study(images / str(study_id), listed)
        sites = {
            (row.condition, row.level): LocatedSite(
                *(row.series_id, row.instance_number, row.x, row.y),
                *(np.array([row.x_mm, row.y_mm, row.z_mm]), 1.0, "located"),
            )
            for row in rows.itertuples()
        }
        crops = find_site_views(study, sites, {}).crops(cache.spec)
        for row in rows.itertuples():
            found = crops[row.condition, row.level].astype(int)
            for view, number in zip(found, numbers[row.Index], strict=True):
                expected = cache.crops[number] if number >= 0 else np.zeros_like(view)
                # The table rounds points to thousandths of a millimetre.
                assert np.abs(view - expected).max() <= 1
                compared += number >= 0
    assert compared > len(cache.sites)

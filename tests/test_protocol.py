"""The quirks of the real competition: each occurs in a cohort of thirty."""

import numpy as np
import pytest

from src.competition.constants import (
    AXIAL_T2,
    FAMILY_OF,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
)
from src.imaging.overview import FIELD_MM
from src.phantom.anatomy import draw_anatomy
from src.phantom.protocol import ENCODINGS, RLE, Scan, draw_scans
from src.phantom.rater import draw_narrowing
from src.phantom.tissue import STIR, T1, T2


@pytest.fixture(scope="module")
def studies() -> list[list[Scan]]:
    """The scans of thirty studies."""
    plans = []
    for index in range(30):
        rng = np.random.default_rng(100 + index)
        plans.append(draw_scans(rng, draw_anatomy(rng, draw_narrowing(rng)), index))
    return plans


def scans(studies: list[list[Scan]], description: str) -> list[Scan]:
    return [s for study in studies for s in study if s.description == description]


def tilts(scan: Scan) -> int:
    """Count the different orientations in a scan."""
    return len({tuple(np.round(plane.normal, 3)) for plane in scan.planes})


def test_most_studies_have_the_three_types(studies: list[list[Scan]]) -> None:
    complete = [
        {s.description for s in study} == {SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2}
        for study in studies
    ]
    assert sum(complete) == 27


def test_each_type_is_missing_from_some_study(studies: list[list[Scan]]) -> None:
    for description in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2):
        without = [
            all(s.description != description for s in study) for study in studies
        ]
        assert sum(without) == 1


def test_axial_series_are_angled_straight_or_split(studies: list[list[Scan]]) -> None:
    axial = scans(studies, AXIAL_T2)
    assert {1, 5} <= {tilts(scan) for scan in axial}
    counts = [sum(s.description == AXIAL_T2 for s in study) for study in studies]
    assert max(counts) == 2


def test_each_type_is_weighted_as_it_is_called(studies: list[list[Scan]]) -> None:
    weightings = {
        description: {s.contrast.weighting for s in scans(studies, description)}
        for description in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)
    }
    assert weightings == {SAGITTAL_T1: {T1}, SAGITTAL_T2: {T2, STIR}, AXIAL_T2: {T2}}


@pytest.mark.parametrize("seed", range(8))
def test_a_slice_passes_through_every_site_of_its_type(seed: int) -> None:
    rng = np.random.default_rng(seed)
    person = draw_anatomy(rng, draw_narrowing(rng))
    planned = draw_scans(rng, person, 0)
    for site in person.sites.itertuples():
        wanted = SERIES_OF[FAMILY_OF[site.condition]]
        slices = [
            (plane, shape)
            for scan in planned
            if scan.description == wanted
            for plane, shape in zip(scan.planes, scan.shapes, strict=True)
        ]
        point = person.spine.to_patient(np.array([site.a, site.b, site.t]))
        plane, (rows, columns) = min(
            slices, key=lambda one: abs(one[0].distance_mm(point))
        )
        assert abs(plane.distance_mm(point)) < 4
        x, y = share = plane.to_pixel(point) / (columns, rows)
        # Not at the border, where a crop of 50 mm would hang out of the image.
        assert min(x, y) > 1 / 8
        assert max(x, y) < 7 / 8
        # Nor beyond the overview, which is cut around the image's middle.
        distance_mm = (share - 0.5) * (columns, rows) * plane.spacing_mm
        assert np.abs(distance_mm).max() < FIELD_MM[wanted] / 2 - 5


def test_sagittal_slices_run_from_the_patients_right_to_left(
    studies: list[list[Scan]],
) -> None:
    for scan in scans(studies, SAGITTAL_T1) + scans(studies, SAGITTAL_T2):
        x = [plane.position_mm[0] for plane in scan.planes]
        assert x == sorted(x)
        assert 3.5 < np.diff(x).mean() < 5


def test_instance_numbers_ascend_or_descend_with_gaps(
    studies: list[list[Scan]],
) -> None:
    every = [scan for study in studies for scan in study]
    steps = {int(np.diff(scan.numbers)[0]) for scan in every}
    assert min(steps) < -1
    assert max(steps) > 1
    assert {-1, 1} <= steps
    assert all(len(set(scan.numbers)) == len(scan.planes) for scan in every)
    assert max(max(scan.numbers) for scan in every) > 100


def test_every_encoding_bare_files_and_mixed_shapes_occur(
    studies: list[list[Scan]],
) -> None:
    every = [scan for study in studies for scan in study]
    assert {scan.encoding for scan in every} == {*ENCODINGS, RLE}
    assert {scan.bare for scan in every} == {True, False}
    assert any(len(set(scan.shapes)) > 1 for scan in every)
    assert {"t2", "stir"} <= {s.contrast.weighting for s in scans(studies, SAGITTAL_T2)}

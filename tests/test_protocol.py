"""The quirks of the real competition: each occurs in a cohort of thirty."""

import numpy as np
import pytest

from src.competition.vocab import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.phantom.anatomy import draw_anatomy
from src.phantom.protocol import ENCODINGS, RLE, Scan, draw_scans
from src.phantom.reader import draw_narrowing


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


def test_sagittal_slices_run_from_the_patients_right_to_left(
    studies: list[list[Scan]],
) -> None:
    for scan in scans(studies, SAGITTAL_T1) + scans(studies, SAGITTAL_T2):
        x = [plane.position_mm[0] for plane in scan.planes]
        assert x == sorted(x)
        assert 3.5 < np.diff(x).mean() < 5


def test_files_are_numbered_both_ways_and_with_gaps(
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

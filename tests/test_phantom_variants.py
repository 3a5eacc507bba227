"""Anatomy that makes naming levels doubtful: what lies where, and what is in sight."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.competition.constants import AXIAL_T2, LEVELS, SAGITTAL_T2
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import Anatomy, draw_anatomy
from src.phantom.protocol import Scan, draw_scans
from src.phantom.rater import draw_narrowing
from src.phantom.scanner import Contrast, render
from src.phantom.spine import VERTEBRAE
from src.phantom.study import MARGIN_PX, StudyPlan, write_study
from src.phantom.tissue import T2
from src.phantom.variants import VARIANTS, Variant, choose_variants

L5_S1, S1_S2 = VERTEBRAE.index("l5"), VERTEBRAE.index("s1")  # the discs below
SEEDS = range(6)


def person(seed: int, variant: Variant = "usual") -> Anatomy:
    rng = np.random.default_rng(seed)
    return draw_anatomy(rng, draw_narrowing(rng), variant)


def sagittal(seed: int, anatomy: Anatomy) -> Scan:
    scans = draw_scans(np.random.default_rng(seed), anatomy, 0)
    return next(scan for scan in scans if scan.description == SAGITTAL_T2)


def shown_mm(scan: Scan, point: np.ndarray) -> float:
    """How far above the middle slice's lower border a patient point lies."""
    middle = len(scan.planes) // 2
    y = scan.planes[middle].to_pixel(point)[1]
    return float(scan.shapes[middle][0] - y) * scan.planes[middle].spacing_mm[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sagittal_field_ends_between_the_last_site_and_the_sacral_disc(
    seed: int,
) -> None:
    usual = person(seed)
    scan = sagittal(seed, replace(usual, variant="sacrum_out_of_field"))
    sites = usual.sites[["a", "b", "t"]].to_numpy(float)
    lowest = min(shown_mm(scan, usual.spine.to_patient(site)) for site in sites)
    assert MARGIN_PX < lowest < 13
    sacral = usual.spine.to_patient(np.array([0, -10, usual.spine.disc_mm[S1_S2]]))
    assert shown_mm(scan, sacral) < 0
    assert shown_mm(sagittal(seed, usual), sacral) > 0  # usually it is in sight


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sixth_vertebra_lies_between_the_graded_levels_and_the_sacrum(
    seed: int,
) -> None:
    spine = person(seed, "sixth_lumbar").spine
    assert len(spine.disc_mm) == len(VERTEBRAE)
    steps = np.diff(spine.mobile_discs)
    assert len(steps) == 5
    assert 28 < steps.min() <= steps.max() < 48  # as far apart as lumbar levels are
    assert spine.last_disc == L5_S1 + 1
    assert person(seed).spine.last_disc == L5_S1
    assert spine.mobile_discs.tolist() == spine.disc_mm[4:10].tolist()
    # Thick discs down to the sacrum, a thin remnant within.
    heights = spine.disc_height_mm
    assert min(heights[[L5_S1, L5_S1 + 1]]) > 4 > heights[L5_S1 + 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_levels_of_six_vertebrae_are_named_from_above(seed: int) -> None:
    six = person(seed, "sixth_lumbar")
    canal = six.sites[six.sites["condition"] == "spinal_canal_stenosis"]
    assert canal["level"].tolist() == list(LEVELS)
    assert canal["t"].to_numpy() == pytest.approx(six.spine.disc_mm[4:9])
    assert canal["t"].max() < six.spine.disc_mm[six.spine.last_disc] - 28


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sixth_vertebra_is_built_as_lumbar_ones_are(seed: int) -> None:
    six = person(seed, "sixth_lumbar")
    t = six.start_mm + 0.25 * np.arange(len(six.profiles["lumbar"]))
    last, sacral = six.spine.disc_mm[[L5_S1 + 1, L5_S1 + 2]]
    lumbar = six.profiles["lumbar"] > 0
    assert lumbar[t < last].all()
    assert not lumbar[t > sacral].any()
    above = six.profiles["above_sacrum"]
    assert np.interp(last, t, above) == pytest.approx(0, abs=0.3)
    usual = person(seed)
    sizes = usual.profiles["sac_depth"]
    begin = usual.start_mm + 0.25 * np.arange(len(sizes))
    at_usual = np.interp(usual.spine.disc_mm[S1_S2], begin, sizes)
    at_six = np.interp(sacral, t, six.profiles["sac_depth"])
    assert at_six == pytest.approx(at_usual, rel=0.5)  # the sac tapers in the sacrum


@pytest.mark.parametrize("seed", SEEDS)
def test_scans_of_six_vertebrae_reach_the_sacrum(seed: int) -> None:
    six = person(seed, "sixth_lumbar")
    last = six.spine.to_patient(
        np.array([0, 0, six.spine.disc_mm[six.spine.last_disc]])
    )
    scans = draw_scans(np.random.default_rng(seed), six, 0)
    axial = [p for s in scans if s.description == AXIAL_T2 for p in s.planes]
    assert min(abs(plane.distance_mm(last)) for plane in axial) < 4
    assert shown_mm(sagittal(seed, six), last) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disc_within_the_sacrum_is_well_formed(seed: int) -> None:
    heights = person(seed, "s1_s2_disc").spine.disc_height_mm
    assert heights[S1_S2] > 5.5
    assert heights[S1_S2 + 1] < 2
    assert len(heights) == 13


def test_few_usual_people_have_a_disc_within_the_sacrum_and_are_named_for_it() -> None:
    people = [person(seed) for seed in range(100)]
    discs = [each.spine.disc_height_mm[S1_S2] > 5 for each in people]
    assert 1 <= sum(discs) <= 14  # 6 of 100 are expected
    assert [each.variant == "s1_s2_disc" for each in people] == discs
    assert {each.variant for each in people} == {"usual", "s1_s2_disc"}
    for variant in ("sacrum_out_of_field", "sixth_lumbar"):
        found = {person(seed, variant).variant for seed in range(100)}
        assert found == {variant}


def brightness_at(anatomy: Anatomy, t: float) -> float:
    """The mean grey of 4 mm in the middle of the column of bodies, on T2."""
    centre = anatomy.spine.to_patient(np.array([0.0, -14, t]))
    right, down = np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
    corner = centre - 20 * (right + down)
    plane = SliceGeometry(corner, right, down, (0.5, 0.5))
    look = Contrast(T2, 1.0, 0.0, 1e9, 0.3, (0.0, 0.0, 0.0))
    image = render(anatomy, plane, (81, 81), look, np.random.default_rng(0))
    return float(image[36:45, 36:45].mean())


def test_the_image_shows_the_sixth_vertebra_between_two_discs() -> None:
    six = person(1, "sixth_lumbar")
    below_l5, below_l6 = six.spine.disc_mm[[L5_S1, L5_S1 + 1]]
    body = brightness_at(six, (below_l5 + below_l6) / 2)
    usual = person(1)
    marrow = brightness_at(usual, usual.spine.disc_mm[[L5_S1 - 1, L5_S1]].mean())
    assert body == pytest.approx(marrow, rel=0.35)
    for disc in (below_l5, below_l6):
        assert abs(brightness_at(six, disc) - body) > 0.05


def test_a_study_is_of_its_plans_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.phantom.study.render", lambda *_: np.zeros((8, 8)))
    for variant in VARIANTS:
        truth = write_study(StudyPlan(7, 0, 7, 0.5, variant), tmp_path / variant)
        assert truth.variant == variant
        assert set(truth.points["level"]) == set(LEVELS)


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.3, 6), (1, 20)])
def test_variants_come_in_equal_parts(share: float, expected: int) -> None:
    chosen = choose_variants(20, share, np.random.default_rng(0))
    counts = [chosen.count(name) for name in VARIANTS]
    assert sum(counts) == expected == 20 - chosen.count("usual")
    assert max(counts) - min(counts) <= 1
    other = choose_variants(20, share, np.random.default_rng(1))
    assert (other == chosen) == (share == 0)

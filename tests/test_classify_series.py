"""The type of a hospital's series by planes, times and words, and what is left out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.classify_series import SeriesEvidence, classify_series
from src.imaging.series_words import VOCABULARY, tokens_in

NORMALS = {"sag": (1, 0, 0), "cor": (0, 1, 0), "ax": (0, 0, 1)}
T1: dict[str, Any] = {"echo_ms": 10.0, "repetition_ms": 550.0}
T2: dict[str, Any] = {"echo_ms": 102.0, "repetition_ms": 3600.0}
STIR = {"echo_ms": 45.0, "repetition_ms": 4000.0, "inversion_ms": 160.0}


def evidence(plane: str, words: str = "", **facts: Any) -> SeriesEvidence:
    return SeriesEvidence(np.array([NORMALS[plane]] * 12), words=words, **facts)


@pytest.mark.parametrize(
    ("plane", "times", "expected", "contrast"),
    [
        ("sag", T1, SAGITTAL_T1, "T1"),
        ("sag", T2, SAGITTAL_T2, "T2"),
        ("sag", STIR, SAGITTAL_T2, "STIR"),
        ("ax", T2, AXIAL_T2, "T2"),
        ("ax", T1, None, "T1"),
        ("cor", T2, None, "T2"),
        ("sag", {"echo_ms": 30.0, "repetition_ms": 3000.0}, None, "PD"),
        ("sag", {**T2, "inversion_ms": 2300.0}, None, "FLAIR"),
        ("sag", {"echo_ms": 900.0, "repetition_ms": 5000.0}, None, "MR myelogram"),
    ],
)
def test_times_alone_tell_the_type(
    plane: str, times: dict[str, Any], expected: str | None, contrast: str
) -> None:
    found = classify_series(evidence(plane, **times))
    assert (found.description, found.contrast) == (expected, contrast)
    assert found.confidence == "high"
    assert bool(found.reason) is (expected is None)


# Written down before they were tried.
DESCRIPTIONS: list[tuple[str, str, str | None]] = [
    ("sag", "t2_tse_sag_p2", SAGITTAL_T2),
    ("sag", "t1_tse_sag_320", SAGITTAL_T1),
    ("ax", "t2_tse_tra_msma", AXIAL_T2),
    ("sag", "Sag T2 FRFSE", SAGITTAL_T2),
    ("sag", "SAG T1 FSE", SAGITTAL_T1),
    ("ax", "Ax T2 FSE L1-S1", AXIAL_T2),
    ("sag", "T1W_TSE SAG", SAGITTAL_T1),
    ("sag", "T2W_TSE_SAG", SAGITTAL_T2),
    ("sag", "sT1W_TSE_SAG", SAGITTAL_T1),
    ("sag", "STIR_longTE SAG", SAGITTAL_T2),
    ("ax", "T2W_TSE_AX", AXIAL_T2),
    ("cor", "FSE T2 cor", None),
    ("sag", "FSE T2 SAG", SAGITTAL_T2),
    ("sag", "SAG FSE T1WI", SAGITTAL_T1),
    ("ax", "AX T2WI FASE", AXIAL_T2),
    ("sag", "sagT2", SAGITTAL_T2),
    ("ax", "AXT2", AXIAL_T2),
    ("ax", "T2 transversal", AXIAL_T2),
    ("ax", "T2 tra LWS", AXIAL_T2),
    ("sag", "T1 sagittal nativ LWS", SAGITTAL_T1),
    ("sag", "T1 sag ohne KM", SAGITTAL_T1),
    ("sag", "TIRM sagittal fettgesättigt", SAGITTAL_T2),
    ("cor", "T2 koronar STIR", None),
    ("sag", "T2 TSE sagital", SAGITTAL_T2),
    ("sag", "T1 sagital columna lumbar", SAGITTAL_T1),
    ("sag", "T1 sagital sin contraste", SAGITTAL_T1),
    ("ax", "T2 axial lumbar", AXIAL_T2),
    ("sag", "STIR SAGITAL supresión grasa", SAGITTAL_T2),
    ("sag", "coupes sagittales T2", SAGITTAL_T2),
    ("sag", "T1 sagittale rachis lombaire", SAGITTAL_T1),
    ("sag", "T1 sagittal sans injection", SAGITTAL_T1),
    ("ax", "T2 coupes axiales", AXIAL_T2),
    ("sag", "T2 sajital", SAGITTAL_T2),
    ("sag", "T1 sajital lomber", SAGITTAL_T1),
    ("sag", "T1 kontrastsız sajital", SAGITTAL_T1),  # noqa: RUF001
    ("ax", "T2 aksiyel", AXIAL_T2),
    ("sag", "T2 SAG yağ baskılı", SAGITTAL_T2),  # noqa: RUF001
    ("sag", "T2 SPAIR sag", SAGITTAL_T2),
    ("sag", "T2 sag FS", SAGITTAL_T2),
    ("sag", "WATER: Sag T2 IDEAL", SAGITTAL_T2),
    ("sag", "t2_tse_dixon_sag_W", SAGITTAL_T2),
    ("sag", "t2_tse_dixon_sag_F", None),
    ("sag", "T2 mDIXON sag IP", None),
    ("sag", "T2 mDIXON sag OP", None),
    ("sag", "T1 FLAIR sag", SAGITTAL_T1),
    ("sag", "T2 FLAIR sag", None),
    ("sag", "T1 SAG post OP", SAGITTAL_T1),
    ("sag", "L SPINE W/WO sag T1", SAGITTAL_T1),
    ("sag", "T1 fs sag KM", None),
    ("ax", "T1 tra", None),
    ("sag", "DP fat sat sag", None),
    ("sag", "Localizer", None),
    ("sag", "3-plane loc", None),
    ("sag", "SURVEY", None),
    ("sag", "Scout sag T2", None),
    ("sag", "Lokalizer", None),
    ("sag", "Lokalizör", None),
    ("sag", "Übersicht", None),
    ("sag", "Vorschau", None),
    ("sag", "repérage", None),
    ("sag", "LOCALIZADOR", None),
    ("sag", "topogram", None),
    ("ax", "DWI tra", None),
    ("ax", "ep2d_diff_b50_800_ADC", None),
    ("sag", "difüzyon sajital", None),
    ("ax", "Difusión axial", None),
    ("sag", "MRM myelo", None),
    ("sag", "T2 sag MIP", None),
    ("ax", "T2 tra MPR", None),
    ("sag", "T1 sag sub", None),
    ("sag", "key images", None),
    ("sag", "T2 tse sag HWS", None),
    ("sag", "T2 sag C2-T2", SAGITTAL_T2),
    ("sag", "sag T1-T12", None),
    ("ax", "t2_me2d_tra MEDIC", AXIAL_T2),
    ("ax", "Ax T2* MERGE", AXIAL_T2),
]


@pytest.mark.parametrize(("plane", "words", "expected"), DESCRIPTIONS)
def test_words_alone_tell_the_type_and_never_surely(
    plane: str, words: str, expected: str | None
) -> None:
    found = classify_series(evidence(plane, words))
    assert found.description == expected
    assert found.confidence != "high"
    assert expected or found.reason


def test_times_and_words_that_agree_are_sure() -> None:
    found = classify_series(evidence("sag", "Sag T2 FRFSE", **T2))
    assert (found.description, found.confidence) == (SAGITTAL_T2, "high")
    assert found.reason == ""


@pytest.mark.parametrize(
    ("words", "times", "expected", "said"),
    [
        ("T1 sag", T2, SAGITTAL_T2, ("T1", "T2")),
        ("T2 sag", T1, SAGITTAL_T1, ("T1", "T2")),
        ("STIR sag", T1, SAGITTAL_T1, ("T1", "STIR")),
        ("T1 and T2 sag", T2, SAGITTAL_T2, ("T1", "T2")),
        ("T2 axial", T2, SAGITTAL_T2, ("sagittal", "axial")),
        ("PD sag", T2, SAGITTAL_T2, ("PD", "T2")),
    ],
)
def test_a_contradiction_is_told_and_the_header_decides(
    words: str, times: dict[str, Any], expected: str, said: tuple[str, str]
) -> None:
    found = classify_series(evidence("sag", words, **times))
    assert (found.description, found.confidence) == (expected, "low")
    assert all(name in found.reason for name in said)


@pytest.mark.parametrize(
    ("echo", "repetition", "expected"),
    [(50.0, 3000.0, SAGITTAL_T2), (35.0, 600.0, SAGITTAL_T1)],
)
def test_times_near_a_bound_are_half_sure(
    echo: float, repetition: float, expected: str
) -> None:
    found = classify_series(evidence("sag", echo_ms=echo, repetition_ms=repetition))
    assert (found.description, found.confidence) == (expected, "medium")


def test_nothing_known_is_no_type_but_an_axial_is_assumed_a_t2() -> None:
    blank = classify_series(evidence("sag"))
    assert (blank.description, bool(blank.reason)) == (None, True)
    axial = classify_series(evidence("ax"))
    assert (axial.description, axial.confidence) == (AXIAL_T2, "low")
    assert "taken as T2" in axial.reason


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE")}, "diffusion"),
        ({"image_type": ("DERIVED", "PRIMARY", "ADC")}, "diffusion"),
        ({"scanning_sequence": "EP"}, "diffusion"),
        ({"scanning_sequence": "['SE', 'EP']"}, "diffusion"),
        ({"image_type": ("DERIVED", "SECONDARY", "PROJECTION IMAGE")}, "projection"),
        ({"image_type": ("DERIVED", "SECONDARY", "SCREEN SAVE")}, "screen capture"),
        ({"image_type": ("DERIVED", "PRIMARY", "FAT")}, "fat image"),
        ({"image_type": ("DERIVED", "PRIMARY", "FAT_FRACTION")}, "fat fraction"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "OPP_PHASE")}, "opposed-phase"),
    ],
)
def test_a_header_that_names_another_image_leaves_it_out(
    facts: dict[str, Any], named: str
) -> None:
    found = classify_series(evidence("sag", "T2 sag", **T2, **facts))
    assert (found.description, found.confidence) == (None, "high")
    assert named in found.reason


def test_slices_in_several_planes_are_a_localizer() -> None:
    normals = np.array([*NORMALS.values()] * 3)
    found = classify_series(SeriesEvidence(normals, words="T2", **T2))
    assert (found.description, found.contrast) == (None, "localizer")


def test_t1_after_a_contrast_agent_is_a_doubtful_t1() -> None:
    by_word = classify_series(evidence("sag", "T1 sag + C", **T1))
    by_tag = classify_series(evidence("sag", "T1 sag", **T1, contrast_agent=True))
    for found in (by_word, by_tag):
        assert (found.description, found.confidence) == (SAGITTAL_T1, "low")
        assert "contrast agent" in found.reason


def test_a_gradient_echo_is_doubtful_or_left_out() -> None:
    short: dict[str, Any] = {
        "echo_ms": 4.0,
        "repetition_ms": 500.0,
        "scanning_sequence": "GR",
    }
    assert classify_series(evidence("ax", **short)).description is None
    long = {**short, "echo_ms": 14.0}
    found = classify_series(evidence("ax", **long))
    assert (found.description, found.confidence) == (AXIAL_T2, "low")
    assert "gradient echo" in found.reason


def test_an_oblique_stack_has_the_plane_of_its_words_in_doubt() -> None:
    normals = np.array([[0.7071, 0, 0.7071]] * 9)
    found = classify_series(SeriesEvidence(normals, words="Ax T2", **T2))
    assert (found.description, found.confidence) == (AXIAL_T2, "low")
    none = classify_series(SeriesEvidence(np.empty((0, 3)), **T2))
    assert none.description is None


@pytest.mark.parametrize(
    "words",
    ["Axmann", "Sagan", "Corbett", "Locke", "Dwight", "Tralles", "Stirling", "Subotic"],
)
def test_a_surname_is_neither_token_nor_type(words: str) -> None:
    found = classify_series(evidence("sag", words))
    assert (found.description, found.tokens) == (None, ())
    assert words not in found.reason


@pytest.mark.parametrize(
    "odd", [-5.0, 0.0, float("nan"), float("inf"), 1e30, "x", b"\xff"]
)
def test_an_impossible_time_counts_as_missing(odd: Any) -> None:
    found = classify_series(evidence("sag", "T1", echo_ms=odd, repetition_ms=odd))
    assert (found.description, found.confidence) == (SAGITTAL_T1, "medium")


@given(st.text(), st.sampled_from(["sag", "cor", "ax"]))
def test_no_text_breaks_it_or_gets_out(text: str, plane: str) -> None:
    found = classify_series(evidence(plane, text))
    assert found.tokens == tokens_in(text)
    assert set(found.tokens) <= set(VOCABULARY)


@given(st.lists(st.sampled_from(sorted(VOCABULARY))))
def test_the_tokens_are_in_the_vocabularys_order(names: list[str]) -> None:
    found = tokens_in(" ".join(names))
    assert list(found) == [token for token in VOCABULARY if token in found]


@pytest.mark.parametrize(
    "words",
    ["T1 sag ohne KM", "T1 sag w/o contrast", "T1 sin contraste", "T1 sans injection"],
)
def test_a_contrast_agent_that_was_not_given_raises_no_doubt(words: str) -> None:
    found = classify_series(evidence("sag", words, **T1))
    assert (found.confidence, found.reason) == ("high", "")
    assert "contrast-agent" not in found.tokens


@pytest.mark.parametrize("words", ["sag t1 +gd", "t1 sag+gd", "t1_tse_sag+c"])
def test_an_agent_behind_a_plus_is_seen(words: str) -> None:
    found = classify_series(SeriesEvidence(np.eye(3)[[0, 0, 0]], 12, 500, words=words))
    assert "contrast-agent" in found.tokens
    assert found.confidence == "low"

"""The competition's words."""

import pytest

from src.competition import constants


def test_targets_are_the_25_columns_in_alphabetical_order() -> None:
    assert len(set(constants.TARGETS)) == 25
    assert list(constants.TARGETS) == sorted(constants.TARGETS)
    assert constants.TARGETS[0] == "left_neural_foraminal_narrowing_l1_l2"
    assert constants.TARGETS[-1] == "spinal_canal_stenosis_l5_s1"


def test_each_condition_belongs_to_one_family_and_its_series() -> None:
    assert sum(len(names) for names in constants.FAMILIES.values()) == 5
    kinds = {
        name: constants.SERIES_OF[constants.FAMILY_OF[name]]
        for name in constants.CONDITIONS
    }
    assert kinds == {
        "left_neural_foraminal_narrowing": "Sagittal T1",
        "left_subarticular_stenosis": "Axial T2",
        "right_neural_foraminal_narrowing": "Sagittal T1",
        "right_subarticular_stenosis": "Axial T2",
        "spinal_canal_stenosis": "Sagittal T2/STIR",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("L4/L5", "l4_l5"),
        ("Normal/Mild", "normal_mild"),
        ("Spinal Canal Stenosis", "spinal_canal_stenosis"),
        (" left_subarticular_stenosis ", "left_subarticular_stenosis"),
    ],
)
def test_token_gives_the_submissions_spelling(words: str, expected: str) -> None:
    assert constants.normalise(words) == expected


def test_mirroring_swaps_sides_twice_and_leaves_the_canal() -> None:
    assert (
        constants.swap_side("left_subarticular_stenosis")
        == "right_subarticular_stenosis"
    )
    assert constants.swap_side(constants.SPINAL) == constants.SPINAL
    mirrored = [constants.swap_side(name) for name in constants.CONDITIONS]
    assert sorted(mirrored) == sorted(constants.CONDITIONS)
    assert [constants.swap_side(name) for name in mirrored] == list(
        constants.CONDITIONS
    )


@pytest.mark.parametrize("condition", constants.CONDITIONS)
def test_a_mirrored_condition_stays_in_its_family(condition: str) -> None:
    assert (
        constants.FAMILY_OF[constants.swap_side(condition)]
        == constants.FAMILY_OF[condition]
    )

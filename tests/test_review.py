"""Findings marked for review: which, how many, and what each is expected to cost."""

import numpy as np
import pandas as pd
import pytest

from src.competition.constants import SEVERITIES, SPINAL
from src.inference.review import expected_losses, mark_for_review

LEFT = "left_subarticular_stenosis"
LN2, LN4 = np.log(2), np.log(4)


def findings(*rows: tuple[str, tuple[float, float, float], float]) -> pd.DataFrame:
    """Lay out condition, answer and wrong_probability."""
    table = pd.DataFrame([answer for _, answer, _ in rows], columns=list(SEVERITIES))
    return table.assign(
        condition=[condition for condition, _, _ in rows],
        wrong_probability=[wrong for _, _, wrong in rows],
        review=0,
    )


def test_the_expected_loss_is_the_weighted_log_loss_by_what_is_believed() -> None:
    table = findings(
        (SPINAL, (0.5, 0.25, 0.25), 0.4),
        (LEFT, (0.5, 0.25, 0.25), 0.4),
        (SPINAL, (0.25, 0.25, 0.5), 0.5),
    )
    # .4 falls to moderate and severe as 1/4 / 2 to 1/4 / 4: as 2 to 1.
    first = 0.6 * LN2 + 0.4 * (2 / 3 * 2 + 1 / 3 * 4) * LN4
    # .5 falls to normal and moderate as 1/4 to 1/4 / 2: as 2 to 1.
    third = 0.5 * 4 * LN2 + 0.5 * (2 / 3 * 1 + 1 / 3 * 2) * LN4
    # The canal has half as many rows as the recesses, and its mean counts as much.
    assert expected_losses(table) == pytest.approx([first, first / 2, third])


def test_certain_answers_have_a_finite_expected_loss() -> None:
    table = findings((SPINAL, (1.0, 0.0, 0.0), 0.0), (SPINAL, (1.0, 0.0, 0.0), 0.5))
    sure, doubted = expected_losses(table)
    assert sure == pytest.approx(0, abs=1e-9)
    assert np.isfinite(doubted)
    assert doubted > 1


def test_a_likely_severe_finding_comes_before_a_doubtful_mild_one() -> None:
    table = findings((SPINAL, (0.8, 0.1, 0.1), 0.1), (SPINAL, (0.4, 0.3, 0.3), 0.36))
    assert mark_for_review(table, 0.5)["review"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("share", "count"), [(0.01, 1), (0.07, 7), (0.071, 8), (0.5, 50), (1.0, 100)]
)
def test_a_share_is_rounded_up_to_whole_findings(share: float, count: int) -> None:
    wrong = np.random.default_rng(0).permutation(100) / 200
    table = findings(*((SPINAL, (0.6, 0.2, 0.2), each) for each in wrong))
    marked = mark_for_review(table, share)["review"]
    assert marked.dtype == np.int64
    assert marked.sum() == count
    assert wrong[marked == 1].min() == np.sort(wrong)[-count]
    assert table["review"].sum() == 0  # the table given stays


def test_equal_findings_are_marked_in_their_order() -> None:
    table = findings(*[(SPINAL, (0.6, 0.2, 0.2), 0.3)] * 4)
    assert mark_for_review(table, 0.5)["review"].tolist() == [1, 1, 0, 0]


def test_findings_can_be_ranked_by_another_number() -> None:
    table = findings(*[(SPINAL, (0.6, 0.2, 0.2), 0.3)] * 3)
    marked = mark_for_review(table, 0.3, lambda rows: np.array([1.0, 3.0, 2.0]))
    assert marked["review"].tolist() == [0, 1, 0]

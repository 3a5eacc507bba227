"""Paired differences: by hand, their coverage, and what they take for shown."""

import time

import numpy as np
import pytest

from src.classification.paired_bootstrap import StudySums, paired_differences


def accuracies(*correct: np.ndarray) -> StudySums:
    """Entries' answers [studies, rows], right or wrong, as sums by study."""
    rows = np.full((len(correct[0]), 1), correct[0].shape[1], float)
    return StudySums(np.stack([each.sum(axis=1) for each in correct])[..., None], rows)


def test_two_studies_worked_out_by_hand() -> None:
    # The first study has one row, the second three. Differences: 1 of 1, and 0 of 3.
    sums = StudySums(
        np.array([[[1.0], [2.0]], [[0.0], [2.0]]]), np.array([[1.0], [3.0]])
    )
    assert sums.figures == pytest.approx([3 / 4, 2 / 4])
    [pair] = paired_differences(sums, resamples=100_000)
    assert (pair.first, pair.second, pair.value) == (0, 1, pytest.approx(1 / 4))
    # Of the four equally frequent draws one has a difference of 1, two of 1/4, one of
    # 0: off by 3/4, 0 and 1/4. The standardized deviation's 95 % quantile is that of
    # 3/4 itself, so the half width is 3/4 times the factor for two studies.
    factor = np.sqrt(2) * 12.7062 / 1.95996
    assert pair.high - pair.value == pytest.approx(3 / 4 * factor, rel=1e-4)
    assert pair.value - pair.low == pytest.approx(3 / 4 * factor, rel=1e-4)


def test_a_figure_is_the_mean_of_its_terms() -> None:
    totals = np.array([[[1.0, 0.0], [3.0, 2.0]]])
    sums = StudySums(totals, np.array([[2.0, 0.0], [6.0, 5.0]]))
    assert sums.figures == pytest.approx([(4 / 8 + 2 / 5) / 2])
    counts = np.array([[2.0, 1.0], [2.0, 0.0]])  # the second lacks a term: skipped
    expected = [(5 / 10 + 2 / 5) / 2]
    assert sums.resampled(counts)[:, 0] == pytest.approx(expected)


def test_identical_entries_differ_by_nothing_and_widen_no_other_interval() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 50, 10)) < 0.8
    same, *_, last = paired_differences(accuracies(one, one, other))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero
    [alone] = paired_differences(accuracies(one, other))
    assert (last.low, last.high) == pytest.approx((alone.low, alone.high))


def test_sums_that_differ_by_rounding_are_no_difference() -> None:
    totals = np.array([[[0.1 + 0.2]] * 20, [[0.3]] * 20])  # 0.1 + 0.2 > 0.3 by 6e-17
    [pair] = paired_differences(StudySums(totals, np.ones((20, 1))))
    assert not pair.excludes_zero


def clustered(rng: np.random.Generator, studies: int, skill: float) -> np.ndarray:
    """Answers whose skill swings from study to study, ten rows each."""
    swing = rng.normal(0, 0.12, (studies, 1))
    return rng.random((studies, 10)) < np.clip(skill + swing, 0, 1)


@pytest.mark.parametrize("studies", [15, 60])
def test_the_interval_covers_the_truth_where_a_studys_rows_err_together(
    studies: int,
) -> None:
    rng = np.random.default_rng(studies)
    truth = 0.05  # 0.75 - 0.7; clipping at 0 and 1 is rare
    covered, by_rows = [], []
    for _ in range(600):
        one, other = clustered(rng, studies, 0.75), clustered(rng, studies, 0.7)
        [pair] = paired_differences(accuracies(one, other), resamples=300)
        covered.append(pair.low <= truth <= pair.high)
        # Single rows instead of studies, by the normal approximation: too narrow.
        rows = (one.astype(float) - other).ravel()
        naive = 1.96 * rows.std(ddof=1) / np.sqrt(rows.size)
        by_rows.append(abs(rows.mean() - truth) <= naive)
    assert 0.925 < np.mean(covered) < 0.975
    assert np.mean(by_rows) < 0.91


def test_all_pairs_at_once_hold_their_truth_in_95_per_cent() -> None:
    rng = np.random.default_rng(1)
    wrong = alone = 0
    for _ in range(400):
        entries = [clustered(rng, 40, 0.7) for _ in range(5)]
        wrong += any(
            pair.excludes_zero
            for pair in paired_differences(accuracies(*entries), resamples=300)
        )
        alone += any(
            pair.excludes_zero
            for other in range(1, 5)
            for pair in paired_differences(
                accuracies(entries[0], entries[other]), resamples=300
            )
        )
    assert 0.025 < wrong / 400 < 0.08
    assert alone / 400 > 0.09  # each pair by itself: more false findings


def test_a_planted_difference_is_shown_and_one_within_noise_is_not() -> None:
    rng = np.random.default_rng(2)
    best = clustered(rng, 100, 0.8)
    flip = rng.random(best.shape)
    close = best ^ (flip < np.where(best, 0.01, 0.04))  # as many lost as gained
    worse = best ^ (flip > 0.9)
    pairs = paired_differences(accuracies(best, close, worse))
    shown = {(p.first, p.second): p.excludes_zero for p in pairs}
    assert shown == {(0, 1): False, (0, 2): True, (1, 2): True}


def test_a_studys_difficulty_cancels_in_a_pair() -> None:
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0.6, 0.3, (100, 1))
    draw = rng.random((100, 10))
    one, other = draw < difficulty, draw < difficulty - 0.06
    [pair] = paired_differences(accuracies(one, other))
    apart = one.mean(axis=1).std(ddof=1) / np.sqrt(100)  # of one entry's accuracy
    assert pair.excludes_zero
    assert pair.high - pair.low < 2 * 1.96 * apart / 2


def test_six_backbones_on_2000_studies_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(4)
    sums = StudySums(rng.random((6, 2000, 4)), 1 + rng.random((2000, 4)))
    start = time.process_time()
    assert len(paired_differences(sums)) == 15
    assert time.process_time() - start < 2

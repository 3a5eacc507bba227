"""Answers without images, against entropies worked out from counts."""

from math import log

import numpy as np
import pandas as pd
import pytest

from src.competition import prior
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES
from src.errors import UserError

WEIGHT = {"normal_mild": 1, "moderate": 2, "severe": 4}
FAMILY = {
    condition: word
    for condition in CONDITIONS
    for word in ("spinal", "foraminal", "subarticular")
    if word in condition
}


def random_labels(seed: int, studies: int = 40) -> pd.DataFrame:
    """Make labels whose shares differ by condition and level, one in ten missing."""
    random = np.random.default_rng(seed)
    choices = np.array([*SEVERITIES, None], dtype=object)
    rows = []
    for condition in CONDITIONS:
        for level in LEVELS:
            shares = [*(0.9 * random.dirichlet([9, 4, 3])), 0.1]
            drawn = random.choice(choices, studies, p=shares)
            rows += [(i + 1, condition, level, s) for i, s in enumerate(drawn)]
    return pd.DataFrame(rows, columns=["study_id", "condition", "level", "severity"])


def labels_of(*rows: tuple[int, str, str, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["study_id", "condition", "level", "severity"])


def weights_by(labels: pd.DataFrame, *keys: str) -> dict[tuple[str, ...], np.ndarray]:
    """Sum weights by hand: {(family[, level]): [normal_mild, moderate, severe]}."""
    sums: dict[tuple[str, ...], np.ndarray] = {}
    for row in labels.dropna(subset="severity").to_dict("records"):
        row["family"] = FAMILY[row["condition"]]
        cell = sums.setdefault(tuple(row[key] for key in keys), np.zeros(3))
        cell[SEVERITIES.index(row["severity"])] += WEIGHT[row["severity"]]
    return sums


def cross_entropy(weights: np.ndarray, shares: np.ndarray) -> float:
    seen = weights > 0
    return float(-(weights[seen] * np.log(shares[seen])).sum())


def any_severe(labels: pd.DataFrame, severe: dict[str, float]) -> float:
    """Work out the fourth term by hand; severe: the constant of each spinal level."""
    total = loss = 0.0
    spinal = labels[labels["condition"].str.startswith("spinal")].dropna()
    for _, rows in spinal.groupby("study_id"):
        weight = max(WEIGHT[severity] for severity in rows["severity"])
        probability = max(severe[level] for level in rows["level"])
        loss -= weight * log(probability if weight == 4 else 1 - probability)
        total += weight
    return loss / total


def constant_terms(labels: pd.DataFrame, shares: np.ndarray) -> list[float]:
    sums = weights_by(labels, "family")
    terms = [
        cross_entropy(sums[name,], shares) / sums[name,].sum()
        for name in ("spinal", "foraminal", "subarticular")
    ]
    return [*terms, any_severe(labels, dict.fromkeys(LEVELS, shares[2]))]


def parts(floor: prior.Score) -> list[float]:
    return list(floor.to_dict().values())


# The four constants, each on the labels it is made from


@pytest.mark.parametrize("seed", range(3))
def test_thirds_cost_ln_3_and_a_binary_term(seed: int) -> None:
    labels = random_labels(seed)
    spinal = labels[labels["condition"].str.startswith("spinal")].dropna()
    worst = spinal["severity"].map(WEIGHT).groupby(spinal["study_id"]).max()
    binary = (worst[worst == 4].sum() * log(3) + worst[worst < 4].sum() * log(1.5)) / (
        worst.sum()
    )
    floor = parts(prior.floors(labels)["uniform"])
    expected = [(3 * log(3) + binary) / 4, log(3), log(3), log(3), binary]
    assert floor == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_raw_shares_cost_their_weighted_cross_entropy(seed: int) -> None:
    labels = random_labels(seed)
    counts = labels["severity"].value_counts()
    shares = np.array([counts[name] for name in SEVERITIES]) / counts.sum()
    terms = constant_terms(labels, shares)
    floor = parts(prior.floors(labels)["class_frequencies"])
    assert floor == pytest.approx([sum(terms) / 4, *terms], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_shares_cost_their_weighted_cross_entropy(seed: int) -> None:
    labels = random_labels(seed)
    weights = weights_by(labels)[()]
    terms = constant_terms(labels, weights / weights.sum())
    floor = parts(prior.floors(labels)["weighted_shares"])
    assert floor == pytest.approx([sum(terms) / 4, *terms], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_shares_by_level_cost_the_entropy_of_each_level(seed: int) -> None:
    labels = random_labels(seed)
    cells = weights_by(labels, "family", "level")
    terms = []
    for name in ("spinal", "foraminal", "subarticular"):
        here = [cells[name, level] for level in LEVELS]
        entropies = [cross_entropy(cell, cell / cell.sum()) for cell in here]
        terms.append(sum(entropies) / sum(cell.sum() for cell in here))
    severe = {level: cells["spinal", level] for level in LEVELS}
    terms.append(any_severe(labels, {k: w[2] / w.sum() for k, w in severe.items()}))
    floor = parts(prior.floors(labels)["weighted_shares_by_level"])
    assert floor == pytest.approx([sum(terms) / 4, *terms], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_floors_rank_as_on_the_competitions_labels(seed: int) -> None:
    floors = prior.floors(random_labels(seed, studies=200))
    by_level, overall = floors["weighted_shares_by_level"], floors["weighted_shares"]
    assert by_level.spinal < overall.spinal < floors["class_frequencies"].spinal
    assert overall.score < floors["uniform"].score


# Their tables


def test_every_prior_has_25_rows_that_sum_to_one() -> None:
    labels = random_labels(0)
    for table in (
        prior.uniform(),
        prior.class_frequencies(labels),
        prior.weighted_shares(labels),
        prior.weighted_shares_by_level(labels),
        prior.smoothed_prior(labels),
    ):
        assert list(table.columns) == ["condition", "level", *SEVERITIES]
        assert len(set(zip(table["condition"], table["level"], strict=True))) == 25
        np.testing.assert_allclose(table[list(SEVERITIES)].sum(axis=1), 1, atol=1e-12)


SMALL = labels_of(
    (1, "left_subarticular_stenosis", "l4_l5", "normal_mild"),
    (1, "right_subarticular_stenosis", "l4_l5", "severe"),
    (2, "right_subarticular_stenosis", "l4_l5", "moderate"),
    (2, "spinal_canal_stenosis", "l1_l2", "normal_mild"),
    (2, "spinal_canal_stenosis", "l2_l3", None),
)


def shares_at(table: pd.DataFrame, condition: str, level: str) -> list[float]:
    place = (table["condition"] == condition) & (table["level"] == level)
    return table.loc[place, list(SEVERITIES)].to_numpy()[0].tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_both_sides_share_one_row_of_weights(side: str) -> None:
    table = prior.weighted_shares_by_level(SMALL)
    shares = shares_at(table, f"{side}_subarticular_stenosis", "l4_l5")
    assert shares == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=1e-15)


@pytest.mark.parametrize(
    ("condition", "level"),
    [("spinal_canal_stenosis", "l2_l3"), ("left_neural_foraminal_narrowing", "l4_l5")],
)
def test_a_target_without_labels_gets_the_overall_shares(
    condition: str, level: str
) -> None:
    shares = shares_at(prior.weighted_shares_by_level(SMALL), condition, level)
    assert shares == pytest.approx([2 / 8, 2 / 8, 4 / 8], abs=1e-15)


def test_raw_shares_count_each_label_once() -> None:
    shares = shares_at(prior.class_frequencies(SMALL), "spinal_canal_stenosis", "l1_l2")
    assert shares == [0.5, 0.25, 0.25]


def test_the_fallback_borrows_one_row() -> None:
    overall = np.array([2 + 1 / 3, 2 + 1 / 3, 4 + 1 / 3]) / 9
    shares = shares_at(prior.smoothed_prior(SMALL), "spinal_canal_stenosis", "l1_l2")
    expected = ((np.array([1, 0, 0]) + overall) / 2).tolist()
    assert shares == pytest.approx(expected, abs=1e-15)


def test_the_fallback_calls_nothing_impossible() -> None:
    labels = labels_of((1, "spinal_canal_stenosis", "l1_l2", "normal_mild"))
    assert (prior.smoothed_prior(labels)[list(SEVERITIES)] > 0.05).all(axis=None)


def test_borrowing_fades_in_a_large_cohort() -> None:
    labels = pd.concat([random_labels(0)] * 50)
    exact = prior.weighted_shares_by_level(labels)[list(SEVERITIES)]
    borrowed = prior.smoothed_prior(labels)[list(SEVERITIES)]
    np.testing.assert_allclose(borrowed, exact, atol=5e-4)


def test_the_floor_on_other_labels_uses_the_first_ones_shares() -> None:
    labels, truth = random_labels(0), random_labels(1)
    cells = weights_by(labels, "family", "level")
    overall = (weights_by(labels)[()] + 1 / 3) / (weights_by(labels)[()].sum() + 1)
    loss = total = 0.0
    for level in LEVELS:
        shares = cells["foraminal", level] + overall
        loss += cross_entropy(
            weights_by(truth, "family", "level")["foraminal", level],
            shares / shares.sum(),
        )
        total += weights_by(truth, "family", "level")["foraminal", level].sum()
    assert prior.floor(labels, truth).foraminal == pytest.approx(
        loss / total, abs=1e-12
    )


def test_labels_without_a_severity_have_no_shares() -> None:
    labels = labels_of((1, "spinal_canal_stenosis", "l1_l2", None))
    with pytest.raises(UserError, match="name no severity"):
        prior.weighted_shares(labels)

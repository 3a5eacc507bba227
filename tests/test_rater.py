"""The planted severities: shares like the real ones, and what could be known best."""

import numpy as np
import pandas as pd
import pytest

from src.competition.constants import FAMILY_OF, LEVELS, SEVERITIES, SEVERITY_WEIGHTS
from src.phantom.rater import (
    LEVEL_SHARE,
    MODERATE_PERCENT,
    SEVERE_PERCENT,
    STUDY_SHARE,
    draw_narrowing,
    draw_severity,
    ideal_probabilities,
    severity_probabilities,
)


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Sites of 1,500 studies with their labels."""
    rng = np.random.default_rng(5)
    sites = pd.concat(
        [draw_narrowing(rng).assign(study_id=study) for study in range(1500)]
    )
    sites["severity"] = draw_severity(sites["narrowing"].to_numpy(), rng)
    sites["family"] = sites["condition"].map(FAMILY_OF)
    return sites


def test_all_shares_are_near_the_competitions(many: pd.DataFrame) -> None:
    shares = many["severity"].value_counts(normalize=True)
    # 77.4, 16.3 and 6.3 % of the competition's 48,803 labels.
    assert shares[list(SEVERITIES)].to_numpy() == pytest.approx(
        [0.774, 0.163, 0.063], abs=0.015
    )


@pytest.mark.parametrize("family", MODERATE_PERCENT)
def test_each_family_and_level_has_its_stated_shares(
    many: pd.DataFrame, family: str
) -> None:
    for index, level in enumerate(LEVELS):
        here = many[(many["family"] == family) & (many["level"] == level)]
        severe = (here["severity"] == "severe").mean()
        abnormal = (here["severity"] != "normal_mild").mean()
        wanted = SEVERE_PERCENT[family][index] / 100
        assert severe == pytest.approx(wanted, abs=0.025)
        wanted += MODERATE_PERCENT[family][index] / 100
        assert abnormal == pytest.approx(wanted, abs=0.04)


def test_studies_with_a_severe_canal_are_as_common(many: pd.DataFrame) -> None:
    spinal = many[many["family"] == "spinal"]
    severe = (spinal["severity"] == "severe").groupby(spinal["study_id"]).any()
    assert severe.mean() == pytest.approx(0.185, abs=0.04)  # the competition's share


@pytest.mark.parametrize(
    ("condition", "level", "shared"),
    [
        ("right_subarticular_stenosis", "l4_l5", STUDY_SHARE + LEVEL_SHARE),
        ("left_subarticular_stenosis", "l3_l4", STUDY_SHARE),
        ("right_subarticular_stenosis", "l3_l4", STUDY_SHARE),
    ],
    ids=["the other side", "another level", "both"],
)
def test_sites_share_what_their_study_and_level_do(
    many: pd.DataFrame, condition: str, level: str, shared: float
) -> None:
    table = many.pivot(
        index="study_id", columns=["condition", "level"], values="narrowing"
    )
    here = table["left_subarticular_stenosis", "l4_l5"]
    assert here.corr(table[condition, level]) == pytest.approx(shared, abs=0.06)


@pytest.mark.parametrize("narrowing", [0.0, 0.35, 0.4, 0.55, 0.7, 1.0])
def test_chances_are_those_of_many_readers(narrowing: float) -> None:
    rng = np.random.default_rng(1)
    called = pd.Series(draw_severity(np.full(40_000, narrowing), rng))
    shares = called.value_counts(normalize=True).reindex(SEVERITIES, fill_value=0)
    assert severity_probabilities(np.array([narrowing]))[0] == pytest.approx(
        shares, abs=0.01
    )


def test_no_other_prediction_has_less_expected_loss() -> None:
    narrowing = np.linspace(0, 1, 41)
    weighted = severity_probabilities(narrowing) * SEVERITY_WEIGHTS

    def expected(predicted: np.ndarray) -> np.ndarray:
        return -(weighted * np.log(np.clip(predicted, 1e-15, 1))).sum(axis=1)

    best = expected(ideal_probabilities(narrowing))
    rng = np.random.default_rng(2)
    for _ in range(300):
        other = ideal_probabilities(narrowing) * np.exp(rng.normal(0, 0.3, (41, 3)))
        other /= other.sum(axis=1, keepdims=True)
        assert (expected(other) >= best - 1e-9).all()

"""The competition's score against arithmetic by hand and against scikit-learn."""

from collections.abc import Iterable
from math import log

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES
from src.competition.metric import TERMS, Score, score, study_losses
from src.errors import UserError

Row = tuple[int, str, str, str | None, tuple[float, float, float]]

# Study 1's spinal rows weigh 1 and 2, study 2's 1 only, study 3's 4 and 1.
ROWS: list[Row] = [
    (1, "spinal_canal_stenosis", "l1_l2", "normal_mild", (0.70, 0.20, 0.10)),
    (1, "spinal_canal_stenosis", "l4_l5", "moderate", (0.30, 0.50, 0.20)),
    (1, "spinal_canal_stenosis", "l5_s1", None, (0.05, 0.05, 0.90)),
    (2, "spinal_canal_stenosis", "l1_l2", "normal_mild", (0.80, 0.15, 0.05)),
    (3, "spinal_canal_stenosis", "l4_l5", "severe", (0.10, 0.30, 0.60)),
    (3, "spinal_canal_stenosis", "l5_s1", "normal_mild", (0.10, 0.25, 0.65)),
    (1, "left_neural_foraminal_narrowing", "l1_l2", "normal_mild", (0.90, 0.06, 0.04)),
    (1, "right_neural_foraminal_narrowing", "l5_s1", "severe", (0.25, 0.50, 0.25)),
    (2, "left_subarticular_stenosis", "l3_l4", "moderate", (0.20, 0.40, 0.40)),
    (3, "right_subarticular_stenosis", "l2_l3", "severe", (0.25, 0.25, 0.50)),
    (3, "right_subarticular_stenosis", "l3_l4", None, (0.25, 0.25, 0.50)),
]


def tables(rows: Iterable[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the truth and the submission of these rows."""
    names = ["study_id", "condition", "level", "severity"]
    truth = pd.DataFrame([row[:4] for row in rows], columns=names)
    answers = pd.DataFrame([row[4] for row in rows], columns=list(SEVERITIES))
    answers.insert(0, "row_id", [f"{s}_{c}_{level}" for s, c, level, *_ in rows])
    return truth, answers


def random_tables(seed: int, studies: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make random labels, one in ten missing, and random answers."""
    random = np.random.default_rng(seed)
    choices = [*SEVERITIES, None]
    rows: list[Row] = []
    for study in range(1, studies + 1):
        for condition in CONDITIONS:
            for level in LEVELS:
                severity = choices[random.choice(4, p=[0.6, 0.2, 0.1, 0.1])]
                answer = tuple(random.dirichlet([3, 2, 1]))
                rows.append((study, condition, level, severity, answer))
    return tables(rows)


def by_scikit_learn(truth: pd.DataFrame, answers: pd.DataFrame) -> list[float]:
    """Score a second way: one merged table, scikit-learn's weighted log loss."""
    row_id = truth[["study_id", "condition", "level"]].astype(str).agg("_".join, axis=1)
    rows = (
        truth.assign(row_id=row_id)
        .dropna(subset="severity")
        .merge(answers, on="row_id")
    )
    rows["weight"] = rows["severity"].map(
        {"normal_mild": 1, "moderate": 2, "severe": 4}
    )
    rows["is_severe"] = rows["severity"] == "severe"
    parts = []
    for word in ("spinal", "foraminal", "subarticular"):
        part = rows[rows["condition"].str.contains(word)]
        loss = sklearn_log_loss(
            part["severity"],
            # scikit-learn wants the classes in alphabetical order
            part[["moderate", "normal_mild", "severe"]],
            sample_weight=part["weight"],
            labels=["moderate", "normal_mild", "severe"],
        )
        parts.append(loss)
    spinal = rows[rows["condition"].str.contains("spinal")]
    study = spinal.groupby("study_id")[["is_severe", "severe", "weight"]].max()
    parts.append(
        sklearn_log_loss(
            study["is_severe"], study["severe"], sample_weight=study["weight"]
        )
    )
    return [sum(parts) / 4, *parts]


def test_a_score_worked_out_by_hand() -> None:
    spinal = -(log(0.7) + 2 * log(0.5) + log(0.8) + 4 * log(0.6) + log(0.1)) / 9
    foraminal = -(1 * log(0.9) + 4 * log(0.25)) / 5
    subarticular = -(2 * log(0.4) + 4 * log(0.5)) / 6
    # Study 1: no, at most .20, weight 2; study 2: no, .05, 1; study 3: yes, .65, 4.
    # Study 1's unlabelled row, .90 severe, counts nowhere.
    any_severe = -(2 * log(1 - 0.20) + 1 * log(1 - 0.05) + 4 * log(0.65)) / 7
    terms = [spinal, foraminal, subarticular, any_severe]
    assert list(score(*tables(ROWS)).to_dict().values()) == pytest.approx(
        [sum(terms) / 4, *terms], abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_score_agrees_with_scikit_learn(seed: int) -> None:
    truth, answers = random_tables(seed)
    ours = list(score(truth, answers).to_dict().values())
    assert ours == pytest.approx(by_scikit_learn(truth, answers), abs=1e-12)


def test_the_order_of_rows_does_not_matter() -> None:
    truth, answers = random_tables(0)
    expected = score(truth, answers).to_dict()
    truth = truth.sample(frac=1, random_state=1)
    answers = answers.sample(frac=1, random_state=2)
    assert score(truth, answers).to_dict() == pytest.approx(expected, abs=1e-12)


def test_the_keys_are_those_of_the_metrics_file() -> None:
    keys = ["score", "spinal", "foraminal", "subarticular", "any_severe"]
    assert list(Score(1, 2, 3, 4, 5).to_dict()) == keys
    assert list(Score(1, 2, 3, 4, 5).to_dict().values()) == [1, 2, 3, 4, 5]


def test_a_perfect_prediction_scores_zero() -> None:
    truth, answers = tables(ROWS)
    for name in SEVERITIES:
        answers[name] = (truth["severity"] == name).astype(float)
    assert score(truth, answers).score == pytest.approx(0, abs=1e-14)


def test_a_certain_error_costs_the_log_of_epsilon() -> None:
    rows = [(*row[:4], (1.0, 0.0, 0.0)) for row in ROWS]
    result = score(*tables(rows))
    cost = -log(np.finfo(np.float64).eps)
    assert result.foraminal == pytest.approx(4 / 5 * cost, abs=1e-9)
    assert result.any_severe == pytest.approx(4 / 7 * cost, abs=1e-9)


def test_a_row_is_scored_by_its_probabilities_over_their_sum() -> None:
    truth, answers = tables(ROWS)
    expected = score(truth, answers)
    answers[list(SEVERITIES)] *= 0.99
    scaled = score(truth, answers)
    assert scaled.foraminal == pytest.approx(expected.foraminal, abs=1e-12)
    assert scaled.spinal == pytest.approx(expected.spinal, abs=1e-12)


def test_labelled_rows_without_a_prediction_are_refused() -> None:
    truth, answers = tables(ROWS)
    lacking = answers[~answers["row_id"].str.startswith("3_spinal")]
    with pytest.raises(UserError, match=r"lacks 2 .* '3_spinal_canal_stenosis_l4_l5'"):
        score(truth, lacking)


def test_unlabelled_rows_need_no_prediction() -> None:
    truth, answers = tables(ROWS)
    labelled = answers[truth["severity"].notna()]
    assert score(truth, labelled) == score(truth, answers)


@pytest.mark.parametrize("family", ["spinal", "foraminal", "subarticular"])
def test_a_term_without_a_label_is_refused(family: str) -> None:
    truth, answers = tables(ROWS)
    truth.loc[truth["condition"].str.contains(family), "severity"] = None
    with pytest.raises(UserError, match=f"no {family} row"):
        score(truth, answers)


def test_labels_without_any_severity_are_refused() -> None:
    truth, answers = tables([(*row[:3], None, row[4]) for row in ROWS])
    with pytest.raises(UserError, match="no spinal row"):
        score(truth, answers)


def test_a_studys_losses_worked_out_by_hand() -> None:
    losses, weights = study_losses(*tables(ROWS))
    assert tuple(losses.columns) == tuple(weights.columns) == TERMS
    assert weights.loc[1].tolist() == [3, 5, 0, 2]  # spinal 1 + 2, foraminal 1 + 4
    assert weights.loc[2].tolist() == [1, 0, 2, 1]
    assert weights.loc[3].tolist() == [5, 0, 4, 4]
    # Study 1's largest severe probability of labelled canals is .20; it is not severe.
    by_hand = [-log(0.7) - 2 * log(0.5), -log(0.9) - 4 * log(0.25), 0, -2 * log(0.8)]
    assert losses.loc[1].tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("seed", range(3))
def test_the_studies_losses_by_their_weights_are_the_scores_terms(seed: int) -> None:
    truth, answers = random_tables(seed)
    losses, weights = study_losses(truth, answers)
    expected = score(truth, answers).to_dict()
    terms = (losses.sum() / weights.sum()).to_dict()
    assert terms == pytest.approx({name: expected[name] for name in TERMS})
    assert len(losses) == len(weights) == truth["study_id"].nunique()

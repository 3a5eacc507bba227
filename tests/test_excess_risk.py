"""The distance from the ideal observer, against sums worked by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.excess_risk import excess, excess_row
from src.phantom.rater import THRESHOLDS, ideal_probabilities


def test_the_ideal_observer_is_not_above_itself() -> None:
    narrowing = np.linspace(0, 1, 50)
    above, ideal = excess(ideal_probabilities(narrowing), narrowing)
    assert above == pytest.approx(0, abs=1e-4)
    assert ideal > 0


def test_a_third_each_costs_the_logarithm_of_three() -> None:
    narrowing = np.array([0.1, 0.5, 0.9])
    above, ideal = excess(np.full((3, 3), 1 / 3), narrowing)
    assert above + ideal == pytest.approx(np.log(3))


def test_on_a_threshold_both_neighbours_count_by_their_weights() -> None:
    # Half normal (weight 1), half moderate (2): ideal is 1/3, 2/3; 1/2, 1/2 costs ln 2.
    [narrowing] = np.array([[THRESHOLDS[0]]])
    above, ideal = excess(np.array([[0.5, 0.5, 0.0]]), narrowing)
    entropy = (np.log(3) + 2 * np.log(1.5)) / 3
    assert ideal == pytest.approx(entropy, abs=5e-3)  # severe adds 4 * 2e-4 * ln 3000
    assert above == pytest.approx(np.log(2) - entropy, abs=5e-3)


def test_families_count_alike_however_many_sites_they_have() -> None:
    conditions = ["spinal_canal_stenosis"] * 3
    conditions += ["left_neural_foraminal_narrowing", "left_subarticular_stenosis"]
    third = dict.fromkeys(("p_normal_mild", "p_moderate", "p_severe"), 1 / 3)
    table = pd.DataFrame({"study_id": 1, "condition": conditions, **third})
    row = excess_row("resnet18", "0", table.assign(narrowing=[0.1, 0.4, 0.7, 0.1, 0.9]))
    parts = [row[name] for name in ("spinal", "foraminal", "subarticular")]
    assert row["mean"] == pytest.approx(np.mean(parts))
    assert row["mean"] + row["ideal"] == pytest.approx(np.log(3))

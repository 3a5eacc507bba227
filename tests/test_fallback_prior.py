"""The fallback prior: the runs', else the labels', else 1/3."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import run_config

from src.competition.constants import SEVERITIES, TARGETS
from src.competition.prior import uniform
from src.inference.fallback_prior import choose_prior
from src.training.run_folder import Run

CHANCES = list(SEVERITIES)


def run(severe: float) -> Run:
    """A run whose prior is the surer of severe the lower the level."""
    table = uniform()
    step = table["level"].str[1].astype(int) / 100
    table["severe"] = severe + step
    table["moderate"], table["normal_mild"] = 0.2, 0.8 - severe - step
    rows = table.to_dict("records")
    return Run(Path("run"), run_config(prior=rows))


def write_labels(data: Path) -> None:
    """One study, severe everywhere."""
    row = pd.DataFrame([[1, *["Severe"] * 25]], columns=["study_id", *TARGETS])
    row.to_csv(data / "train.csv", index=False)


def test_the_prior_is_the_mean_of_the_runs_whatever_labels_there_are(
    tmp_path: Path,
) -> None:
    write_labels(tmp_path)
    prior, origin = choose_prior([run(0.1), run(0.2), run(0.6)], tmp_path)
    assert "3 runs" in origin
    low = prior[prior["level"] == "l5_s1"]
    assert low[CHANCES].to_numpy() == pytest.approx(np.tile([0.45, 0.2, 0.35], (5, 1)))
    assert prior[CHANCES].sum(axis=1).to_numpy() == pytest.approx([1] * 25)


def test_without_runs_the_prior_is_from_the_training_labels(tmp_path: Path) -> None:
    write_labels(tmp_path)
    prior, origin = choose_prior([], tmp_path)
    assert origin.endswith("train.csv")
    # By hand: 25 labels of weight 4 and a third each; then 2 or 1 labels of weight 4
    # and one row of those shares.
    severe = (100 + 1 / 3) / 101
    for condition, count in (("spinal_canal_stenosis", 1), (TARGETS[0][:-6], 2)):
        row = prior.loc[prior["condition"] == condition, "severe"].to_numpy()
        assert row == pytest.approx([(4 * count + severe) / (4 * count + 1)] * 5)


def test_with_neither_runs_nor_labels_the_prior_is_a_third(tmp_path: Path) -> None:
    prior, origin = choose_prior([], tmp_path)
    assert "1/3" in origin
    assert prior[CHANCES].to_numpy() == pytest.approx(np.full((25, 3), 1 / 3))

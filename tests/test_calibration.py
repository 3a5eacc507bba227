"""Calibration: it mends what is wrong, leaves what is right, and is judged fairly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.classification.calibration import (
    CALIBRATION_FILE,
    IDENTITY,
    PROBABILITY_COLUMNS,
    Calibration,
    cross_fitted_probabilities,
    fit_calibration,
    load_calibration,
    out_of_fold_probabilities,
    save_calibration,
)
from src.competition.constants import (
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
    SPINAL,
)
from src.competition.metric import score
from src.competition.submission import label_row_ids
from src.errors import UserError


def cohort(studies: int, sharpened: float, seed: int = 0) -> pd.DataFrame:
    """Sites whose severity is drawn from known chances; told are sharper ones.

    The best prediction under the metric's weights is the chances times these.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for study in range(studies):
        for condition in CONDITIONS:
            for level in LEVELS:
                true = rng.dirichlet((2.0, 0.7, 0.4))
                grade = rng.choice(3, p=true)
                best = true * SEVERITY_WEIGHTS / (true * SEVERITY_WEIGHTS).sum()
                told = best**sharpened / (best**sharpened).sum()
                rows.append((study, condition, level, SEVERITIES[grade], *told))
    columns = ["study_id", "condition", "level", "severity", *PROBABILITY_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search few temperatures and factors, so that a fit is quick."""
    heats = 2 ** np.arange(-0.5, 2, 0.5)
    monkeypatch.setattr("src.classification.calibration.TEMPERATURES", heats)
    monkeypatch.setattr("src.classification.calibration.FACTORS", FACTORS)


FACTORS = np.linspace(1.0, 2.0, 5)
PATTERNS = {"spinal": [0, 0, 1, 2], "foraminal": [0, 0, 0, 1, 1, 2]}
PATTERNS["subarticular"] = [0, 1, 2]


def sharpened(heats: dict[str, float]) -> pd.DataFrame:
    """Twelve studies, each family told its weighted shares to the power of its heat.

    Under the metric's weights no constant is better than the weighted shares: a
    family's temperature must be its heat.
    """
    rows = []
    for study in range(12):
        for condition in CONDITIONS:
            grades = PATTERNS[FAMILY_OF[condition]]
            told = np.bincount(grades) * SEVERITY_WEIGHTS / len(grades)
            told = told ** heats[FAMILY_OF[condition]]
            for place, level in enumerate(LEVELS):
                grade = SEVERITIES[grades[(5 * study + place) % len(grades)]]
                rows.append((study, condition, level, grade, *told / told.sum()))
    columns = ["study_id", "condition", "level", "severity", *PROBABILITY_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.usefixtures("coarse")
def test_each_familys_temperature_is_the_best_under_the_metrics_weights() -> None:
    heats = {"spinal": 2.0, "foraminal": 1.0, "subarticular": 2**0.5}
    assert fit_calibration(sharpened(heats)).temperatures == pytest.approx(
        heats, abs=1e-3
    )


def scored(table: pd.DataFrame, **chances: np.ndarray) -> float:
    """Score a table's chances, or others, by the competition's metric."""
    answers = table.assign(**chances)
    answers.insert(0, "row_id", label_row_ids(table))
    return score(table, answers).score


@pytest.mark.usefixtures("coarse")
def test_factor_and_gain_are_by_the_competitions_score() -> None:
    table = cohort(12, sharpened=2.0, seed=5)
    canal = table["condition"] == SPINAL
    table.loc[canal, "severe"] /= 3
    table[PROBABILITY_COLUMNS] = table[PROBABILITY_COLUMNS].div(
        table[PROBABILITY_COLUMNS].sum(axis=1), axis=0
    )
    fitted = fit_calibration(table)

    def with_factor(factor: float) -> float:
        some = replace(fitted, any_severe=factor)
        new = some.apply(table[PROBABILITY_COLUMNS].to_numpy(), table["condition"])
        return scored(table, **dict(zip(PROBABILITY_COLUMNS, new.T, strict=True)))

    assert fitted.any_severe == min(FACTORS, key=with_factor) == 1.5
    gain = scored(table) - scored(table, **cross_fitted_probabilities(table))
    assert fitted.gain == pytest.approx(gain, abs=1e-4)
    assert gain > 0.1


@pytest.mark.usefixtures("coarse")
def test_what_gains_nothing_on_other_studies_is_not_applied() -> None:
    table = cohort(10, sharpened=1.0)
    assert scored(table) < scored(table, **cross_fitted_probabilities(table))
    assert fit_calibration(table) == IDENTITY


@pytest.mark.usefixtures("coarse")
def test_no_site_is_corrected_by_another_of_its_study() -> None:
    table = cohort(11, sharpened=2.0).sample(frac=1, random_state=0, ignore_index=True)
    table["study_id"] = 17 + 1000 * table["study_id"]
    own = table["study_id"] == 5017
    worse = table.assign(severity=table["severity"].mask(own, "severe"))
    plain, changed = (
        cross_fitted_probabilities(some)["severe"] for some in (table, worse)
    )
    assert plain[own] == pytest.approx(changed[own])
    assert plain[~own] != pytest.approx(changed[~own])


def test_sites_of_several_runs_and_levels_keep_their_own_answers() -> None:
    sites = pd.DataFrame({"study_id": [4, 4, 9], "condition": CONDITIONS[:3]})
    sites = sites.assign(level=LEVELS[:3], truth=[0, 2, 1])
    said = pd.DataFrame(np.random.default_rng(0).dirichlet([1] * 3, 4), columns=NAMES)
    rows = sites.iloc[[0, 1, 1, 2]].reset_index(drop=True).join(said)
    told = out_of_fold_probabilities([rows[:2], rows[2:]])
    assert told["severity"].tolist() == ["normal_mild", "severe", "moderate"]
    mean = (said.iloc[1] + said.iloc[2]) / 2
    expected = np.stack([said.iloc[0], mean, said.iloc[3]])
    assert told[PROBABILITY_COLUMNS].to_numpy() == pytest.approx(expected)


def test_what_is_called_impossible_can_be_warmed_too() -> None:
    some = Calibration(dict.fromkeys(PATTERNS, 2.0), 1.0, 0.1)
    [told] = some.apply(np.array([[0.0, 0.36, 0.64]]), pd.Series([CONDITIONS[0]]))
    # Square roots, of a millionth for nothing.
    assert told == pytest.approx(np.array([0.001, 0.6, 0.8]) / 1.401)


def test_without_a_canal_nothing_is_corrected() -> None:
    table = cohort(12, sharpened=2.0)
    table = table[table["condition"] != SPINAL].reset_index(drop=True)
    assert fit_calibration(table) == IDENTITY
    nested = cross_fitted_probabilities(table)
    assert all((nested[name] == table[name]).all() for name in PROBABILITY_COLUMNS)


@pytest.mark.parametrize(
    "change",
    [{"any_severe": 0.0}, {"temperatures": {"spinal": 1.0}}, {"any_severe": None}],
)
def test_a_calibration_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    save_calibration(replace(IDENTITY, **change), tmp_path, ["a"])
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])


def test_overconfidence_is_found_and_undone() -> None:
    fitted = fit_calibration(cohort(60, sharpened=2.0))
    for heat in fitted.temperatures.values():
        assert heat == pytest.approx(2.0, rel=0.25)
    assert fitted.gain > 0.02


def test_honest_probabilities_are_left_nearly_alone() -> None:
    fitted = fit_calibration(cohort(60, sharpened=1.0))
    for heat in fitted.temperatures.values():
        assert heat == pytest.approx(1.0, rel=0.25)
    assert fitted.gain < 0.01


def test_a_few_studies_are_too_few() -> None:
    assert fit_calibration(cohort(6, sharpened=2.0)) == IDENTITY


def test_nested_corrections_do_not_depend_on_their_own_part() -> None:
    table = cohort(20, sharpened=2.0)
    own = table["study_id"] % 5 == 0
    other_answers = table.assign(severity=table["severity"].where(~own, "normal_mild"))
    plain, changed = (
        cross_fitted_probabilities(table),
        cross_fitted_probabilities(other_answers),
    )
    assert np.allclose(plain["severe"][own], changed["severe"][own])
    assert not np.allclose(plain["severe"][~own], changed["severe"][~own])


def test_what_is_applied_by_hand() -> None:
    some = Calibration({"spinal": 2.0, "foraminal": 1.0, "subarticular": 1.0}, 1.5, 0.1)
    chances = np.array([[0.64, 0.32, 0.04], [0.64, 0.32, 0.04]])
    names = pd.Series(["spinal_canal_stenosis", "left_neural_foraminal_narrowing"])
    spinal, foraminal = some.apply(chances, names)
    # Square roots .8, .566, .2, then severe times 1.5: .3 of 1.666.
    assert spinal == pytest.approx(np.array([0.8, 0.5657, 0.3]) / 1.6657, abs=1e-4)
    assert foraminal == pytest.approx(chances[1])


def test_a_site_that_several_runs_tested_counts_once() -> None:
    row = {"study_id": 1, "condition": CONDITIONS[0], "level": "l1_l2", "truth": 2}
    one = pd.DataFrame([{**row, **dict(zip(NAMES, (0.2, 0.2, 0.6), strict=True))}])
    two = pd.DataFrame([{**row, **dict(zip(NAMES, (0.4, 0.4, 0.2), strict=True))}])
    [site] = out_of_fold_probabilities([one, two]).to_dict("records")
    assert site["severity"] == "severe"
    assert [site[name] for name in PROBABILITY_COLUMNS] == pytest.approx(
        [0.3, 0.3, 0.4]
    )


NAMES = [f"p_{name}" for name in SEVERITIES]


def test_a_calibration_is_of_the_runs_it_was_fitted_on(tmp_path: Path) -> None:
    some = fit_calibration(cohort(40, sharpened=2.0))
    save_calibration(some, tmp_path, ["b", "a"])
    assert load_calibration(tmp_path, ["a", "b"]) == some
    assert load_calibration(tmp_path, ["a", "b", "c"]) is None
    assert load_calibration(tmp_path / "none", ["a"]) is None
    (tmp_path / CALIBRATION_FILE).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a", "b"])

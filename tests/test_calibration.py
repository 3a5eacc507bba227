"""Calibration: it corrects overconfidence, and its gain is measured out of fold."""

import json
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
    """Sites whose severity is drawn from known probabilities; predictions are sharper.

    The best prediction under the metric's weights is the probabilities times these.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for study in range(studies):
        for condition in CONDITIONS:
            for level in LEVELS:
                true = rng.dirichlet((2.0, 0.7, 0.4))
                grade = rng.choice(3, p=true)
                best = true * SEVERITY_WEIGHTS / (true * SEVERITY_WEIGHTS).sum()
                predicted = best**sharpened / (best**sharpened).sum()
                rows.append((study, condition, level, SEVERITIES[grade], *predicted))
    columns = ["study_id", "condition", "level", "severity", *PROBABILITY_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search few temperatures and factors, so that a fit is quick."""
    temperatures = 2 ** np.arange(-0.5, 2, 0.5)
    monkeypatch.setattr("src.classification.calibration.TEMPERATURES", temperatures)
    monkeypatch.setattr("src.classification.calibration.FACTORS", FACTORS)


FACTORS = np.linspace(1.0, 2.0, 5)
PATTERNS = {"spinal": [0, 0, 1, 2], "foraminal": [0, 0, 0, 1, 1, 2]}
PATTERNS["subarticular"] = [0, 1, 2]


def sharpened(powers: dict[str, float]) -> pd.DataFrame:
    """Twelve studies; a family's prediction is its weighted shares to a power.

    Under the metric's weights no constant is better than the weighted shares: a
    family's temperature must be its power.
    """
    rows = []
    for study in range(12):
        for condition in CONDITIONS:
            grades = PATTERNS[FAMILY_OF[condition]]
            shares = np.bincount(grades) * SEVERITY_WEIGHTS / len(grades)
            sharp = shares ** powers[FAMILY_OF[condition]]
            for index, level in enumerate(LEVELS):
                grade = SEVERITIES[grades[(5 * study + index) % len(grades)]]
                rows.append((study, condition, level, grade, *sharp / sharp.sum()))
    columns = ["study_id", "condition", "level", "severity", *PROBABILITY_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.usefixtures("coarse")
def test_each_familys_temperature_is_the_best_under_the_metrics_weights() -> None:
    powers = {"spinal": 2.0, "foraminal": 1.0, "subarticular": 2**0.5}
    fitted = fit_calibration(sharpened(powers))
    assert fitted.temperatures == pytest.approx(powers, abs=1e-3)


def scored(table: pd.DataFrame, **probabilities: np.ndarray) -> float:
    """Score a table's probabilities, or others, by the competition's metric."""
    submission = table.assign(**probabilities)
    submission.insert(0, "row_id", label_row_ids(table))
    return score(table, submission).score


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
def test_a_calibration_without_a_gain_on_other_studies_is_not_applied() -> None:
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


def test_sites_of_several_runs_and_levels_keep_their_own_predictions() -> None:
    sites = pd.DataFrame({"study_id": [4, 4, 9], "condition": CONDITIONS[:3]})
    sites = sites.assign(level=LEVELS[:3], truth=[0, 2, 1])
    predicted = pd.DataFrame(
        np.random.default_rng(0).dirichlet([1] * 3, 4), columns=NAMES
    )
    rows = sites.iloc[[0, 1, 1, 2]].reset_index(drop=True).join(predicted)
    table = out_of_fold_probabilities([rows[:2], rows[2:]])
    assert table["severity"].tolist() == ["normal_mild", "severe", "moderate"]
    mean = np.sqrt(predicted.iloc[1] * predicted.iloc[2])
    expected = np.stack([predicted.iloc[0], mean / mean.sum(), predicted.iloc[3]])
    assert table[PROBABILITY_COLUMNS].to_numpy() == pytest.approx(expected)


def test_a_probability_of_zero_is_corrected_from_the_floor() -> None:
    some = Calibration(dict.fromkeys(PATTERNS, 2.0), 1.0, 0.1)
    [row] = some.apply(np.array([[0.0, 0.36, 0.64]]), pd.Series([CONDITIONS[0]]))
    # Square roots, the floor's for zero.
    assert row == pytest.approx(np.array([0.001, 0.6, 0.8]) / 1.401)


def test_without_canal_labels_nothing_is_corrected() -> None:
    table = cohort(12, sharpened=2.0)
    table = table[table["condition"] != SPINAL].reset_index(drop=True)
    assert fit_calibration(table) == IDENTITY
    nested = cross_fitted_probabilities(table)
    assert all((nested[name] == table[name]).all() for name in PROBABILITY_COLUMNS)


@pytest.mark.parametrize(
    "change",
    [{"any_severe": 0.0}, {"temperatures": {"spinal": 1.0}}, {"any_severe": None}],
)
def test_an_invalid_calibration_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    save_calibration(replace(IDENTITY, **change), tmp_path, ["a"])
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])


def test_overconfidence_is_corrected() -> None:
    fitted = fit_calibration(cohort(60, sharpened=2.0))
    for temperature in fitted.temperatures.values():
        assert temperature == pytest.approx(2.0, rel=0.25)
    assert fitted.gain > 0.02


def test_calibrated_probabilities_are_hardly_changed() -> None:
    fitted = fit_calibration(cohort(60, sharpened=1.0))
    for temperature in fitted.temperatures.values():
        assert temperature == pytest.approx(1.0, rel=0.25)
    assert fitted.gain < 0.01


def test_a_few_studies_are_too_few() -> None:
    assert fit_calibration(cohort(6, sharpened=2.0)) == IDENTITY


def test_nested_corrections_do_not_depend_on_their_own_part() -> None:
    table = cohort(20, sharpened=2.0)
    own = table["study_id"] % 5 == 0
    changed_labels = table.assign(severity=table["severity"].where(~own, "normal_mild"))
    plain, changed = (
        cross_fitted_probabilities(table),
        cross_fitted_probabilities(changed_labels),
    )
    assert np.allclose(plain["severe"][own], changed["severe"][own])
    assert not np.allclose(plain["severe"][~own], changed["severe"][~own])


def test_a_correction_worked_out_by_hand() -> None:
    some = Calibration({"spinal": 2.0, "foraminal": 1.0, "subarticular": 1.0}, 1.5, 0.1)
    probabilities = np.array([[0.64, 0.32, 0.04], [0.64, 0.32, 0.04]])
    names = pd.Series(["spinal_canal_stenosis", "left_neural_foraminal_narrowing"])
    spinal, foraminal = some.apply(probabilities, names)
    # Square roots .8, .566, .2, then severe times 1.5: .3 of 1.666.
    assert spinal == pytest.approx(np.array([0.8, 0.5657, 0.3]) / 1.6657, abs=1e-4)
    assert foraminal == pytest.approx(probabilities[1])


def test_a_site_that_several_runs_tested_counts_once() -> None:
    row = {"study_id": 1, "condition": CONDITIONS[0], "level": "l1_l2", "truth": 2}
    one = pd.DataFrame([{**row, **dict(zip(NAMES, (0.2, 0.2, 0.6), strict=True))}])
    two = pd.DataFrame([{**row, **dict(zip(NAMES, (0.4, 0.4, 0.2), strict=True))}])
    [site] = out_of_fold_probabilities([one, two]).to_dict("records")
    assert site["severity"] == "severe"
    expected = np.sqrt([0.08, 0.08, 0.12])
    assert [site[name] for name in PROBABILITY_COLUMNS] == pytest.approx(
        expected / expected.sum()
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


@pytest.mark.parametrize("rule", ["mean_probability", None])
def test_a_calibration_of_another_ensemble_rule_is_refused(
    tmp_path: Path, rule: str | None
) -> None:
    save_calibration(IDENTITY, tmp_path, ["a"])
    path = tmp_path / CALIBRATION_FILE
    held = json.loads(path.read_text())
    assert held.pop("ensemble") == "mean_log_probability"
    path.write_text(json.dumps(held if rule is None else held | {"ensemble": rule}))
    with pytest.raises(UserError, match=r"run train\.py again"):
        load_calibration(tmp_path, ["a"])


@pytest.mark.parametrize(
    "damage",
    [
        *({"gain": float("nan")}, {"gain": "much"}, {"any_severe": 0}, {"runs": 7}),
        *({"temperatures": None}, {"temperatures": {}}, {"temperatures": [1, 1, 1]}),
        *({"any_severe": 1e300}, {"any_severe": "1"}, {"any_severe": None}),
    ],
    ids=str,
)
def test_a_calibration_with_a_wrong_entry_is_refused(
    damage: dict, tmp_path: Path
) -> None:
    save_calibration(IDENTITY, tmp_path, ["a"])
    path = tmp_path / CALIBRATION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b"\xff\xfe", b'{"a": 1}'])
def test_a_calibration_of_another_shape_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_bytes(text)
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])

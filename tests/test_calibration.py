"""Calibration: the correction that is applied, and the file that holds it."""

import json
from collections.abc import Callable
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
    Correction,
    load_calibration,
    out_of_fold_probabilities,
    save_calibration,
)
from src.competition.constants import CONDITIONS, FAMILIES, LEVELS, SEVERITIES, SPINAL
from src.errors import UserError

NAMES = [f"p_{name}" for name in SEVERITIES]
FORAMEN = "left_neural_foraminal_narrowing"
HALF = (0.5 * np.eye(3)).tolist()
# What a regression may have found: severe raised at one level, classes mixed.
MATRIX = [[1.0, 0.0, -0.5], [0.0, 1.0, 0.0], [0.25, 0.0, 0.5]]
INTERCEPTS = {level: [0.0, 0.0, 0.0] for level in LEVELS} | {"l5_s1": [0.0, 0.1, 0.7]}
SOME = Calibration(
    {
        "spinal": Correction("temperature", HALF, prior_weight=0.25, gain=0.1),
        "foraminal": Correction("logistic", MATRIX, INTERCEPTS, standard_error=0.02),
        "subarticular": Correction(),
    },
    1.5,
    0.1,
)


def corrected(
    calibration: Calibration,
    condition: str,
    row: tuple[float, float, float],
    level: str = "l1_l2",
    prior: tuple[float, float, float] = (0.2, 0.3, 0.5),
) -> np.ndarray:
    """Correct the probabilities of one site, between two of other families."""
    others = [name for name in CONDITIONS[:4:3] if name != condition]
    sites = pd.DataFrame(
        {
            "condition": [others[0], condition, others[-1]],
            "level": ["l2_l3", level, "l4_l5"],
        },
        index=[7, 7, 3],
    )
    rows = np.array([(0.1, 0.1, 0.8), row, (0.3, 0.3, 0.4)])
    priors = np.array([(0.9, 0.05, 0.05), prior, (0.6, 0.2, 0.2)])
    return calibration.apply(rows, sites, priors)[1]


def test_the_canals_correction_worked_out_by_hand() -> None:
    # Square roots .8, .4, .4472 of 1.6472; a quarter prior; then severe times 1.5.
    blended = 0.75 * np.array([0.8, 0.4, 0.2**0.5]) / (1.2 + 0.2**0.5)
    blended += 0.25 * np.array([0.2, 0.3, 0.5])
    raised = blended * (1, 1, 1.5)
    assert corrected(SOME, SPINAL, (0.64, 0.16, 0.2)) == pytest.approx(
        raised / raised.sum()
    )


@pytest.mark.parametrize("level", ["l4_l5", "l5_s1"])
def test_a_regressions_correction_worked_out_by_hand(level: str) -> None:
    row = (0.5, 0.3, 0.2)
    normal, moderate, severe = np.log(row) - np.log(row).mean()
    logits = np.array([normal - 0.5 * severe, moderate, 0.25 * normal + 0.5 * severe])
    odds = np.exp(logits + INTERCEPTS[level])
    found = corrected(SOME, FORAMEN, row, level)
    assert found == pytest.approx(odds / odds.sum())


def test_a_family_that_is_not_corrected_keeps_its_probabilities() -> None:
    for calibration in (SOME, IDENTITY):
        row = corrected(calibration, "right_subarticular_stenosis", (0.5, 0.3, 0.2))
        assert row == pytest.approx([0.5, 0.3, 0.2])


def test_a_blend_with_all_of_the_prior_is_the_prior() -> None:
    prior = {**IDENTITY.families, "foraminal": Correction(prior_weight=1.0)}
    row = corrected(Calibration(prior), FORAMEN, (0.999998, 1e-6, 1e-6))
    assert row == pytest.approx([0.2, 0.3, 0.5])


def test_a_probability_of_zero_is_corrected_from_the_floor() -> None:
    some = Calibration(
        {**IDENTITY.families, "foraminal": Correction("temperature", HALF)}
    )
    # Square roots, the floor's for zero.
    expected = np.array([0.001, 0.6, 0.8]) / 1.401
    assert corrected(some, FORAMEN, (0.0, 0.36, 0.64)) == pytest.approx(expected)


@pytest.mark.parametrize("row", np.random.default_rng(0).dirichlet((1, 1, 1), 5))
def test_a_correction_gives_probabilities(row: np.ndarray) -> None:
    for condition in CONDITIONS:
        found = corrected(SOME, condition, tuple(row), "l5_s1")
        assert found.sum() == pytest.approx(1)
        assert (found > 0).all()


def test_what_changes_a_probability_is_no_identity() -> None:
    assert IDENTITY.is_identity
    assert not replace(IDENTITY, any_severe=1.05).is_identity
    for some in (Correction(prior_weight=0.1), Correction("temperature", HALF)):
        assert not Calibration({**IDENTITY.families, "foraminal": some}).is_identity
    assert SOME.prior_weights == {"spinal": 0.25}


def test_the_temperature_divides_log_probabilities() -> None:
    temperatures = {name: one.temperature for name, one in SOME.families.items()}
    assert temperatures == {"spinal": 2.0, "foraminal": None, "subarticular": None}


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


def test_a_calibration_is_of_the_runs_it_was_fitted_on(tmp_path: Path) -> None:
    save_calibration(SOME, tmp_path, ["b", "a"])
    assert load_calibration(tmp_path, ["a", "b"]) == SOME
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


@pytest.mark.parametrize("version", [1, 3, None])
def test_a_calibration_of_another_version_is_refused(
    tmp_path: Path, version: int | None
) -> None:
    # As the first version wrote it, a temperature a family.
    old = {"temperatures": dict.fromkeys(FAMILIES, 2.0), "any_severe": 1.5, "gain": 0.1}
    old |= {"runs": ["a"], "ensemble": "mean_log_probability"}
    old |= {} if version is None else {"version": version}
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"of version .*run train\.py again"):
        load_calibration(tmp_path, ["a"])


def of_family(**changes: Any) -> Callable[[dict], None]:
    return lambda held: held["families"]["foraminal"].update(changes)


def of_all(**changes: Any) -> Callable[[dict], None]:
    return lambda held: held.update(changes)


@pytest.mark.parametrize(
    "damage",
    [
        *(of_all(gain=float("nan")), of_all(gain="much"), of_all(runs=7)),
        *(of_all(any_severe=0), of_all(any_severe=1e300), of_all(any_severe="1")),
        *(of_all(any_severe=None), of_all(families=None), of_all(families={})),
        *(of_all(families=[1, 1, 1]), of_all(version="2"), of_all(more=1)),
        lambda held: held["families"].pop("spinal"),
        *(of_family(method="magic"), of_family(matrix=[[1.0]]), of_family(matrix=1)),
        *(of_family(matrix=[["1"] * 3] * 3), of_family(matrix=[[1e9] * 3] * 3)),
        *(of_family(intercepts={}), of_family(intercepts={"l1_l2": [0, 0, 0]})),
        of_family(intercepts={level: [0.0, 0.0] for level in LEVELS}),
        of_family(intercepts=INTERCEPTS | {"l1_l2": [float("nan")] * 3}),
        *(of_family(prior_weight=1.1), of_family(prior_weight=-0.1)),
        *(of_family(prior_weight=None), of_family(gain=float("inf"))),
        *(of_family(standard_error="small"), of_family(more=1)),
    ],
)
def test_a_calibration_with_a_wrong_entry_is_refused(
    damage: Callable[[dict], None], tmp_path: Path
) -> None:
    save_calibration(SOME, tmp_path, ["a"])
    path = tmp_path / CALIBRATION_FILE
    held = json.loads(path.read_text())
    damage(held)
    path.write_text(json.dumps(held))
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b"\xff\xfe", b'{"a": 1}'])
def test_a_calibration_of_another_shape_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_bytes(text)
    with pytest.raises(UserError, match="damaged"):
        load_calibration(tmp_path, ["a"])

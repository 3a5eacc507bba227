"""Calibration: it mends what is wrong, leaves what is right, and is judged fairly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition.vocab import CONDITIONS, LEVELS, SEVERITIES, SEVERITY_WEIGHTS
from src.errors import InputError
from src.reading.calibration import (
    CALIBRATION_FILE,
    CHANCES,
    NONE,
    Calibration,
    fit,
    load,
    nested_chances,
    out_of_fold,
    save,
)


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
    columns = ["study_id", "condition", "level", "severity", *CHANCES]
    return pd.DataFrame(rows, columns=columns)


def test_overconfidence_is_found_and_undone() -> None:
    fitted = fit(cohort(60, sharpened=2.0))
    for heat in fitted.temperatures.values():
        assert heat == pytest.approx(2.0, rel=0.25)
    assert fitted.gain > 0.02


def test_honest_probabilities_are_left_nearly_alone() -> None:
    fitted = fit(cohort(60, sharpened=1.0))
    for heat in fitted.temperatures.values():
        assert heat == pytest.approx(1.0, rel=0.25)
    assert fitted.gain < 0.01


def test_a_few_studies_are_too_few() -> None:
    assert fit(cohort(6, sharpened=2.0)) == NONE


def test_nested_corrections_do_not_depend_on_their_own_part() -> None:
    table = cohort(20, sharpened=2.0)
    own = table["study_id"] % 5 == 0
    other_answers = table.assign(severity=table["severity"].where(~own, "normal_mild"))
    plain, changed = nested_chances(table), nested_chances(other_answers)
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
    [site] = out_of_fold([one, two]).to_dict("records")
    assert site["severity"] == "severe"
    assert [site[name] for name in CHANCES] == pytest.approx([0.3, 0.3, 0.4])


NAMES = [f"p_{name}" for name in SEVERITIES]


def test_a_calibration_is_of_the_runs_it_was_fitted_on(tmp_path: Path) -> None:
    some = fit(cohort(40, sharpened=2.0))
    save(some, tmp_path, ["b", "a"])
    assert load(tmp_path, ["a", "b"]) == some
    assert load(tmp_path, ["a", "b", "c"]) is None
    assert load(tmp_path / "none", ["a"]) is None
    (tmp_path / CALIBRATION_FILE).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path, ["a", "b"])

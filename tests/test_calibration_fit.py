"""The fit of a calibration: planted errors are recovered, sound grades are kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_grades import BEST_COLUMNS, at_random, family_loss, planted

from src.classification.calibration import (
    IDENTITY,
    PROBABILITY_COLUMNS,
    Calibration,
)
from src.classification.calibration_fit import (
    CalibrationFit,
    Candidate,
    NestedFolds,
    fit_calibration,
)
from src.classification.family_sites import PRIOR_COLUMNS, families_of, weighted_gain
from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES, SPINAL
from src.competition.metric import score
from src.competition.submission import label_row_ids


def scored(table: pd.DataFrame, rows: np.ndarray) -> float:
    """Score probabilities [n, 3] of a table's sites by the competition's metric."""
    columns = dict(zip(PROBABILITY_COLUMNS, rows.T, strict=True))
    submission = table[PROBABILITY_COLUMNS].assign(**columns)
    submission.insert(0, "row_id", label_row_ids(table))
    return score(table, submission).score


def values(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return table[columns].to_numpy(float)


@pytest.mark.parametrize("power", [2.0, 0.5])
def test_planted_confidence_is_recovered_by_the_temperature(power: float) -> None:
    table = planted(sharpened=power)
    fit = fit_calibration(table)
    for family, correction in fit.calibration.families.items():
        assert correction.method == "temperature", family
        assert correction.temperature == pytest.approx(power, rel=0.2), family
        assert correction.prior_weight < 0.1, family
        best = family_loss(table, values(table, BEST_COLUMNS), family)
        plain = family_loss(table, values(table, PROBABILITY_COLUMNS), family)
        assert family_loss(table, fit.cross_fitted, family) < best + 0.01 < plain


def test_a_planted_bias_by_level_is_recovered_by_the_regression() -> None:
    table = planted(level_bias=1.0)
    fit = fit_calibration(table)
    for family, correction in fit.calibration.families.items():
        assert correction.method == "logistic", family
        best = family_loss(table, values(table, BEST_COLUMNS), family)
        plain = family_loss(table, values(table, PROBABILITY_COLUMNS), family)
        after = family_loss(table, fit.cross_fitted, family)
        assert after < best + 0.03 < plain - 0.02, family
        # Log odds of severe against normal: of what the bias added, 3 between the
        # ends, most is taken off; the penalty keeps some.
        log_odds = {
            level: severe - normal
            for level, (normal, _, severe) in correction.intercepts.items()
        }
        assert -3.5 < log_odds["l5_s1"] - log_odds["l1_l2"] < -1.5


def test_well_calibrated_families_are_left_alone() -> None:
    fits = [fit_calibration(planted(seed=seed)).calibration for seed in range(10)]
    assert sum(fit.families == IDENTITY.families for fit in fits) >= 9
    # A factor for the canal may gain: no single level is as likely severe as any one.
    for fit in fits:
        assert fit.gain > 0 or fit.any_severe == 1, fit
        assert fit.gain >= 0, fit


def test_a_correction_is_kept_only_if_its_gain_exceeds_its_error() -> None:
    corrections = [
        correction
        for seed in range(6)
        for correction in fit_calibration(
            planted(20, seed, sharpened=1.6)
        ).calibration.families.values()
    ]
    kept = [one for one in corrections if not one.is_identity]
    assert 0 < len(kept) < len(corrections)
    assert all(one.gain > one.standard_error > 0 for one in kept)


def test_a_useless_grader_is_replaced_by_the_prior() -> None:
    table = at_random(planted())
    fit = fit_calibration(table)
    prior = values(table, PRIOR_COLUMNS)
    for family, correction in fit.calibration.families.items():
        assert correction.prior_weight > 0.7, family
        floor = family_loss(table, prior, family)
        plain = family_loss(table, values(table, PROBABILITY_COLUMNS), family)
        assert floor + 0.3 < plain
    # By the whole score, for which the canal's loss may rise a little.
    assert scored(table, fit.cross_fitted) < scored(table, prior) + 0.01


def test_the_applied_calibration_is_close_to_the_cross_fitted_one() -> None:
    table = planted(sharpened=2.0)
    fit = fit_calibration(table)
    applied = fit.calibration.apply(
        values(table, PROBABILITY_COLUMNS), table, values(table, PRIOR_COLUMNS)
    )
    assert abs(applied - fit.cross_fitted).max() < 0.06
    assert scored(table, applied) < scored(table, fit.cross_fitted) + 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_sites_changes_nothing_for_the_others(family: str) -> None:
    table = planted(60, sharpened=2.0)
    lacking = table["condition"].isin(FAMILIES[family]).to_numpy()
    fit = fit_calibration(table)
    partial = fit_calibration(table[~lacking].reset_index(drop=True))
    assert partial.calibration.families == {
        **fit.calibration.families,
        family: IDENTITY.families[family],
    }
    assert np.array_equal(partial.cross_fitted, fit.cross_fitted[~lacking])


def test_a_family_of_few_studies_is_left_alone_and_the_others_are_not() -> None:
    table = planted(60, sharpened=8.0)
    few = (table["condition"] != SPINAL) | (table["study_id"] < 9)
    fit = fit_calibration(table[few].reset_index(drop=True)).calibration
    assert fit.families["spinal"].is_identity
    assert not fit.families["foraminal"].is_identity


def test_a_severity_that_no_site_has_is_no_error() -> None:
    table = planted(30, sharpened=2.0)
    table = table[table["severity"] != "severe"].reset_index(drop=True)
    fit = fit_calibration(table).calibration
    assert {one.method for one in fit.families.values()} == {"identity"}


def test_the_gain_is_by_the_competitions_score() -> None:
    table = planted(sharpened=2.0)
    fit = fit_calibration(table)
    plain = values(table, PROBABILITY_COLUMNS)
    gain = scored(table, plain) - scored(table, fit.cross_fitted)
    assert fit.calibration.gain == pytest.approx(gain, abs=1e-4)
    assert gain > 0.05
    for family, correction in fit.calibration.families.items():
        # The canal's is before its factor, which is judged by two terms.
        if family != "spinal":
            own = family_loss(table, plain, family)
            own -= family_loss(table, fit.cross_fitted, family)
            assert correction.gain == pytest.approx(own, abs=1e-4)


def too_low() -> pd.DataFrame:
    """Grades whose canal has half the odds of severe, but nothing else to correct."""
    table = planted(seed=5)
    canal = table["condition"] == SPINAL
    table.loc[canal, "severe"] /= 2
    rows = values(table, PROBABILITY_COLUMNS)
    table[PROBABILITY_COLUMNS] = rows / rows.sum(axis=1, keepdims=True)
    return table


def test_the_factor_on_severe_is_the_best_by_the_score() -> None:
    table = too_low()
    fit = fit_calibration(table)
    assert fit.calibration.families == IDENTITY.families

    def with_factor(factor: float) -> float:
        tried = Calibration(IDENTITY.families, factor)
        return scored(
            table,
            tried.apply(
                values(table, PROBABILITY_COLUMNS), table, values(table, PRIOR_COLUMNS)
            ),
        )

    assert fit.calibration.any_severe == min(np.linspace(1, 3, 41), key=with_factor)
    assert fit.calibration.any_severe > 1.2
    others = (table["condition"] != SPINAL).to_numpy()
    assert np.array_equal(
        fit.cross_fitted[others], values(table[others], PROBABILITY_COLUMNS)
    )


def test_no_site_is_corrected_by_another_of_its_study() -> None:
    table = planted(40, sharpened=3.0).sample(frac=1, random_state=0, ignore_index=True)
    own = (table["study_id"] == 7).to_numpy()
    worse = table.assign(severity=table["severity"].mask(own, "severe"))
    plain, changed = fit_calibration(table), fit_calibration(worse)
    assert not plain.calibration.families["foraminal"].is_identity
    assert plain.cross_fitted[own] == pytest.approx(changed.cross_fitted[own])
    assert plain.cross_fitted[~own] != pytest.approx(changed.cross_fitted[~own])


def test_candidates_are_compared_on_parts_that_no_fit_has_seen() -> None:
    sites = families_of(planted(20, sharpened=2.0))["foraminal"][1]
    part = sites.studies % 5
    worse = replace(sites, classes=np.where(np.isin(part, (1, 3)), 2, sites.classes))
    candidate = Candidate("logistic", blended=True)
    plain, changed = (
        NestedFolds(some).predict(candidate, frozenset({3})) for some in (sites, worse)
    )
    assert np.array_equal(plain[part == 1], changed[part == 1])
    assert not np.allclose(plain[part == 0], changed[part == 0])


def test_neither_order_nor_names_of_studies_matter() -> None:
    table = planted(40, sharpened=2.0)
    order = np.random.default_rng(1).permutation(len(table))
    other = table.iloc[order].reset_index(drop=True)
    other["study_id"] = 17 + 1000 * other["study_id"]
    one, two = fit_calibration(table), fit_calibration(other)
    assert two.cross_fitted == pytest.approx(one.cross_fitted[order], abs=1e-4)


def test_each_family_is_corrected_by_its_own_sites() -> None:
    table = planted(60, sharpened=2.0)
    sound = (table["condition"].map(FAMILY_OF) == "foraminal").to_numpy()
    rows = np.where(
        sound[:, None], values(table, BEST_COLUMNS), values(table, PROBABILITY_COLUMNS)
    )
    table[PROBABILITY_COLUMNS] = rows
    fit: CalibrationFit = fit_calibration(table)
    methods = {name: one.method for name, one in fit.calibration.families.items()}
    assert methods == {
        "spinal": "temperature",
        "foraminal": "identity",
        "subarticular": "temperature",
    }


def test_a_gain_that_is_within_its_error_is_not_shown() -> None:
    sites = families_of(planted(20, seed=3))["spinal"][1]
    some = sites.gain(sites.prior, sites.probabilities)
    for mean, shown in ((1.01, True), (0.99, False)):
        assert replace(some, mean=mean * some.standard_error).is_shown == shown


def test_the_error_of_a_gain_is_that_of_leaving_out_each_study() -> None:
    rng = np.random.default_rng(2)
    studies = np.repeat(np.arange(200), 5)
    weights = 2.0 ** rng.integers(0, 3, 1000)
    fall = 2 + rng.normal(size=1000) + np.repeat(rng.normal(size=200), 5)

    def mean(kept: np.ndarray) -> float:
        return float(np.average(fall[kept], weights=weights[kept]))

    without = np.array([mean(studies != one) for one in range(200)])
    jackknife = np.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    gain = weighted_gain(fall, weights, studies)
    assert gain.mean == pytest.approx(mean(studies >= 0))
    assert gain.standard_error == pytest.approx(jackknife, rel=0.02)
    twice = gain + gain
    assert twice.mean == pytest.approx(2 * gain.mean)
    assert twice.standard_error == pytest.approx(2 * gain.standard_error)


def test_the_canals_gain_holds_both_of_its_terms() -> None:
    table = planted(30, seed=4)
    sites = families_of(table)["spinal"][1]
    gain = sites.spinal_gain(sites.prior, sites.probabilities)
    canal = (table["condition"] == SPINAL).to_numpy()[:, None]
    plain, prior = values(table, PROBABILITY_COLUMNS), values(table, PRIOR_COLUMNS)
    # No other term changes; the score is the mean of four.
    expected = scored(table, np.where(canal, prior, plain)) - scored(table, plain)
    assert gain.mean == pytest.approx(4 * expected)
    assert set(SEVERITIES) == set(table["severity"])

"""Each family beside the prior: a warning where images brought nothing."""

import numpy as np
import pandas as pd
import pytest
from planted_grades import at_random, family_loss, planted

from src.classification.calibration import PROBABILITY_COLUMNS
from src.classification.calibration_fit import fit_calibration
from src.classification.family_sites import PRIOR_COLUMNS
from src.classification.prior_comparison import (
    family_calibrations,
    fit_beside_prior,
    prior_warnings,
)
from src.competition.constants import FAMILIES, FAMILY_OF, SPINAL
from src.competition.submission import label_row_ids
from src.competition.tables import SITE
from src.metrics_schema import FamilyCalibration


def parted(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part a table of planted grades into its sites and, in any order, its prior."""
    prior = table[PRIOR_COLUMNS].set_axis(PROBABILITY_COLUMNS, axis=1)
    prior.insert(0, "row_id", label_row_ids(table))
    sites = table[[*SITE, "severity", *PROBABILITY_COLUMNS]]
    return sites, prior.sample(frac=1, random_state=0)


def half_useless(studies: int = 60) -> pd.DataFrame:
    """Grades that are right but for the canal's, which are at random."""
    table = planted(studies)
    canal = table["condition"] == SPINAL
    return at_random(table).where(canal, table)


def test_losses_are_of_the_runs_the_calibration_and_the_prior() -> None:
    table = half_useless()
    sites, prior = parted(table)
    fit = fit_beside_prior(sites, prior)
    found = family_calibrations(sites, prior, fit)
    assert list(found) == list(FAMILIES)
    rows = {
        "loss": table[PROBABILITY_COLUMNS].to_numpy(float),
        "calibrated_loss": fit.cross_fitted,
        "prior_loss": table[PRIOR_COLUMNS].to_numpy(float),
    }
    for family, entry in found.items():
        for name, probabilities in rows.items():
            expected = family_loss(table, probabilities, family)
            assert entry[name] == pytest.approx(expected), (family, name)
        correction = fit.calibration.families[family]
        assert entry["method"] == correction.method
        assert entry["prior_weight"] == correction.prior_weight
    assert found["spinal"]["prior_weight"] > 0.5
    assert found["foraminal"]["prior_weight"] == 0


def test_the_prior_is_of_each_site() -> None:
    table = half_useless()
    odd = (table["study_id"] % 2 == 1).to_numpy()
    # Of two folds, whose priors differ: a wrong one would cost 2 a row.
    table.loc[odd, PRIOR_COLUMNS] = (0.1, 0.1, 0.8)
    sites, prior = parted(table)
    found = family_calibrations(sites, prior, fit_beside_prior(sites, prior))
    expected = family_loss(table, table[PRIOR_COLUMNS].to_numpy(float), "spinal")
    assert found["spinal"]["prior_loss"] == pytest.approx(expected)


def test_a_family_no_better_than_the_prior_is_warned_of() -> None:
    sites, prior = parted(half_useless())
    found = family_calibrations(sites, prior, fit_beside_prior(sites, prior))
    [sentence] = prior_warnings(found)
    spinal = found["spinal"]
    assert sentence.startswith(f"Warning: the spinal grades score {spinal['loss']:.3f}")
    assert f"no better than the prior's {spinal['prior_loss']:.3f}" in sentence
    assert "nested folds support no share of them, so the prior is used" in sentence
    assert "train on more studies" in sentence
    assert spinal["prior_weight"] == 1


def test_the_warning_says_how_much_of_the_prior_is_used() -> None:
    sites, prior = parted(half_useless())
    fit = fit_beside_prior(sites, prior)
    spinal = family_calibrations(sites, prior, fit)["spinal"]
    some: FamilyCalibration = {**spinal, "prior_weight": 0.7, "calibrated_loss": 0.95}
    [sentence] = prior_warnings({"spinal": some})
    assert "calibrated, blended 70% with the prior, they score 0.950;" in sentence


def test_grades_that_no_correction_brings_below_the_prior_give_way_to_it() -> None:
    table = planted(30)
    foramen = table["condition"].map(FAMILY_OF) == "foraminal"
    table = at_random(table).where(foramen, table)
    fit, useless = fit_calibration(table), foramen.to_numpy()
    prior = table[PRIOR_COLUMNS].to_numpy(float)
    assert np.array_equal(fit.cross_fitted[useless], prior[useless])
    kept = fit.calibration.apply(
        table[PROBABILITY_COLUMNS].to_numpy(float), table, prior
    )
    assert kept[useless] == pytest.approx(prior[useless])
    assert not np.allclose(kept[~useless], prior[~useless])


def test_of_few_studies_the_warning_says_that_nothing_is_corrected() -> None:
    sites, prior = parted(half_useless(8))
    found = family_calibrations(sites, prior, fit_beside_prior(sites, prior))
    [sentence] = prior_warnings(found)
    assert "no correction brought a gain, so they are used as they are" in sentence


@pytest.mark.parametrize(("loss", "warned"), [(0.99, 0), (1.0, 1), (1.01, 1)])
def test_only_what_beats_the_prior_is_not_warned_of(loss: float, warned: int) -> None:
    sites, prior = parted(planted(8))
    [family, *_] = family_calibrations(
        sites, prior, fit_beside_prior(sites, prior)
    ).values()
    entry = {**family, "loss": loss, "prior_loss": 1.0}
    assert len(prior_warnings({"foraminal": entry})) == warned


def test_a_family_without_sites_is_not_compared() -> None:
    table = planted(12)
    table = table[table["condition"].map(FAMILY_OF) != "foraminal"]
    sites, prior = parted(table)
    found = family_calibrations(sites, prior, fit_beside_prior(sites, prior))
    assert set(found) == {"spinal", "subarticular"}
    assert np.isfinite([one["loss"] for one in found.values()]).all()

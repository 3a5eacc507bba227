"""Findings: each site has its own row, file, source and reason."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, SPINAL
from src.inference.findings import (
    NO_SEVERITY_RUN,
    fallback_reasons,
    keeps_prior,
    merge_into_findings,
    prior_findings,
    sources,
    to_submission,
)
from src.localization.level_shift import LevelShift
from src.localization.locate import LocatedSite

LEFT = "left_subarticular_stenosis"
PROBABILITY_COLUMNS = list(SEVERITIES)


def prior() -> pd.DataFrame:
    """A prior whose 25 rows all differ, in no order."""
    rows = [
        (condition, level, 0.5 - index / 100, 0.3, 0.2 + index / 100)
        for index, (condition, level) in enumerate(product(CONDITIONS, LEVELS))
    ]
    table = pd.DataFrame(rows, columns=["condition", "level", *PROBABILITY_COLUMNS])
    return table.sample(frac=1, random_state=0)


def located(source: str, **changes: float) -> LocatedSite:
    site = LocatedSite(5, 6, 7.126, 90.444, np.zeros(3), 0.87654, source)
    return replace(site, **changes)


def entered() -> pd.DataFrame:
    """A study of one site located, one projected, and one that was not graded."""
    sites = {
        (SPINAL, "l4_l5"): located("located"),
        (LEFT, "l4_l5"): located("projected", x=11.0, y=12.0, confidence=0.0),
        (LEFT, "l5_s1"): located("located", x=21.0, y=22.0),
    }
    graded = {
        (LEFT, "l4_l5"): np.array([0.1, 0.2, 0.7]),
        (SPINAL, "l4_l5"): np.array([0.6, 0.3, 0.1]),
    }
    reasons = {(LEFT, "l5_s1"): "outside", (LEFT, "l4_l5"): "not found"}
    before = prior_findings([8], prior(), "not read yet")
    return merge_into_findings(before, sites, graded, reasons).set_index(
        ["condition", "level"]
    )


def test_every_study_has_its_own_25_rows_of_the_prior() -> None:
    findings = prior_findings([12, 3], prior(), "not read yet")
    assert findings["study_id"].tolist() == [3] * 25 + [12] * 25
    expected = prior().set_index(["condition", "level"])[PROBABILITY_COLUMNS]
    for _, rows in findings.groupby("study_id"):
        given = rows.set_index(["condition", "level"])[PROBABILITY_COLUMNS]
        pd.testing.assert_frame_equal(given.astype(float), expected.loc[given.index])
    assert set(findings["source"]) == {"prior"}
    assert set(findings["reason"]) == {"not read yet"}
    assert findings[["series_id", "x", "confidence"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("target", "source", "probabilities", "reason"),
    [
        ((SPINAL, "l4_l5"), "located", [0.6, 0.3, 0.1], ""),
        ((LEFT, "l4_l5"), "projected", [0.1, 0.2, 0.7], "not found"),
        ((LEFT, "l5_s1"), "prior", None, "outside"),
        ((LEFT, "l1_l2"), "prior", None, ""),
    ],
)
def test_a_row_has_its_source_and_reason(
    target: tuple[str, str], source: str, probabilities: list[float] | None, reason: str
) -> None:
    row = entered().loc[target]
    assert (row["source"], row["reason"]) == (source, reason)
    usual = (
        prior()
        .set_index(["condition", "level"])
        .loc[target, PROBABILITY_COLUMNS]
        .tolist()
    )
    assert row[PROBABILITY_COLUMNS].tolist() == pytest.approx(probabilities or usual)


def test_a_site_is_listed_even_where_it_was_not_graded() -> None:
    rows = entered()
    columns = ["series_id", "instance_number", "x", "y", "confidence"]
    assert rows.loc[(LEFT, "l5_s1"), columns].tolist() == [5, 6, 21, 22, 0.8765]
    assert rows.loc[(SPINAL, "l4_l5"), columns].tolist() == [5, 6, 7.13, 90.44, 0.8765]
    assert rows.loc[(LEFT, "l1_l2"), columns].isna().all()


def test_a_submitted_row_has_its_own_rows_probabilities() -> None:
    findings = prior_findings([12, 3], prior(), "").sample(frac=1, random_state=1)
    rows = to_submission(findings).set_index("row_id")
    expected = prior().set_index(["condition", "level"])[PROBABILITY_COLUMNS]
    for study, condition, level in product((3, 12), CONDITIONS, LEVELS):
        row = rows.loc[f"{study}_{condition}_{level}", PROBABILITY_COLUMNS].tolist()
        assert row == expected.loc[(condition, level)].tolist()


def test_predictions_are_counted_by_family_and_source() -> None:
    counts = {row.pop("family"): row for row in sources(entered().reset_index())}
    assert counts == {
        "foraminal": {"located": 0, "projected": 0, "prior": 10, "all": 10},
        "spinal": {"located": 1, "projected": 0, "prior": 4, "all": 5},
        "subarticular": {"located": 0, "projected": 1, "prior": 9, "all": 10},
        "all": {"located": 1, "projected": 1, "prior": 23, "all": 25},
    }


def test_without_a_severity_run_sites_keep_their_source_and_the_priors_grade() -> None:
    before = prior_findings([8], prior(), "not read yet")
    target, reason = (LEFT, "l4_l5"), f"not found; {NO_SEVERITY_RUN}"
    sites, reasons = {target: located("projected")}, {target: reason}
    table = merge_into_findings(before, sites, None, reasons)
    row = table.set_index(["condition", "level"]).loc[target]
    assert (row["source"], row["reason"]) == ("projected", reason)
    assert (row["series_id"], row["x"]) == (5, 7.13)
    pd.testing.assert_frame_equal(
        table[PROBABILITY_COLUMNS].astype(float),
        before[PROBABILITY_COLUMNS].astype(float),
    )
    assert keeps_prior(table).all()
    graded = merge_into_findings(before, sites, {target: np.full(3, 1 / 3)}, {})
    assert keeps_prior(graded).sum() == 24
    [listed] = fallback_reasons(table[table["source"] != "prior"])
    assert listed == {"reason": NO_SEVERITY_RUN, "sites": 1, "studies": 1}


def test_a_prior_is_wrong_as_often_as_its_grade_is_not_the_label() -> None:
    rows = prior_findings([8], prior(), "").set_index(["condition", "level"])
    first, last = (CONDITIONS[0], LEVELS[0]), (CONDITIONS[-1], LEVELS[-1])
    # Less the weights 1, 2, 4: .5, .15, .05; the last .26, .15, .11, graded severe.
    assert rows.loc[first, "wrong_probability"] == pytest.approx(2 / 7, abs=1e-4)
    assert rows.loc[last, PROBABILITY_COLUMNS].idxmax() == "severe"
    assert rows.loc[last, "wrong_probability"] == pytest.approx(41 / 52, abs=1e-4)
    assert (rows["review"] == 0).all()


def test_a_grade_brings_its_own_doubt() -> None:
    rows = entered()
    # Less the weights: .1, .1, .175.
    doubts = rows["wrong_probability"]
    assert doubts[LEFT, "l4_l5"] == pytest.approx(200 / 375, abs=1e-4)
    before = prior_findings([8], prior(), "").set_index(["condition", "level"])
    usual = before["wrong_probability"]
    assert doubts[LEFT, "l5_s1"] == usual[LEFT, "l5_s1"]
    assert doubts[SPINAL, "l1_l2"] == usual[SPINAL, "l1_l2"]
    assert (rows["review"] == 0).all()


def test_doubt_about_levels_is_part_of_the_doubt_about_a_grade() -> None:
    sites = {(LEFT, level): located("located") for level in ("l3_l4", "l4_l5")}
    graded = {
        (LEFT, "l3_l4"): np.array([0.6, 0.3, 0.1]),  # less the weights .6, .15, .025
        (LEFT, "l4_l5"): np.array([0.1, 0.2, 0.7]),  # .1, .1, .175
    }
    before = prior_findings([8], prior(), "not read yet")
    table = merge_into_findings(before, sites, graded, {}, LevelShift(too_high=0.5))
    row = table.set_index(["condition", "level"]).loc[(LEFT, "l3_l4")]
    normal = 0.5 * 0.6 / 0.775 + 0.5 * 0.1 / 0.375
    assert row["wrong_probability"] == pytest.approx(1 - normal, abs=1e-4)
    assert row[PROBABILITY_COLUMNS].tolist() == [0.6, 0.3, 0.1]


def test_reasons_for_the_prior_are_counted_by_site_and_study() -> None:
    columns = ["study_id", "source", "reason"]
    rows = [(1, "prior", "dark"), (2, "prior", "dark"), (2, "prior", "dark")]
    rows += [(1, "prior", None), (1, "located", "dark"), (3, "projected", "faint")]
    assert fallback_reasons(pd.DataFrame(rows, columns=columns)) == [
        {"reason": "dark", "sites": 3, "studies": 2},
        {"reason": "no reason given", "sites": 1, "studies": 1},
    ]

"""What marked findings hold, and doubted levels, on tables worked by hand."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import review
from benchmarks.review import (
    calibration_rows,
    judged,
    level_doubts,
    level_offsets,
    level_rows,
    review_rows,
)
from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, SPINAL
from src.competition.metric import score
from src.competition.tables import Competition
from src.errors import UserError
from src.inference.findings import to_submission

FORAMEN = "left_neural_foraminal_narrowing"
RECESS = "left_subarticular_stenosis"
STUDIES = (7, 8, 9)


def drawn() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw labels and answers to three studies; one label is missing."""
    rng = np.random.default_rng(0)
    rows = product(STUDIES, CONDITIONS, LEVELS)
    sites = pd.DataFrame(rows, columns=["study_id", "condition", "level"])
    labels = sites.assign(severity=rng.choice(SEVERITIES, len(sites)))
    labels.loc[3, "severity"] = None
    findings = sites.copy()
    findings[list(SEVERITIES)] = rng.dirichlet(np.ones(3), len(sites))
    wrong = rng.uniform(0.1, 0.9, len(sites))
    return findings.assign(wrong_probability=wrong), labels


def test_losses_add_up_to_the_competitions_terms() -> None:
    findings, labels = drawn()
    rows = judged(findings, labels)
    assert len(rows) == 74
    terms = score(labels, to_submission(findings))
    expected = terms.spinal + terms.foraminal + terms.subarticular
    assert rows["loss"].sum() == pytest.approx(expected)


def test_a_finding_is_wrong_where_its_largest_answer_is_not_the_label() -> None:
    findings, labels = drawn()
    rows = judged(findings, labels).set_index(["study_id", "condition", "level"])
    names = findings.set_index(["study_id", "condition", "level"])[list(SEVERITIES)]
    truth = labels.set_index(["study_id", "condition", "level"])["severity"]
    for site, wrong in rows["wrong"].items():
        assert wrong == (names.loc[site].idxmax() != truth[site])


def test_findings_of_other_studies_are_refused() -> None:
    findings, labels = drawn()
    with pytest.raises(UserError, match="of different studies"):
        judged(findings.assign(study_id=1), labels)


def twenty() -> pd.DataFrame:
    """Twenty canals: doubt grows from row to row; wrong are 3, 18 and 19."""
    wrong = np.isin(np.arange(20), (3, 18, 19))
    table = pd.DataFrame(
        {"condition": SPINAL, "normal_mild": 0.6, "moderate": 0.2, "severe": 0.2},
        index=range(20),
    )
    return table.assign(
        wrong_probability=np.arange(20) / 40,
        wrong=wrong,
        loss=np.where(wrong, 2.0, 4 / 17),
    )


def test_the_share_of_errors_and_of_the_loss_that_is_held() -> None:
    rows = {(row["ranked by"], row["share"]): row for row in review_rows(twenty())}
    for ranking in ("expected loss (--review)", "wrong_probability"):
        one, two, four = (rows[ranking, share] for share in ("5%", "10%", "20%"))
        assert [row["findings"] for row in (one, two, four)] == [1, 2, 4]
        held = [row["errors held"] for row in (one, two, four)]
        assert held == pytest.approx([1 / 3, 2 / 3, 2 / 3])
        # The loss is 10: 2 an error, 4/17 each of the others.
        held = [row["loss held"] for row in (one, two, four)]
        assert held == pytest.approx([0.2, 0.4, 0.4 + 0.8 / 17])
    assert rows["true loss", "20%"]["errors held"] == 1


def test_doubt_is_compared_with_the_share_that_is_wrong() -> None:
    rows = {row["findings"]: row for row in calibration_rows(twenty())}
    assert [rows[name]["n"] for name in ("least doubt", "most doubt", "all")] == [
        7,
        7,
        20,
    ]
    assert rows["least doubt"]["mean wrong_probability"] == pytest.approx(3 / 40)
    assert rows["least doubt"]["truly wrong"] == pytest.approx(1 / 7)
    assert rows["most doubt"]["truly wrong"] == pytest.approx(2 / 7)
    assert rows["all"]["truly wrong"] == pytest.approx(3 / 20)


def placed(study: int, step: int, reason: str = "") -> pd.DataFrame:
    """Find a study's sagittal sites `step` discs below the true ones, 30 px apart.

    Series 1 shows the canal, 2 the foramen, 3 the recess, which is found anywhere.
    """
    rows = [
        (study, condition, level, series, 50.0, 20.0 + 30 * (index + step), reason)
        for series, condition in enumerate((SPINAL, FORAMEN, RECESS), start=1)
        for index, level in enumerate(LEVELS)
    ]
    columns = ["study_id", "condition", "level", "series_id", "x", "y", "reason"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table["condition"] == RECESS, "y"] = 20.0
    return table


def points(*studies: int) -> pd.DataFrame:
    return pd.concat([placed(study, 0) for study in studies]).drop(columns="reason")


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_levels_found_a_disc_lower_are_one_too_low(step: int) -> None:
    # Of five sites one lies beyond the true five: nearest to the last of them.
    assert level_offsets(placed(7, step), points(7)).to_dict() == {7: step}


def test_a_single_wrong_level_is_no_wrong_count() -> None:
    found = placed(7, 0)
    found.loc[[0, 1], "y"] += 30
    assert level_offsets(found, points(7)).to_dict() == {7: 0}


def test_sites_of_other_series_are_not_compared() -> None:
    found = placed(7, 1)
    found.loc[found["condition"] == SPINAL, "series_id"] = 99
    found.loc[found["condition"] == FORAMEN, "y"] -= 30
    assert level_offsets(found, points(7)).to_dict() == {7: 0}
    found["series_id"] = np.nan
    assert level_offsets(found, points(7)).empty


def test_the_doubt_of_a_study_is_read_out_of_its_reasons() -> None:
    doubted = placed(7, 0)
    doubted.loc[4, "reason"] = (
        "not found; levels may be one too high (20%) or too low (3%)"
    )
    other = placed(8, 0, "levels may be one too high (1%) or too low (6%)")
    rows = pd.concat([doubted, other, placed(9, 0)])
    assert level_doubts(rows).to_dict() == pytest.approx({7: 0.23, 8: 0.07, 9: 0})


def test_studies_off_by_one_are_compared_with_the_others() -> None:
    told = "levels may be one too high ({}%) or too low (0%)"
    found = pd.concat(
        [
            placed(1, -2, told.format(40)),
            placed(2, 1, told.format(20)),
            placed(3, 0, told.format(30)),
            placed(4, 0),
            placed(5, 0),
        ]
    )
    truth = points(*range(1, 6))
    variants = pd.Series({1: "sixth_lumbar", 2: "usual", 3: "usual", 4: "usual"})
    rows = {row["studies"]: row for row in level_rows(found, truth, variants)}
    whole = rows["all"]
    assert (whole["n"], whole["levels off"]) == (5, 2)
    assert (whole["mean doubt of those"], whole["of the others"]) == ("0.30", "0.10")
    assert (whole["doubted, of those"], whole["doubted, others"]) == (2, 1)
    assert whole["AUC"] == "0.83"  # 5 of 6 pairs: .2 is less than .3
    assert (rows["sixth_lumbar"]["n"], rows["sixth_lumbar"]["AUC"]) == (1, "-")
    assert rows["sixth_lumbar"]["of the others"] == "-"
    assert (rows["usual"]["n"], rows["unknown"]["n"]) == (3, 1)


def test_only_a_phantom_has_its_truth_beside_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only a phantom has its truth"):
        review.read_truth(tmp_path / "data")


def test_the_tables_are_written_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings, labels = drawn()
    where = pd.concat([placed(study, 0) for study in STUDIES])
    findings = findings.merge(where, on=["study_id", "condition", "level"], how="left")
    findings.to_csv(tmp_path / "findings.csv", index=False)
    folder = tmp_path / "data-truth"
    folder.mkdir()
    rows = ["study_id,split,variant", "7,test,usual", "8,test,sixth_lumbar"]
    (folder / "variants.csv").write_text("\n".join(rows))
    truth = Competition(folder, labels, points(*STUDIES), pd.DataFrame())
    monkeypatch.setattr(review, "read_training", lambda path: truth)
    monkeypatch.chdir(tmp_path)
    flags = ["--data", "data", "--findings", "findings.csv", "--write"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/review.py", *flags])
    review.main()
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    for title in ("what is marked", "doubt and errors", "levels"):
        assert f"## Review: {title}\n" in text
    assert text.count("Test studies: 3.") == 3
    assert "| sixth_lumbar | 1 | 0 |" in text

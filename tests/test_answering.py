"""Answering: a whole file at every moment, whatever a study does."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition import submission
from src.competition.prior import uniform
from src.reading.answering import Answers, answer_all
from src.reading.findings import enter, fallbacks, prior_findings, sources
from src.reading.locate import Located

STUDIES = [11, 12, 13, 14]
SITE = ("spinal_canal_stenosis", "l4_l5")


class Reader:
    """Grades one site of each study; fails on some."""

    def __init__(self, failing: dict[int, BaseException], seconds: float = 0.0) -> None:
        """Fail on some studies; take so long for each."""
        self.failing, self.seconds, self.read_ids = failing, seconds, []

    def read(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Enter one site."""
        study = int(folder.name)
        self.read_ids.append(study)
        time.sleep(self.seconds)
        if study in self.failing:
            raise self.failing[study]
        site = Located(5, 6, 7.5, 8.5, np.zeros(3), 0.8, "located")
        graded = {SITE: np.array([0.1, 0.2, 0.7])}
        return enter(findings, {SITE: site}, graded, {})


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path / "submission.csv", tmp_path / "findings.csv")


def run(answers: Answers, reader: Reader, limit_s: float = np.inf) -> pd.DataFrame:
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    answers.write(prior)
    series = pd.DataFrame({"study_id": [11], "series_id": [5]})
    return answer_all(prior, Path("images"), series, reader, answers, limit_s)


def test_every_study_is_entered(answers: Answers) -> None:
    findings = run(answers, Reader({}))
    written = submission.read(answers.submission).set_index("row_id")
    submission.check(written.reset_index(), STUDIES)
    assert written.loc["12_spinal_canal_stenosis_l4_l5", "severe"] == 0.7
    assert written.loc["12_spinal_canal_stenosis_l1_l2", "severe"] == pytest.approx(
        1 / 3
    )
    counts = {row["family"]: row for row in sources(findings)}
    assert (counts["spinal"]["located"], counts["all"]["prior"]) == (4, 96)
    held = pd.read_csv(answers.findings)
    row = held[held["source"] == "located"].iloc[0]
    assert (row["series_id"], row["instance_number"]) == (5, 6)
    assert (row["x"], row["y"], row["confidence"]) == (7.5, 8.5, 0.8)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), MemoryError(), KeyError("tag"), RuntimeError("a\nb")]
)
def test_a_study_that_fails_keeps_the_prior_and_says_why(
    answers: Answers, error: Exception
) -> None:
    findings = run(answers, Reader({12: error}))
    failed = findings[findings["study_id"] == 12]
    assert set(failed["source"]) == {"prior"}
    [reason] = failed["reason"].unique()
    assert type(error).__name__ in reason
    assert "\n" not in reason
    assert (findings["source"] == "located").sum() == 3
    assert any(row["reason"] == reason for row in fallbacks(findings))


def test_it_stops_in_time_with_what_there_is(answers: Answers) -> None:
    reader = Reader({}, seconds=0.2)
    findings = run(answers, reader, limit_s=0.5)
    assert reader.read_ids == STUDIES[:2]
    late = findings[findings["study_id"] == 14]
    assert late["reason"].str.contains("limit").all()
    submission.check(submission.read(answers.submission), STUDIES)


def test_no_time_at_all_is_the_prior(answers: Answers) -> None:
    reader = Reader({})
    findings = run(answers, reader, limit_s=-1)
    assert reader.read_ids == []
    assert set(findings["source"]) == {"prior"}


def test_a_kill_leaves_a_whole_file(answers: Answers) -> None:
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        run(answers, Reader({13: Killed()}))
    submission.check(submission.read(answers.submission), STUDIES)


def test_a_grade_that_is_no_number_costs_its_own_study_alone(answers: Answers) -> None:
    class Broken(Reader):
        def read(
            self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
        ) -> pd.DataFrame:
            rows = super().read(folder, listed, findings)
            return rows.assign(severe=np.nan) if folder.name == "13" else rows

    findings = run(answers, Broken({}))
    submission.check(submission.read(answers.submission), STUDIES)
    assert (findings["source"] == "located").sum() == 3


def test_no_folder_of_the_users_is_in_the_findings(answers: Answers) -> None:
    error = PermissionError(13, "denied", "images/12")
    findings = run(answers, Reader({12: error}))
    [reason] = findings.loc[findings["study_id"] == 12, "reason"].unique()
    assert "images" not in reason

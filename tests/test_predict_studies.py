"""Answering: a whole file at every moment, whatever a study does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.competition import submission
from src.competition.prior import uniform
from src.inference import predict_studies
from src.inference.findings import (
    fallback_reasons,
    merge_into_findings,
    prior_findings,
    sources,
)
from src.inference.predict_studies import OutputFiles, predict_all_studies
from src.localization.locate import LocatedSite

STUDIES = [11, 12, 13, 14]
SITE = ("spinal_canal_stenosis", "l4_l5")


class Reader:
    """Grades one site of each study; fails on some."""

    def __init__(self, failing: dict[int, BaseException]) -> None:
        """Fail on some studies."""
        self.failing, self.read_ids = failing, []

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Enter one site."""
        study = int(folder.name)
        self.read_ids.append(study)
        if study in self.failing:
            raise self.failing[study]
        site = LocatedSite(5, 6, 7.5, 8.5, np.zeros(3), 0.8, "located")
        graded = {SITE: np.array([0.1, 0.2, 0.7])}
        return merge_into_findings(findings, {SITE: site}, graded, {})


@pytest.fixture
def answers(tmp_path: Path) -> OutputFiles:
    return OutputFiles(tmp_path / "submission.csv", tmp_path / "findings.csv")


def run(answers: OutputFiles, reader: Reader, limit_s: float = np.inf) -> pd.DataFrame:
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    answers.write(prior)
    series = pd.DataFrame({"study_id": [11], "series_id": [5]})
    return predict_all_studies(prior, Path("images"), series, reader, answers, limit_s)


def test_every_study_is_entered(answers: OutputFiles) -> None:
    findings = run(answers, Reader({}))
    written = submission.read_submission(answers.submission).set_index("row_id")
    submission.check_submission(written.reset_index(), STUDIES)
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
    answers: OutputFiles, error: Exception
) -> None:
    findings = run(answers, Reader({12: error}))
    failed = findings[findings["study_id"] == 12]
    assert set(failed["source"]) == {"prior"}
    [reason] = failed["reason"].unique()
    assert type(error).__name__ in reason
    assert "\n" not in reason
    assert (findings["source"] == "located").sum() == 3
    assert any(row["reason"] == reason for row in fallback_reasons(findings))


def test_no_time_at_all_is_the_prior(answers: OutputFiles) -> None:
    reader = Reader({})
    findings = run(answers, reader, limit_s=-1)
    assert reader.read_ids == []
    assert set(findings["source"]) == {"prior"}


def test_a_kill_leaves_a_whole_file(answers: OutputFiles) -> None:
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        run(answers, Reader({13: Killed()}))
    submission.check_submission(submission.read_submission(answers.submission), STUDIES)


def test_a_grade_that_is_no_number_costs_its_own_study_alone(
    answers: OutputFiles,
) -> None:
    class Broken(Reader):
        def predict(
            self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
        ) -> pd.DataFrame:
            rows = super().predict(folder, listed, findings)
            return rows.assign(severe=np.nan) if folder.name == "13" else rows

    findings = run(answers, Broken({}))
    submission.check_submission(submission.read_submission(answers.submission), STUDIES)
    assert (findings["source"] == "located").sum() == 3


def test_no_folder_of_the_users_is_in_the_findings(answers: OutputFiles) -> None:
    error = PermissionError(13, "denied", "images/12")
    findings = run(answers, Reader({12: error}))
    [reason] = findings.loc[findings["study_id"] == 12, "reason"].unique()
    assert "images" not in reason


class Clock:
    """A clock that only a reader moves on."""

    def __init__(self) -> None:
        """Begin at no round number."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now


class Slow(Reader):
    """Takes its seconds of a clock for each study, and looks at what is written."""

    def __init__(self, clock: Clock, seconds: dict[int, float], path: Path) -> None:
        """Take so long for each study; look at the submission at a path."""
        super().__init__({})
        self.clock, self.took, self.path = clock, seconds, path
        self.listed: dict[int, list[int]] = {}
        self.folders: list[Path] = []
        self.written: dict[int, set[int]] = {}

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Enter one site."""
        rows = super().predict(folder, listed, findings)
        study = self.read_ids[-1]
        self.folders.append(folder)
        self.listed[study] = listed["series_id"].tolist()
        held = submission.read_submission(self.path)
        there = held.loc[held["severe"] == 0.7, "row_id"].str.split("_").str[0]
        self.written[study] = set(there.astype(int))
        self.clock.now += self.took.get(study, 1.0)
        return rows


def timed(
    answers: OutputFiles,
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[int, float],
    limit_s: float = np.inf,
) -> tuple[Slow, pd.DataFrame, list[tuple[int, int]]]:
    """Answer by a clock of our own; also return what the progress was told."""
    clock = Clock()
    monkeypatch.setattr(predict_studies, "time", clock)
    reader = Slow(clock, seconds, answers.submission)
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    answers.write(prior)
    rows = [(14, 140), (11, 110), (11, 111), (99, 990)]
    series = pd.DataFrame(rows, columns=["study_id", "series_id"])
    told: list[tuple[int, int]] = []
    findings = predict_all_studies(
        *(prior, Path("images"), series, reader, answers, limit_s),
        lambda done, total: told.append((done, total)),
    )
    return reader, findings, told


def test_a_study_is_read_from_its_own_folder_and_series(
    answers: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _, told = timed(answers, monkeypatch, {})
    assert reader.folders == [Path("images") / str(study) for study in STUDIES]
    assert reader.listed == {11: [110, 111], 12: [], 13: [], 14: [140]}
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_it_stops_in_time_with_what_there_is(
    answers: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = dict.fromkeys(STUDIES, 0.2)
    reader, findings, _ = timed(answers, monkeypatch, seconds, limit_s=0.5)
    assert reader.read_ids == STUDIES[:2]
    late = findings[findings["study_id"] == 14]
    assert late["reason"].str.contains("limit").all()
    submission.check_submission(submission.read_submission(answers.submission), STUDIES)


def test_none_is_begun_that_might_take_as_long_as_the_slowest(
    answers: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 70 s are gone, and another slow one would end after 130 s.
    reader, findings, _ = timed(answers, monkeypatch, {11: 60, 12: 10}, limit_s=120)
    assert reader.read_ids == [11, 12]
    late = findings[findings["study_id"].isin([13, 14])]
    assert len(late) == 50
    [reason] = late["reason"].unique()
    assert "limit of 2 minutes" in reason
    assert set(late["source"]) == {"prior"}
    reader, _, _ = timed(answers, monkeypatch, {11: 60, 12: 10}, limit_s=130)
    assert reader.read_ids == [11, 12, 13]


def test_what_was_read_is_written_every_few_seconds(
    answers: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _, _ = timed(answers, monkeypatch, {11: 8, 12: 1, 13: 9})
    assert reader.written == {11: set(), 12: {11}, 13: {11}, 14: {11, 12, 13}}


def test_another_studys_answer_is_not_taken(answers: OutputFiles) -> None:
    class Mistaken(Reader):
        def predict(
            self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
        ) -> pd.DataFrame:
            rows = super().predict(folder, listed, findings)
            return rows.assign(study_id=99) if folder.name == "13" else rows

    findings = run(answers, Mistaken({}))
    assert set(findings["study_id"]) == set(STUDIES)
    assert set(findings.loc[findings["study_id"] == 13, "source"]) == {"prior"}
    submission.check_submission(submission.read_submission(answers.submission), STUDIES)

"""Many studies: a complete submission at any time, whatever fails."""

from dataclasses import replace
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
from src.inference.predicted_study import PredictedStudy
from src.inference.study import Study
from src.localization.locate import LocatedSite

STUDIES = [11, 12, 13, 14]
SITE = ("spinal_canal_stenosis", "l4_l5")


class FakePredictor:
    """Grades one site of each study; fails on some."""

    def __init__(self, failing: dict[int, BaseException]) -> None:
        """Fail on some studies."""
        self.failing, self.read_ids = failing, []

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Grade one site."""
        study = int(folder.name)
        self.read_ids.append(study)
        if study in self.failing:
            raise self.failing[study]
        site = LocatedSite(5, 6, 7.5, 8.5, np.zeros(3), 0.8, "located")
        graded = {SITE: np.array([0.1, 0.2, 0.7])}
        rows = merge_into_findings(findings, {SITE: site}, graded, {})
        return PredictedStudy(Study(study), rows)


@pytest.fixture
def outputs(tmp_path: Path) -> OutputFiles:
    return OutputFiles(tmp_path / "submission.csv", tmp_path / "findings.csv")


def run(
    outputs: OutputFiles, predictor: FakePredictor, limit_s: float = np.inf
) -> pd.DataFrame:
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    outputs.write(prior)
    series = pd.DataFrame({"study_id": [11], "series_id": [5]})
    return predict_all_studies(
        prior, Path("images"), series, predictor, outputs, limit_s
    )


def test_every_study_is_predicted(outputs: OutputFiles) -> None:
    findings = run(outputs, FakePredictor({}))
    written = submission.read_submission(outputs.submission).set_index("row_id")
    submission.check_submission(written.reset_index(), STUDIES)
    assert written.loc["12_spinal_canal_stenosis_l4_l5", "severe"] == 0.7
    assert written.loc["12_spinal_canal_stenosis_l1_l2", "severe"] == pytest.approx(
        1 / 3
    )
    counts = {row["family"]: row for row in sources(findings)}
    assert (counts["spinal"]["located"], counts["all"]["prior"]) == (4, 96)
    held = pd.read_csv(outputs.findings)
    row = held[held["source"] == "located"].iloc[0]
    assert (row["series_id"], row["instance_number"]) == (5, 6)
    assert (row["x"], row["y"], row["confidence"]) == (7.5, 8.5, 0.8)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), MemoryError(), KeyError("tag"), RuntimeError("a\nb")]
)
def test_a_study_that_fails_keeps_the_prior_with_a_reason(
    outputs: OutputFiles, error: Exception
) -> None:
    findings = run(outputs, FakePredictor({12: error}))
    failed = findings[findings["study_id"] == 12]
    assert set(failed["source"]) == {"prior"}
    [reason] = failed["reason"].unique()
    assert type(error).__name__ in reason
    assert "\n" not in reason
    assert (findings["source"] == "located").sum() == 3
    assert any(row["reason"] == reason for row in fallback_reasons(findings))


def test_without_time_every_row_is_the_prior(outputs: OutputFiles) -> None:
    predictor = FakePredictor({})
    findings = run(outputs, predictor, limit_s=-1)
    assert predictor.read_ids == []
    assert set(findings["source"]) == {"prior"}


def test_a_kill_leaves_a_complete_file(outputs: OutputFiles) -> None:
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        run(outputs, FakePredictor({13: Killed()}))
    submission.check_submission(submission.read_submission(outputs.submission), STUDIES)


def test_a_grade_that_is_not_finite_costs_its_own_study_alone(
    outputs: OutputFiles,
) -> None:
    class Broken(FakePredictor):
        def predict(
            self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
        ) -> PredictedStudy:
            predicted = super().predict(folder, listed, findings)
            rows = predicted.findings
            rows = rows.assign(severe=np.nan) if folder.name == "13" else rows
            return replace(predicted, findings=rows)

    findings = run(outputs, Broken({}))
    submission.check_submission(submission.read_submission(outputs.submission), STUDIES)
    assert (findings["source"] == "located").sum() == 3


def test_no_folder_of_the_users_is_in_the_findings(outputs: OutputFiles) -> None:
    error = PermissionError(13, "denied", "images/12")
    findings = run(outputs, FakePredictor({12: error}))
    [reason] = findings.loc[findings["study_id"] == 12, "reason"].unique()
    assert "images" not in reason


class Clock:
    """A clock that only a predictor advances."""

    def __init__(self) -> None:
        """Start at an arbitrary time."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class Slow(FakePredictor):
    """Takes its seconds for each study, and keeps what was written by then."""

    def __init__(self, clock: Clock, seconds: dict[int, float], path: Path) -> None:
        """Take some seconds for each study; read the submission at a path."""
        super().__init__({})
        self.clock, self.took, self.path = clock, seconds, path
        self.listed: dict[int, list[int]] = {}
        self.folders: list[Path] = []
        self.written: dict[int, set[int]] = {}

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Grade one site."""
        rows = super().predict(folder, listed, findings)
        study = self.read_ids[-1]
        self.folders.append(folder)
        self.listed[study] = listed["series_id"].tolist()
        written = submission.read_submission(self.path)
        graded = written.loc[written["severe"] == 0.7, "row_id"].str.split("_").str[0]
        self.written[study] = set(graded.astype(int))
        self.clock.now += self.took.get(study, 1.0)
        return rows


def timed(
    outputs: OutputFiles,
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[int, float],
    limit_s: float = np.inf,
) -> tuple[Slow, pd.DataFrame, list[tuple[int, int]]]:
    """Predict by a fake clock; also return the calls of the progress function."""
    clock = Clock()
    monkeypatch.setattr(predict_studies, "time", clock)
    predictor = Slow(clock, seconds, outputs.submission)
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    outputs.write(prior)
    rows = [(14, 140), (11, 110), (11, 111), (99, 990)]
    series = pd.DataFrame(rows, columns=["study_id", "series_id"])
    calls: list[tuple[int, int]] = []
    findings = predict_all_studies(
        *(prior, Path("images"), series, predictor, outputs, limit_s),
        lambda done, total: calls.append((done, total)),
    )
    return predictor, findings, calls


def test_a_study_is_read_from_its_own_folder_and_series(
    outputs: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, _, calls = timed(outputs, monkeypatch, {})
    assert predictor.folders == [Path("images") / str(study) for study in STUDIES]
    assert predictor.listed == {11: [110, 111], 12: [], 13: [], 14: [140]}
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_it_stops_in_time_and_keeps_the_prior(
    outputs: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = dict.fromkeys(STUDIES, 0.2)
    predictor, findings, _ = timed(outputs, monkeypatch, seconds, limit_s=0.5)
    assert predictor.read_ids == STUDIES[:2]
    late = findings[findings["study_id"] == 14]
    assert late["reason"].str.contains("limit").all()
    submission.check_submission(submission.read_submission(outputs.submission), STUDIES)


def test_no_study_is_started_that_might_exceed_the_limit(
    outputs: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 70 s are gone, and another slow one would end after 130 s.
    predictor, findings, _ = timed(outputs, monkeypatch, {11: 60, 12: 10}, limit_s=120)
    assert predictor.read_ids == [11, 12]
    late = findings[findings["study_id"].isin([13, 14])]
    assert len(late) == 50
    [reason] = late["reason"].unique()
    assert "limit of 2 minutes" in reason
    assert set(late["source"]) == {"prior"}
    predictor, _, _ = timed(outputs, monkeypatch, {11: 60, 12: 10}, limit_s=130)
    assert predictor.read_ids == [11, 12, 13]


def test_the_files_are_written_every_few_seconds(
    outputs: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, _, _ = timed(outputs, monkeypatch, {11: 8, 12: 1, 13: 9})
    assert predictor.written == {11: set(), 12: {11}, 13: {11}, 14: {11, 12, 13}}


def test_another_studys_rows_are_refused(outputs: OutputFiles) -> None:
    class Mistaken(FakePredictor):
        def predict(
            self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
        ) -> PredictedStudy:
            predicted = super().predict(folder, listed, findings)
            rows = predicted.findings
            rows = rows.assign(study_id=99) if folder.name == "13" else rows
            return replace(predicted, findings=rows)

    findings = run(outputs, Mistaken({}))
    assert set(findings["study_id"]) == set(STUDIES)
    assert set(findings.loc[findings["study_id"] == 13, "source"]) == {"prior"}
    submission.check_submission(submission.read_submission(outputs.submission), STUDIES)


def test_every_study_is_handed_on_once_whatever_became_of_it(
    outputs: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in time, one of them broken, and two beyond the limit."""
    clock = Clock()
    monkeypatch.setattr(predict_studies, "time", clock)
    predictor = Slow(clock, {}, outputs.submission)
    predictor.failing[12] = ValueError("odd")
    prior = prior_findings(STUDIES, uniform(), "not read yet")
    outputs.write(prior)
    handed: list[PredictedStudy] = []

    def page(predicted: PredictedStudy) -> None:
        handed.append(predicted)
        clock.now += 10  # a page takes ten times as long as its study: it counts

    series = pd.DataFrame({"study_id": [11], "series_id": [5]})
    findings = predict_all_studies(
        prior, Path("images"), series, predictor, outputs, 30, on_study=page
    )
    assert [one.study.study_id for one in handed] == STUDIES
    together = pd.concat([one.findings for one in handed], ignore_index=True)
    pd.testing.assert_frame_equal(together, findings)
    reasons = [one.findings["reason"].iloc[-1] for one in handed]
    assert "odd" in reasons[1]
    assert ["time limit" in reason for reason in reasons] == [False, False, True, True]

"""Prediction of many studies, with a complete submission on the disk at any time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from src.competition import submission
from src.errors import without_folder
from src.files import write_csv
from src.inference.findings import to_submission
from src.inference.predicted_study import PredictedStudy
from src.inference.study import Study

WRITE_EVERY_S = 5.0
Progress = Callable[[int, int], None]
OnStudy = Callable[[PredictedStudy], None]


class StudyPredictor(Protocol):
    """The interface of pipeline.StudyPipeline."""

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> PredictedStudy:
        """Return the study's 25 findings and what they come from."""


@dataclass(frozen=True)
class OutputFiles:
    """The paths of the submission and of findings.csv."""

    submission: Path
    findings: Path

    def write(self, findings: pd.DataFrame) -> None:
        """Replace both files, each atomically."""
        submission.write_submission(to_submission(findings), self.submission)
        write_csv(findings, self.findings)


def predict_all_studies(
    prior: pd.DataFrame,
    images: Path,
    series: pd.DataFrame,
    predictor: StudyPredictor,
    outputs: OutputFiles,
    limit_s: float,
    progress: Progress = lambda done, total: None,
    on_study: OnStudy = lambda predicted: None,
) -> pd.DataFrame:
    """Predict study after study; return the findings.

    prior: findings of all studies before any is read, already written to `outputs`.
    images: the folder of `<study_id>/`; series: study_id, series_id and type of all. A
    study that fails keeps the prior, with the reason. No study is started that would
    exceed limit_s seconds if it took as long as the slowest so far. on_study: called
    with each study once, also with those that keep the prior; its time counts.
    """
    parts = dict(iter(prior.groupby("study_id")))
    start = written = time.monotonic()
    slowest = 0.0
    for done, study_id in enumerate(parts):
        begun = time.monotonic()
        if begun - start + slowest > limit_s:
            minutes = f"{limit_s / 60:g} minutes"
            reason = f"the time limit of {minutes} was reached before this study"
            for late in list(parts)[done:]:
                parts[late] = parts[late].assign(reason=reason)
                on_study(PredictedStudy(Study(int(str(late))), parts[late]))
            break
        listed = series[series["study_id"] == study_id]
        rows = parts[study_id]
        predicted = _predict_one(predictor, images / str(study_id), listed, rows)
        parts[study_id] = predicted.findings
        on_study(predicted)
        del predicted  # its pixels, before the next study's
        slowest = max(slowest, time.monotonic() - begun)
        if time.monotonic() - written > WRITE_EVERY_S:
            outputs.write(pd.concat(parts.values(), ignore_index=True))
            written = time.monotonic()
        progress(done + 1, len(parts))
    findings = pd.concat(parts.values(), ignore_index=True)
    outputs.write(findings)
    return findings


def _predict_one(
    predictor: StudyPredictor, folder: Path, listed: pd.DataFrame, prior: pd.DataFrame
) -> PredictedStudy:
    """Predict a study; on an error return its rows of the prior with the reason."""
    try:
        predicted = predictor.predict(folder, listed, prior)
        rows = to_submission(predicted.findings)
        submission.check_submission(rows, [int(folder.name)])
    except Exception as error:  # a broken study must not cost the others
        message = without_folder(" ".join(str(error).split()), folder)
        reason = f"reading it failed: {type(error).__name__}: {message}".rstrip(": ")
        return PredictedStudy(Study(int(folder.name)), prior.assign(reason=reason))
    return predicted

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

WRITE_EVERY_S = 5.0
Progress = Callable[[int, int], None]


class StudyPredictor(Protocol):
    """The interface of pipeline.StudyPipeline."""

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Return the study's 25 findings."""


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
) -> pd.DataFrame:
    """Predict study after study; return the findings.

    prior: findings of all studies before any is read, already written to `outputs`.
    images: the folder of `<study_id>/`; series: study_id, series_id and type of all. A
    study that fails keeps the prior, with the reason. No study is started that would
    exceed limit_s seconds if it took as long as the slowest so far.
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
            break
        listed = series[series["study_id"] == study_id]
        rows = parts[study_id]
        parts[study_id] = _predict_one(predictor, images / str(study_id), listed, rows)
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
) -> pd.DataFrame:
    """Predict a study; on an error return its rows of the prior with the reason."""
    try:
        rows = predictor.predict(folder, listed, prior)
        submission.check_submission(to_submission(rows), [int(folder.name)])
    except Exception as error:  # a broken study must not cost the others
        message = without_folder(" ".join(str(error).split()), folder)
        reason = f"reading it failed: {type(error).__name__}: {message}".rstrip(": ")
        return prior.assign(reason=reason)
    return rows

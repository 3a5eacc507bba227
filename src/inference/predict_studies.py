"""Answering many studies, with a complete answer on the disk at every moment."""

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
    """What answers one study; see pipeline.StudyPipeline."""

    def predict(
        self, folder: Path, listed: pd.DataFrame, findings: pd.DataFrame
    ) -> pd.DataFrame:
        """Return the study's 25 findings."""


@dataclass(frozen=True)
class OutputFiles:
    """Where the answer is kept: the submission, and what it rests on."""

    submission: Path
    findings: Path

    def write(self, findings: pd.DataFrame) -> None:
        """Replace both files whole."""
        submission.write_submission(to_submission(findings), self.submission)
        write_csv(findings, self.findings)


def predict_all_studies(
    prior: pd.DataFrame,
    images: Path,
    series: pd.DataFrame,
    reader: StudyPredictor,
    answers: OutputFiles,
    limit_s: float,
    progress: Progress = lambda done, total: None,
) -> pd.DataFrame:
    """Answer study after study; return the findings.

    prior: findings of all studies before any is read, which `answers` holds already.
    images: the folder of `<study_id>/`; series: study_id, series_id and type of all. A
    study that fails in whatever way keeps the prior and says why; none is begun that
    would not end within limit_s seconds if it took as long as the slowest so far.
    """
    parts = dict(iter(prior.groupby("study_id")))
    start = written = time.monotonic()
    slowest = 0.0
    for done, study_id in enumerate(parts):
        begun = time.monotonic()
        if begun - start + slowest > limit_s:
            reason = (
                f"the time limit of {limit_s / 60:g} minutes came before this study"
            )
            for late in list(parts)[done:]:
                parts[late] = parts[late].assign(reason=reason)
            break
        listed = series[series["study_id"] == study_id]
        parts[study_id] = _answered(reader, images / str(study_id), listed, parts)
        slowest = max(slowest, time.monotonic() - begun)
        if time.monotonic() - written > WRITE_EVERY_S:
            answers.write(pd.concat(parts.values(), ignore_index=True))
            written = time.monotonic()
        progress(done + 1, len(parts))
    findings = pd.concat(parts.values(), ignore_index=True)
    answers.write(findings)
    return findings


def _answered(
    reader: StudyPredictor,
    folder: Path,
    listed: pd.DataFrame,
    parts: dict[int, pd.DataFrame],
) -> pd.DataFrame:
    study_id = int(folder.name)
    try:
        rows = reader.predict(folder, listed, parts[study_id])
        submission.check_submission(to_submission(rows), [study_id])
    except Exception as error:  # whatever it is: one study must not cost the others
        told = without_folder(" ".join(str(error).split()), folder)
        reason = f"reading it failed: {type(error).__name__}: {told}".rstrip(": ")
        return parts[study_id].assign(reason=reason)
    return rows

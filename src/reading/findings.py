"""Findings: what is answered for each study, condition and level, and why."""

import pandas as pd

from src.competition.submission import from_prior, label_row_ids
from src.competition.vocab import CONDITIONS, LEVELS, SEVERITIES

COLUMNS = (
    *("study_id", "condition", "level", "series_id", "instance_number", "x", "y"),
    *("confidence", "source", "reason", *SEVERITIES),
    *("seen_condition", "seen_probability"),
)


def prior_findings(
    studies: list[int], prior: pd.DataFrame, reason: str
) -> pd.DataFrame:
    """Answer every site of the studies by the prior: 25 rows a study, COLUMNS."""
    answers = from_prior(studies, prior)
    places = pd.MultiIndex.from_product(
        [sorted(studies), CONDITIONS, LEVELS], names=["study_id", "condition", "level"]
    )
    findings = pd.DataFrame(index=places).reset_index()
    findings[list(SEVERITIES)] = answers[list(SEVERITIES)].to_numpy()
    findings["source"], findings["reason"] = "prior", reason
    return findings.reindex(columns=list(COLUMNS))


def to_submission(findings: pd.DataFrame) -> pd.DataFrame:
    """Keep what the competition asks for: row_id and three probabilities."""
    submission = findings[list(SEVERITIES)].copy()
    submission.insert(0, "row_id", label_row_ids(findings))
    return submission

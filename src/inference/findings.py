"""Findings: what is answered for each study, condition and level, and why."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, FAMILY_OF, LEVELS, SEVERITIES
from src.competition.submission import from_prior, label_row_ids
from src.localization.locate import Sites
from src.localization.spine_prior import Target

FINDINGS_COLUMNS = (
    *("study_id", "condition", "level", "series_id", "instance_number", "x", "y"),
    *("confidence", "source", "reason", *SEVERITIES),
    *("seen_condition", "seen_probability"),
)
SOURCES = ("located", "projected", "prior")
# Whole numbers that a prior's row has not: pandas' own integers may be missing.
WHOLE = {"series_id": "Int64", "instance_number": "Int64"}


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
    return findings.reindex(columns=list(FINDINGS_COLUMNS)).astype(WHOLE)


def merge_into_findings(
    findings: pd.DataFrame,
    sites: Sites,
    graded: Mapping[Target, np.ndarray],
    reasons: Mapping[Target, str],
) -> pd.DataFrame:
    """Enter what was found of one study into its 25 rows of the prior.

    graded: probabilities [3] by target; a site without keeps the prior. reasons: what
    there is to say of a target.
    """
    rows = findings.set_index(["condition", "level"])
    rows["reason"] = ""
    for target in rows.index:
        rows.loc[target, "reason"] = reasons.get(target, "")
        if (site := sites.get(target)) is not None:
            file = (site.series_id, site.instance_number)
            place = (round(site.x, 2), round(site.y, 2), round(site.confidence, 4))
            columns = ["series_id", "instance_number", "x", "y", "confidence"]
            rows.loc[target, columns] = (*file, *place)
        if target in graded:
            rows.loc[target, list(SEVERITIES)] = graded[target]
            rows.loc[target, "source"] = sites[target].source
    return rows.reset_index()[list(FINDINGS_COLUMNS)]


def sources(findings: pd.DataFrame) -> list[dict[str, object]]:
    """Count answers by family and source: a row a family, and one for all."""
    families = findings["condition"].map(FAMILY_OF)
    counts = pd.crosstab(
        families, findings["source"], margins=True, margins_name="all"
    ).reindex(columns=[*SOURCES, "all"], fill_value=0)
    return [
        {"family": str(name), **{source: int(n) for source, n in row.items()}}
        for name, row in counts.iterrows()
    ]


def fallback_reasons(findings: pd.DataFrame) -> list[dict[str, object]]:
    """List why answers are the prior, the most frequent reason first."""
    prior = findings[findings["source"] == "prior"]
    table = prior.fillna({"reason": "no reason given"}).groupby("reason")
    counts = table.agg(sites=("study_id", "size"), studies=("study_id", "nunique"))
    ranked = counts.sort_values("sites", ascending=False).reset_index()
    return ranked.to_dict("records")


def to_submission(findings: pd.DataFrame) -> pd.DataFrame:
    """Keep what the competition asks for: row_id and three probabilities."""
    submission = findings[list(SEVERITIES)].copy()
    submission.insert(0, "row_id", label_row_ids(findings))
    return submission

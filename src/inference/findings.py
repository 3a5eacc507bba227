"""findings.csv: the prediction of each study, condition and level, and its source."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, FAMILY_OF, LEVELS, SEVERITIES
from src.competition.submission import from_prior, label_row_ids
from src.inference.doubt import unweighted, wrong_probabilities, wrong_probability
from src.localization.level_shift import NO_SHIFT, LevelShift
from src.localization.locate import LocatedSite, Sites
from src.localization.spine_prior import Target

FINDINGS_COLUMNS = (
    *("study_id", "condition", "level", "series_id", "instance_number", "x", "y"),
    *("confidence", "source", "reason", *SEVERITIES),
    *("seen_condition", "seen_probability", "views", "wrong_probability", "review"),
)
SOURCES = ("located", "projected", "prior")
NO_SEVERITY_RUN = "no usable severity run was given: the grade is the prior"
# Integers that a row of the prior lacks: pandas' own type allows missing values.
INTEGERS = {"series_id": "Int64", "instance_number": "Int64"}


def prior_findings(
    studies: list[int], prior: pd.DataFrame, reason: str
) -> pd.DataFrame:
    """Predict every site by the prior: 25 rows a study, FINDINGS_COLUMNS."""
    predictions = from_prior(studies, prior)
    sites = pd.MultiIndex.from_product(
        [sorted(studies), CONDITIONS, LEVELS], names=["study_id", "condition", "level"]
    )
    findings = pd.DataFrame(index=sites).reset_index()
    findings[list(SEVERITIES)] = predictions[list(SEVERITIES)].to_numpy()
    findings["source"], findings["reason"] = "prior", reason
    grades = findings[list(SEVERITIES)].to_numpy(float)
    wrong = wrong_probability(grades, unweighted(grades))
    findings["wrong_probability"], findings["review"] = wrong.round(4), 0
    return findings.reindex(columns=list(FINDINGS_COLUMNS)).astype(INTEGERS)


def merge_into_findings(
    findings: pd.DataFrame,
    sites: Sites,
    graded: Mapping[Target, np.ndarray] | None,
    reasons: Mapping[Target, str],
    shift: LevelShift = NO_SHIFT,
) -> pd.DataFrame:
    """Merge the sites and grades of one study into its 25 rows of the prior.

    graded: probabilities [3] by target; a site without them keeps the prior, as its
    source too. None if there is no severity run: sites then keep their own source.
    reasons: by target, the remarks for its row; shift: the doubt about its levels, part
    of the probability that a grade is wrong.
    """
    rows = findings[list(FINDINGS_COLUMNS)].to_dict("records")
    wrong = wrong_probabilities(graded or {}, _grades(findings), shift)
    for row in rows:
        target = (row["condition"], row["level"])
        row["reason"] = reasons.get(target, "")
        if (site := sites.get(target)) is None:
            continue
        row.update(_place_of(site))
        if graded is None:
            row["source"] = site.source
        elif target in graded:
            row.update(zip(SEVERITIES, graded[target].tolist(), strict=True))
            row["source"] = site.source
            row["wrong_probability"] = round(wrong[target], 4)
    # All at once: cell by cell pandas takes a tenth of a second for 25 rows.
    return pd.DataFrame(rows, columns=list(FINDINGS_COLUMNS)).astype(INTEGERS)


def _grades(findings: pd.DataFrame) -> dict[Target, np.ndarray]:
    """Return the probabilities [3] of one study's rows, by target."""
    targets = zip(findings["condition"], findings["level"], strict=True)
    rows = findings[list(SEVERITIES)].to_numpy(float)
    return dict(zip(targets, rows, strict=True))


def _place_of(site: LocatedSite) -> dict[Hashable, object]:
    """Return the columns that tell where a site was found."""
    return {
        "series_id": site.series_id,
        "instance_number": site.instance_number,
        "x": round(site.x, 2),
        "y": round(site.y, 2),
        "confidence": round(site.confidence, 4),
    }


def sources(findings: pd.DataFrame) -> list[dict[str, object]]:
    """Count predictions by family and source: a row a family, and one for all."""
    families = findings["condition"].map(FAMILY_OF)
    counts = pd.crosstab(
        families, findings["source"], margins=True, margins_name="all"
    ).reindex(columns=[*SOURCES, "all"], fill_value=0)
    return [
        {"family": str(name), **{str(key): int(n) for key, n in row.items()}}
        for name, row in counts.iterrows()
    ]


def fallback_reasons(findings: pd.DataFrame) -> list[dict[str, object]]:
    """List why predictions are the prior, the most frequent reason first."""
    prior = findings[keeps_prior(findings)].fillna({"reason": "no reason given"})
    located = prior["source"] != "prior"  # other remarks of such a row are no reason
    table = prior.assign(reason=prior["reason"].mask(located, NO_SEVERITY_RUN))
    groups = table.groupby("reason")
    counts = groups.agg(sites=("study_id", "size"), studies=("study_id", "nunique"))
    ranked = counts.sort_values("sites", ascending=False).reset_index()
    return [
        {str(key): n for key, n in row.items()} for row in ranked.to_dict("records")
    ]


def keeps_prior(findings: pd.DataFrame) -> pd.Series:
    """Mark the rows whose probabilities are the prior's, whether located or not."""
    reasons = findings["reason"].astype("string")  # floats where no row has a reason
    ungraded = reasons.str.contains(NO_SEVERITY_RUN, regex=False, na=False)
    return (findings["source"] == "prior") | ungraded.astype(bool)


def to_submission(findings: pd.DataFrame) -> pd.DataFrame:
    """Keep the submission's columns: row_id and three probabilities."""
    submission = findings[list(SEVERITIES)].copy()
    submission.insert(0, "row_id", label_row_ids(findings))
    return submission

"""The competition's score: the mean of four weighted log losses.

Three terms take all labelled rows of spinal, foraminal and subarticular, both sides
and all levels together, weighted 1, 2, 4 by severity. The fourth is binary, one row a
study: whether any spinal row is severe. Its prediction is the largest severe
probability of the study's labelled spinal rows, and its weight their largest weight.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES, SEVERITY_WEIGHTS
from src.competition.submission import label_row_ids
from src.errors import UserError
from src.metrics_schema import FullScore

_WEIGHTS = np.array(SEVERITY_WEIGHTS)
TERMS = (*FAMILIES, "any_severe")


@dataclass(frozen=True)
class Score:
    """The score and its four terms; lower is better, 0 is perfect."""

    score: float
    spinal: float
    foraminal: float
    subarticular: float
    any_severe: float

    def to_dict(self) -> FullScore:
        """Return the numbers by name, the score first."""
        return {
            "score": self.score,
            "spinal": self.spinal,
            "foraminal": self.foraminal,
            "subarticular": self.subarticular,
            "any_severe": self.any_severe,
        }


def score(truth: pd.DataFrame, submission: pd.DataFrame) -> Score:
    """Score a checked submission, rows in any order, against long labels.

    Rows without a severity are skipped, and so are submitted rows without a label.
    """
    rows = _scored_rows(truth, submission)
    terms = {name: _family_loss(rows, name) for name in FAMILIES}
    terms["any_severe"] = _any_severe_loss(rows[rows["family"] == "spinal"])
    return Score(score=float(np.mean(list(terms.values()))), **terms)


def study_losses(
    truth: pd.DataFrame, submission: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the score by study: the weighted losses, and the weights.

    Both have a row a study and the columns TERMS, 0 where a study has no row of it. The
    losses' sum by their weights' is the term that `score` returns.
    """
    rows = _scored_rows(truth, submission)
    grade = rows["grade"].to_numpy()
    rows["weight"] = _WEIGHTS[grade]
    rows["loss"] = rows["weight"] * _row_losses(grade, rows[list(SEVERITIES)])
    sums = rows.groupby(["study_id", "family"])[["loss", "weight"]].sum().unstack()
    worst = _worst_rows(rows[rows["family"] == "spinal"])
    weight = pd.Series(worst.weights, index=worst.studies)
    loss = weight * _row_losses(worst.classes, worst.predicted)
    losses, weights = (
        sums[name].assign(any_severe=last).reindex(columns=TERMS).fillna(0.0)
        for name, last in (("loss", loss), ("weight", weight))
    )
    return losses, weights


def log_loss(classes: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean of -log p of the true class.

    classes: [n] columns of predicted [n, k]; weights: [n]. Probabilities are kept off
    0 and 1 by float64's epsilon and each row is then divided by its sum, as
    scikit-learn's log_loss did when the competition ran; later ones leave the sum.
    """
    return float(np.average(_row_losses(classes, predicted), weights=weights))


def _row_losses(
    classes: np.ndarray, predicted: np.ndarray | pd.DataFrame
) -> np.ndarray:
    epsilon = np.finfo(np.float64).eps
    kept = np.clip(np.asarray(predicted), epsilon, 1 - epsilon)
    right = np.take_along_axis(kept, classes[:, None], axis=1)[:, 0]
    losses: np.ndarray = -np.log(right / kept.sum(axis=1))
    return losses


def _family_loss(rows: pd.DataFrame, family: str) -> float:
    chosen = rows[rows["family"] == family]
    if chosen.empty:
        raise UserError(
            f"The labels have no {family} row with a severity, so that term of the "
            "score is not defined; give labels of more studies."
        )
    grade = chosen["grade"].to_numpy()
    return log_loss(grade, chosen[list(SEVERITIES)].to_numpy(), _WEIGHTS[grade])


@dataclass(frozen=True, eq=False)
class _WorstRows:
    """Whether a study is severe: classes [n] of predicted [n, 2], weights [n]."""

    studies: pd.Index
    classes: np.ndarray
    predicted: np.ndarray
    weights: np.ndarray


def _worst_rows(spinal: pd.DataFrame) -> _WorstRows:
    # Weights grow with severity, so a study's largest weight is its worst row's.
    most = spinal.groupby("study_id")[["grade", "severe"]].max()
    worst, severe = most["grade"].to_numpy(), most["severe"].to_numpy()
    is_severe = (worst == SEVERITIES.index("severe")).astype(int)
    predicted = np.stack([1 - severe, severe], axis=1)
    return _WorstRows(most.index, is_severe, predicted, _WEIGHTS[worst])


def _any_severe_loss(spinal: pd.DataFrame) -> float:
    rows = _worst_rows(spinal)
    return log_loss(rows.classes, rows.predicted, rows.weights)


def _scored_rows(truth: pd.DataFrame, submission: pd.DataFrame) -> pd.DataFrame:
    """Join each labelled row's study_id, family and grade (0..2) to its prediction."""
    labelled = truth[truth["severity"].notna()]
    ids = label_row_ids(labelled)
    absent = ids[~ids.isin(submission["row_id"])]
    if len(absent):
        raise UserError(
            f"The submission lacks {len(absent):,} labelled rows, the first "
            f"{absent.iloc[0]!r}; predict all 25 rows of each study."
        )
    rows = submission.set_index("row_id")[list(SEVERITIES)].loc[ids]
    return rows.astype("float64").assign(
        study_id=labelled["study_id"].to_numpy(),
        family=labelled["condition"].map(FAMILY_OF).to_numpy(),
        grade=labelled["severity"].map(SEVERITIES.index).to_numpy(dtype=int),
    )

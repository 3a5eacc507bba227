"""Submission files: 25 rows a study, each a `row_id` and three probabilities."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, TARGETS
from src.competition.tables import SUBMISSION_COLUMNS, read_sample_submission
from src.errors import UserError
from src.files import write_csv

# How far a row's sum may be from 1. The metric rescales rows, so rounding is no fault:
# three numbers rounded to two decimals miss by up to .015.
SUM_TOLERANCE = 0.02

_ROW_ID = rf"(0|[1-9][0-9]{{0,17}})_({'|'.join(TARGETS)})"


def row_ids(studies: Iterable[int]) -> list[str]:
    """List the rows of the studies, each once, in the competition's order."""
    order = sorted(set(studies))
    return [f"{study}_{target}" for study, target in product(order, TARGETS)]


def label_row_ids(labels: pd.DataFrame) -> pd.Series:
    """Name each row of study_id, condition, level as the submission does."""
    study = labels["study_id"].astype(str)
    return study + "_" + labels["condition"] + "_" + labels["level"]


def from_prior(studies: Iterable[int], prior: pd.DataFrame) -> pd.DataFrame:
    """Predict the prior's 25 rows for every study."""
    ids = row_ids(studies)
    targets = pd.MultiIndex.from_product([CONDITIONS, LEVELS])
    by_target = prior.set_index(["condition", "level"]).loc[targets, list(SEVERITIES)]
    rows = np.tile(by_target.to_numpy(), (len(ids) // len(TARGETS), 1))
    frame = pd.DataFrame(rows, columns=list(SEVERITIES))
    frame.insert(0, "row_id", ids)
    return frame


def check_submission(frame: pd.DataFrame, studies: Iterable[int] | None = None) -> None:
    """Raise UserError for what the competition rejects: first bad row and their count.

    Rows and columns may be in any order. Without `studies`, each study that has a row
    must have all 25. Stricter than the competition in one point: a row must sum to 1
    within SUM_TOLERANCE; the competition rescales it, but it is a mistake.
    """
    _check_columns(frame)
    if frame.empty:
        raise UserError("The submission has no rows; it needs 25 for each study.")
    _check_rows(frame["row_id"], studies)
    _check_probabilities(frame)


def read_submission(path: Path) -> pd.DataFrame:
    """Read a submission file and check it, keeping its order of rows."""
    frame = read_sample_submission(path)
    check_submission(frame)
    return frame


def write_submission(frame: pd.DataFrame, path: Path) -> None:
    """Check a submission and write it in the competition's order of rows."""
    check_submission(frame)
    write_csv(ordered(frame), path)


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Put a checked submission's rows and columns in the competition's order."""
    by_id = frame[list(SUBMISSION_COLUMNS)].set_index("row_id")
    studies = {int(row_id.partition("_")[0]) for row_id in by_id.index}
    return by_id.loc[row_ids(studies)].rename_axis("row_id").reset_index()


def _check_columns(frame: pd.DataFrame) -> None:
    columns = [str(name) for name in frame.columns]
    if sorted(columns) != sorted(SUBMISSION_COLUMNS):
        raise UserError(
            f"The submission's columns are {', '.join(columns) or 'none'}; "
            f"they must be {', '.join(SUBMISSION_COLUMNS)}."
        )


def _check_rows(ids: pd.Series, studies: Iterable[int] | None) -> None:
    names = ids.map(str)
    form = "must be {study_id}_{condition}_{level} in the submission's spelling"
    _refuse(~names.str.fullmatch(_ROW_ID), ids, form)
    _refuse(names.duplicated(), ids, "is a repeat; keep one of them")
    if studies is None:
        studies = set(names.str.partition("_")[0].astype("int64"))
    expected = pd.Series(row_ids(studies), dtype=object)
    _refuse(
        ~names.isin(expected),
        ids,
        "is of a study that is not in the test set; remove it",
    )
    _refuse(~expected.isin(names), expected, "is missing; each study needs 25 rows")


def _check_probabilities(frame: pd.DataFrame) -> None:
    ids = frame["row_id"]
    values = frame[list(SEVERITIES)].apply(pd.to_numeric, errors="coerce")
    table = values.to_numpy(dtype="float64")
    finite = pd.Series(np.isfinite(table).all(axis=1), index=frame.index)
    _refuse(~finite, ids, "has a probability that is not a finite number; write one")
    within = pd.Series(((table >= 0) & (table <= 1)).all(axis=1), index=frame.index)
    _refuse(~within, ids, "has a probability outside 0 to 1; write one inside")
    sums = values.sum(axis=1)
    wrong = (sums - 1).abs() > SUM_TOLERANCE
    _refuse(wrong, ids, "has probabilities that do not sum to 1; divide by their sum")


def _refuse(bad: pd.Series, ids: pd.Series, fault: str) -> None:
    if bad.any():
        first = ids[bad.to_numpy()].iloc[0]
        count = int(bad.sum())
        which = f" (the first of {count:,} such rows)" if count > 1 else ""
        raise UserError(f"Row {first!r} of the submission{which} {fault}.")

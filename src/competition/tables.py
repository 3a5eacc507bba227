"""The competition's CSVs: their columns, declared once, and a checked reader for each.

Conditions, levels and severities come out in the submission's spelling (`l4_l5`), ids
as int64.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES, TARGETS
from src.competition.constants import SERIES_DESCRIPTIONS as DESCRIPTIONS
from src.competition.csv_schema import (
    WHOLE_NUMBER,
    ColumnParser,
    any_text,
    category,
    number,
    read_csv,
    read_text,
    whole_number,
)
from src.errors import UserError

LABEL_FILE = "train.csv"
POINT_FILE = "train_label_coordinates.csv"
SERIES_FILE = "train_series_descriptions.csv"
TEST_SERIES_FILE = "test_series_descriptions.csv"
SAMPLE_FILE = "sample_submission.csv"

LABEL_COLUMNS: dict[str, ColumnParser] = {
    "study_id": whole_number,
    **dict.fromkeys(TARGETS, category(SEVERITIES, blank=True)),
}
SITE = ["study_id", "condition", "level"]  # what a label is of
POINT_COLUMNS: dict[str, ColumnParser] = {
    "study_id": whole_number,
    "series_id": whole_number,
    "instance_number": whole_number,
    "condition": category(CONDITIONS),
    "level": category(LEVELS),
    "x": number,
    "y": number,
}
SERIES_COLUMNS: dict[str, ColumnParser] = {
    "study_id": whole_number,
    "series_id": whole_number,
    "series_description": category(DESCRIPTIONS),
}
# Every hidden study needs a prediction, so a series of an unknown type is kept, with
# its row's words: its slices may tell.
TEST_SERIES_COLUMNS: dict[str, ColumnParser] = {
    **SERIES_COLUMNS,
    "series_description": category(DESCRIPTIONS, unknown=True),
}
SUBMISSION_COLUMNS: dict[str, ColumnParser] = {
    "row_id": any_text,
    **dict.fromkeys(SEVERITIES, number),
}


@dataclass(frozen=True, eq=False)
class Competition:
    """The training tables found under `root`, as their readers return them."""

    root: Path
    labels: pd.DataFrame
    points: pd.DataFrame
    series: pd.DataFrame


def read_training(root: Path) -> Competition:
    """Read the three training tables in `root`."""
    return Competition(
        root,
        labels=read_labels(root / LABEL_FILE),
        points=read_points(root / POINT_FILE),
        series=read_series(root / SERIES_FILE),
    )


def first_studies(competition: Competition, limit: int | None) -> Competition:
    """Keep the first `limit` studies of every table; all if None."""
    studies = sorted(competition.labels["study_id"].unique())[:limit]
    kept = {
        name: table[table["study_id"].isin(studies)].reset_index(drop=True)
        for name, table in vars(competition).items()
        if name != "root"
    }
    return Competition(competition.root, **kept) if limit else competition


def read_labels(path: Path) -> pd.DataFrame:
    """Read train.csv, one row a label: study_id, condition, level, severity.

    A study has 25 rows in the submission's order; an empty label is missing.
    """
    return labels_by_site(read_csv(path, LABEL_COLUMNS, key=["study_id"]))


def labels_by_site(wide: pd.DataFrame) -> pd.DataFrame:
    """Turn a row a study, LABEL_COLUMNS, into a row a label, as read_labels has it."""
    pairs = np.array(list(product(CONDITIONS, LEVELS)))
    condition, level = np.tile(pairs, (len(wide), 1)).T
    return pd.DataFrame(
        {
            "study_id": np.repeat(wide["study_id"].to_numpy(), len(TARGETS)),
            "condition": condition,
            "level": level,
            "severity": wide[list(TARGETS)].to_numpy(dtype=object).ravel(),
        }
    )


def read_points(path: Path) -> pd.DataFrame:
    """Read train_label_coordinates.csv; x and y are pixels of the instance."""
    return read_csv(path, POINT_COLUMNS)


def read_series(path: Path) -> pd.DataFrame:
    """Read a *_series_descriptions.csv: study_id, series_id, series_description."""
    return read_csv(path, SERIES_COLUMNS, key=["study_id", "series_id"])


def read_test_series(root: Path) -> pd.DataFrame:
    """Read the test studies' series leniently, since each study needs a prediction.

    No file is an empty table, an unknown description is missing, repeats are dropped.
    """
    path = root / TEST_SERIES_FILE
    if not path.is_file():
        return _no_series()
    series = read_csv(path, TEST_SERIES_COLUMNS, empty=True)
    return series.drop_duplicates(["study_id", "series_id"], ignore_index=True)


def usable_test_series(root: Path, warn: Callable[[str], None]) -> pd.DataFrame:
    """Read the test studies' series; of a damaged table only the rows that are whole.

    warn is called with a sentence about what is left out: the folders remain.
    """
    try:
        return read_test_series(root)
    except UserError as error:
        fault = str(error).rstrip(".")
    try:
        text = read_text(root / TEST_SERIES_FILE)
        ids = text[["study_id", "series_id"]]
        whole = ids.apply(lambda column: column.str.fullmatch(WHOLE_NUMBER)).all(axis=1)
        series = pd.DataFrame(
            {
                name: parse(text.loc[whole, name], TEST_SERIES_FILE)
                for name, parse in TEST_SERIES_COLUMNS.items()
            }
        ).drop_duplicates(["study_id", "series_id"], ignore_index=True)
        left_out = f"{len(text) - int(whole.sum())} of its {len(text)} rows are"
    except (UserError, KeyError):
        series, left_out = _no_series(), "the table is"
    warn(f"{fault}; {left_out} left out, and the folders of series remain")
    return series


def _no_series() -> pd.DataFrame:
    empty = pd.DataFrame(columns=list(TEST_SERIES_COLUMNS), dtype=object)
    return empty.astype({"study_id": "int64", "series_id": "int64"})


def read_sample_submission(path: Path) -> pd.DataFrame:
    """Read sample_submission.csv: row_id, normal_mild, moderate, severe."""
    return read_csv(path, SUBMISSION_COLUMNS, exact=True)


def image_folder(root: Path, split: Literal["train", "test"]) -> Path:
    """Return the folder of a split's images: {study_id}/{series_id}/{instance}.dcm."""
    return root / f"{split}_images"


def numbered_folders(folder: Path) -> set[int]:
    """Return the ids that name a folder's folders; none where it is no folder."""
    entries = folder.iterdir() if folder.is_dir() else ()
    names = {entry.name for entry in entries if entry.is_dir()}
    return {
        int(name)
        for name in names
        if re.fullmatch(WHOLE_NUMBER, name) and name == str(int(name))
    }


def list_test_studies(root: Path, series: pd.DataFrame | None = None) -> list[int]:
    """List the studies to predict, ascending: those with a series row or a folder.

    series: the rows, read from the test table if None.
    """
    if series is None:
        series = read_test_series(root)
    folder = image_folder(root, "test")
    studies = numbered_folders(folder).union(series["study_id"].tolist())
    if not studies:
        raise UserError(
            f"{root} lists no test study: neither a row of {TEST_SERIES_FILE} nor a "
            f"numbered folder in {folder.name}; give the folder that holds them."
        )
    return sorted(studies)

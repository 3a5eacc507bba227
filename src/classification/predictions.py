"""A run's predictions.csv, validated against the cache."""

from pathlib import Path

import pandas as pd

from src.cache.crop_cache import SITE
from src.classification.labels import CROP_LABELS, CropLabels
from src.competition.constants import CONDITIONS, LEVELS
from src.competition.csv_schema import (
    ColumnParser,
    category,
    number,
    read_csv,
    whole_number,
)
from src.errors import UserError


def prediction_columns(labels: tuple[str, ...]) -> dict[str, ColumnParser]:
    """Declare the columns of a crop task's predictions.csv."""
    return {
        "crop": whole_number,
        "study_id": whole_number,
        "series_id": whole_number,
        "instance_number": whole_number,
        "condition": category(CONDITIONS),
        "level": category(LEVELS),
        "truth": whole_number,
        "predicted": whole_number,
        **{f"p_{name}": number for name in labels},
    }


def read_predictions(
    path: Path, task: str, labels: list[str], sites: pd.DataFrame, roles: pd.Series
) -> pd.DataFrame:
    """Read a crop task's predictions of its test crops: prediction_columns.

    labels: the run's, in the order of its class ids; sites: the cache's crops; roles:
    train, validation, test or missing for each row of `sites`. Raises UserError for a
    file that is damaged or has other crops than the run's test crops.
    """
    expected = CROP_LABELS[task]
    known = sites.set_index("crop")
    tested = (roles == "test").to_numpy() & known[expected.column].notna()
    try:
        table = read_csv(path, prediction_columns(expected.labels), key=["crop"])
        same = (
            set(table["crop"]) == set(known.index[tested])
            and not (
                known.loc[table["crop"], SITE].to_numpy() != table[SITE].to_numpy()
            ).any()
        )
        if same:
            check_label_order(table, expected, labels, known.loc[table["crop"]])
    except UserError as error:
        raise UserError(f"Run {path.parent.name} is damaged: {error}") from error
    if not same:
        raise UserError(
            f"Run {path.parent.name} has predictions for other crops than the test "
            "crops of this cache and its folds.csv: name the cache it was trained on, "
            "or train it again"
        )
    return table


def check_label_order(
    table: pd.DataFrame, task: CropLabels, labels: list[str], sites: pd.DataFrame
) -> None:
    """Check that class ids follow the label order of the confusion matrix.

    The paper's own code printed two matrices under labels in another order. Here the
    ids, the sites' labels and the probability columns must agree.
    """
    names = map(str, table.columns)
    columns = [name.removeprefix("p_") for name in names if name.startswith("p_")]
    probabilities = table[[f"p_{name}" for name in columns]].to_numpy()
    agree = (
        list(labels) == list(task.labels) == columns
        and (task.classes(sites) == table["truth"].to_numpy()).all()
        and (probabilities.argmax(axis=1) == table["predicted"]).all()
    )
    if not agree:
        raise UserError(
            "its class ids do not follow the order of its labels, so its confusion "
            "matrix would be wrong; train it again"
        )

"""A run's predictions are believed only when they fit the cache."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from condition_runs import predicted, sites

from src.competition.vocab import CONDITIONS
from src.errors import InputError
from src.learning.predictions import check_label_order, read_predictions
from src.learning.tasks import CROP_TASKS

TABLE = sites(4)
ROLES = pd.Series("train", TABLE.index).mask(TABLE["study_id"] == 4, "test")


def whole() -> pd.DataFrame:
    return predicted(TABLE[TABLE["study_id"] == 4])


def read(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    path = folder / "a-run" / "predictions.csv"
    path.parent.mkdir()
    frame.to_csv(path, index=False)
    return read_predictions(path, "condition", list(CONDITIONS), TABLE, ROLES)


def test_whole_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = read(tmp_path, whole())
    pd.testing.assert_frame_equal(table, whole(), check_dtype=False)


DAMAGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a column is gone": (lambda t: t.drop(columns="predicted"), "predicted"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "a word for a number": (lambda t: t.assign(truth="left"), "'left' on line 2"),
    "a chance is missing": (
        lambda t: t.assign(p_spinal_canal_stenosis=None),
        "p_spinal_canal_stenosis",
    ),
    "a crop twice": (lambda t: pd.concat([t, t.head(1)]), "stands there already"),
    "a crop left out": (lambda t: t.iloc[1:], "other crops"),
    "crops of training": (lambda t: t.assign(crop=t["crop"] - 10), "other crops"),
    "of another study": (lambda t: t.assign(study_id=9), "other crops"),
    "another answer": (lambda t: t.assign(predicted=4), "order of its labels"),
    "another truth": (lambda t: t.assign(truth=0), "order of its labels"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_predictions_are_refused_by_run(
    tmp_path: Path, damage: Callable[[pd.DataFrame], pd.DataFrame], says: str
) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        read(tmp_path, damage(whole()))
    assert "a-run" in str(refusal.value)


def test_absent_predictions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-run" / "predictions.csv"
    with pytest.raises(InputError, match="a-run"):
        read_predictions(path, "condition", list(CONDITIONS), TABLE, ROLES)


def test_labels_in_another_order_are_refused() -> None:
    table = whole()
    task, sites = CROP_TASKS["condition"], table
    check_label_order(table, task, list(CONDITIONS), sites)
    with pytest.raises(InputError, match="order"):
        check_label_order(table, task, sorted(CONDITIONS, reverse=True), sites)
    swapped = table.rename(
        columns={
            f"p_{CONDITIONS[0]}": f"p_{CONDITIONS[1]}",
            f"p_{CONDITIONS[1]}": f"p_{CONDITIONS[0]}",
        }
    )
    with pytest.raises(InputError, match="order"):
        check_label_order(swapped, task, list(CONDITIONS), sites)

"""A run's predictions are validated against the cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import predicted, sites

from src.cache.crop_cache import SITE
from src.classification.labels import CROP_LABELS
from src.classification.predictions import check_label_order, read_predictions
from src.competition.constants import CONDITIONS, SEVERITIES
from src.errors import UserError

TABLE = sites(4)
# The second study is left out by a run's limit.
ROLES = TABLE["study_id"].map({1: "train", 3: "validation", 4: "test"})


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
    "a crop missing": (lambda t: t.iloc[1:], "other crops"),
    "training crops too": (lambda _: predicted(TABLE[TABLE["study_id"] > 2]), "other"),
    "crops of training": (lambda t: t.assign(crop=t["crop"] - 10), "other crops"),
    "of another study": (lambda t: t.assign(study_id=9), "other crops"),
    "of another series": (lambda t: t.assign(series_id=9), "other crops"),
    "of another image": (lambda t: t.assign(instance_number=99), "other crops"),
    "of another condition": (
        lambda t: t.assign(condition=CONDITIONS[0]),
        "other crops",
    ),
    "of another level": (lambda t: t.assign(level="l1_l2"), "other crops"),
    "another prediction": (lambda t: t.assign(predicted=4), "order of its labels"),
    "another truth": (lambda t: t.assign(truth=0), "order of its labels"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_predictions_are_refused_by_run(
    tmp_path: Path, damage: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        read(tmp_path, damage(whole()))
    assert "a-run" in str(refusal.value)


def test_predictions_may_stand_in_any_order(tmp_path: Path) -> None:
    shuffled = whole().sample(frac=1, random_state=0)
    table = read(tmp_path, shuffled)
    assert table["crop"].tolist() == shuffled["crop"].tolist()


@pytest.mark.parametrize("blank", [[], [32, 37]])
def test_severity_is_predicted_where_there_is_a_grade(
    tmp_path: Path, blank: list[int]
) -> None:
    grades = pd.Series(SEVERITIES * 20)[: len(TABLE)].astype(object)
    grades[blank] = None
    sites = TABLE.assign(severity=grades)
    tested = sites[(ROLES == "test") & grades.notna()]
    truth = tested["severity"].map(SEVERITIES.index)
    table = tested[["crop", *SITE]].assign(truth=truth, predicted=truth)
    for index, name in enumerate(SEVERITIES):
        table[f"p_{name}"] = np.where(truth == index, 0.6, 0.2)
    path = tmp_path / "a-run" / "predictions.csv"
    path.parent.mkdir()
    given = (path, "severity", list(SEVERITIES), sites, ROLES)
    table.to_csv(path, index=False)
    assert len(read_predictions(*given)) == 10 - len(blank)
    table.iloc[1:].to_csv(path, index=False)
    with pytest.raises(UserError, match="other crops"):
        read_predictions(*given)


def test_absent_predictions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-run" / "predictions.csv"
    with pytest.raises(UserError, match="a-run"):
        read_predictions(path, "condition", list(CONDITIONS), TABLE, ROLES)


def test_labels_in_another_order_are_refused() -> None:
    table = whole()
    task, sites = CROP_LABELS["condition"], table
    check_label_order(table, task, list(CONDITIONS), sites)
    with pytest.raises(UserError, match="order"):
        check_label_order(table, task, sorted(CONDITIONS, reverse=True), sites)
    swapped = table.rename(
        columns={
            f"p_{CONDITIONS[0]}": f"p_{CONDITIONS[1]}",
            f"p_{CONDITIONS[1]}": f"p_{CONDITIONS[0]}",
        }
    )
    with pytest.raises(UserError, match="order"):
        check_label_order(swapped, task, list(CONDITIONS), sites)

"""The competition's known bad series, studies and points."""

from pathlib import Path

import pandas as pd
import pytest

from src.competition.known_issues import (
    KNOWN_ISSUES,
    known_issue,
    without_known_issues,
)
from src.competition.tables import Competition

SPINAL, FORAMEN = "spinal_canal_stenosis", "left_neural_foraminal_narrowing"
SITE = ["study_id", "series_id", "instance_number", "condition", "level"]
POINTS = pd.DataFrame(
    [
        (1, 10, 3, SPINAL, "l1_l2"),
        (1, 8785691, 4, FORAMEN, "l1_l2"),
        (1, 8785691, 5, SPINAL, "l1_l2"),
        (2, 3892989905, 6, SPINAL, "l1_l2"),
        (2492114990, 11, 7, FORAMEN, "l1_l2"),
        (2937953357, 12, 8, FORAMEN, "l1_l2"),
        (2937953357, 12, 9, SPINAL, "l1_l2"),
    ],
    columns=SITE,
)
SERIES = pd.DataFrame(
    [*POINTS[SITE[:2]].drop_duplicates().itertuples(index=False), (3008676218, 13)],
    columns=SITE[:2],
)


def test_each_issue_names_its_source_and_no_id_twice() -> None:
    ids = [(issue.scope, number) for issue in KNOWN_ISSUES for number in issue.ids]
    assert len(ids) == len(set(ids))
    for issue in KNOWN_ISSUES:
        assert issue.scope in SITE[:2]
        assert issue.source.startswith(("kaggle.com/", "github.com/"))


def test_points_are_bad_by_series_by_study_or_by_condition() -> None:
    bad = POINTS["instance_number"][known_issue(POINTS) != ""]
    assert bad.tolist() == [4, 6, 7, 9]


def test_a_series_is_bad_only_if_its_images_are() -> None:
    bad = SERIES["series_id"][known_issue(SERIES) != ""]
    assert bad.tolist() == [3892989905, 11, 13]


@pytest.fixture
def competition() -> Competition:
    labels = POINTS[["study_id", "condition", "level"]].drop_duplicates()
    return Competition(Path("data"), labels, POINTS, SERIES)


def test_what_is_bad_is_left_out_and_listed(competition: Competition) -> None:
    kept, left = without_known_issues(competition)
    assert kept.points["instance_number"].tolist() == [3, 5, 8]
    assert kept.series["series_id"].tolist() == [10, 8785691, 12]
    assert kept.labels is competition.labels
    assert list(left) == [*SITE, "reason"]
    listed = left["instance_number"].astype(object).where(left["condition"].notna(), 0)
    pairs = list(zip(left["series_id"], listed, strict=True))
    assert pairs == [(8785691, 4), (3892989905, 6), (11, 7), (12, 9), (13, 0)]
    assert left["reason"].str.startswith("known: ").all()


def test_nothing_is_left_out_of_other_data(competition: Competition) -> None:
    sound = Competition(Path("data"), POINTS[:1], POINTS[:1], SERIES[:1])
    kept, left = without_known_issues(sound)
    assert left.empty
    pd.testing.assert_frame_equal(kept.points, sound.points)
    pd.testing.assert_frame_equal(kept.series, sound.series)

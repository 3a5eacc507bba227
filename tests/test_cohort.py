"""A phantom competition: Kaggle's layout, truth beside it, the same again each time."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from src.competition import submission, tables
from src.competition.metric import score
from src.competition.prior import fallback
from src.competition.vocab import FAMILY_OF, SERIES_OF
from src.errors import InputError
from src.imaging.dicom import read_header
from src.phantom.anatomy import draw_anatomy
from src.phantom.cohort import truth_folder, write_cohort
from src.phantom.reader import draw_narrowing, draw_severity
from src.phantom.study import StudyPlan, write_study
from src.workers import worker_pool


def test_the_tables_are_a_competitions(phantom: Path) -> None:
    competition = tables.read_training(phantom)
    assert competition.labels["study_id"].nunique() == 6
    assert len(competition.labels) == 6 * 25
    assert len(competition.points) > 120
    assert len(tables.test_studies(phantom)) == 1
    sample = submission.read(phantom / "sample_submission.csv")
    assert len(sample) == 25


def test_every_marked_instance_is_a_file_of_the_right_series(phantom: Path) -> None:
    competition = tables.read_training(phantom)
    points = competition.points.merge(competition.series, on=["study_id", "series_id"])
    assert len(points) == len(competition.points)
    for point in points.itertuples():
        folder = phantom / "train_images" / str(point.study_id) / str(point.series_id)
        assert (folder / f"{point.instance_number}.dcm").is_file()
        wanted = SERIES_OF[FAMILY_OF[point.condition]]
        assert point.series_description == wanted


def test_the_truth_is_not_in_the_competition(phantom: Path) -> None:
    hidden = set(tables.test_studies(phantom))
    truth = tables.read_training(truth_folder(phantom))
    assert set(truth.labels["study_id"]) == hidden
    assert not hidden & set(tables.read_training(phantom).labels["study_id"])
    for name in ("sites.csv", "ideal.json", "ideal_submission.csv"):
        assert (truth_folder(phantom) / name).is_file()
        assert not list(phantom.rglob(name))


def test_the_ideal_score_is_that_of_the_ideal_submission(phantom: Path) -> None:
    folder = truth_folder(phantom)
    labels = tables.read_labels(folder / "train.csv")
    ideal = submission.read(folder / "ideal_submission.csv")
    told = json.loads((folder / "ideal.json").read_text())["score"]
    assert score(labels, ideal).as_dict() == pytest.approx(told)
    train = tables.read_training(phantom).labels
    prior = submission.from_prior(labels["study_id"].unique(), fallback(train))
    assert told["score"] < score(labels, prior).score


def test_points_mark_the_sites_in_patient_space(tmp_path: Path) -> None:
    plan = StudyPlan(1001, 0, 77, marking_mm=0.0)
    truth = write_study(plan, tmp_path)
    rng = np.random.default_rng(77)  # the same person, drawn a second time
    sites = draw_narrowing(rng)
    draw_severity(sites["narrowing"].to_numpy(), rng)
    person = draw_anatomy(rng, sites)
    straight = person.sites.set_index(["condition", "level"])
    assert len(truth.points) > 20
    for point in truth.points.itertuples():
        folder = tmp_path / "1001" / str(point.series_id)
        geometry = read_header(folder / f"{point.instance_number}.dcm").geometry
        marked = geometry.to_patient(np.array([point.x, point.y]))
        site = straight.loc[(point.condition, point.level)].to_numpy(float)
        distance = np.linalg.norm(marked - person.spine.to_patient(site))
        assert distance < 4.1  # within a slice's half step and what lies beyond it
        assert abs(geometry.distance_mm(person.spine.to_patient(site))) == (
            pytest.approx(distance, abs=0.01)
        )


def test_the_same_plan_writes_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for folder in ("one", "two"):
        write_study(StudyPlan(7, 3, 5, 0.5), tmp_path / folder)
        whole = hashlib.sha256()
        for path in sorted((tmp_path / folder).rglob("*.dcm")):
            whole.update(str(path.relative_to(tmp_path / folder)).encode())
            whole.update(path.read_bytes())
        digests.append(whole.hexdigest())
    assert digests[0] == digests[1]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with worker_pool(1) as executor, pytest.raises(InputError, match="empty folder"):
        write_cohort(tmp_path, 3, executor)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unfinished_cohort_of_another_size_is_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "phantom.json").write_text('{"studies": 9, "seed": 0}')
    with worker_pool(1) as executor, pytest.raises(InputError, match="unfinished"):
        write_cohort(tmp_path, 3, executor)


def test_ungraded_sites_have_neither_label_nor_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.phantom.study.UNGRADED_STUDIES", 1.0)
    monkeypatch.setattr("src.phantom.study.render", lambda *_: np.zeros((8, 8)))
    truth = write_study(StudyPlan(7, 0, 7, 0.5), tmp_path)
    sites = truth.sites.merge(truth.points, how="left", on=["condition", "level"])
    ungraded = sites["severity"].isna()
    assert 1 <= ungraded.sum() <= 2  # a family at one level, on both its sides
    assert sites.loc[ungraded, "x"].isna().all()
    assert sites.loc[~ungraded, "x"].notna().all()

"""A phantom competition: Kaggle's layout, truth beside it, the same again each time."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from src.competition import submission, tables
from src.competition.constants import FAMILY_OF, SAGITTAL_T2, SERIES_OF
from src.competition.metric import score
from src.competition.prior import smoothed_prior
from src.errors import UserError
from src.imaging.dicom import read_header
from src.phantom.anatomy import draw_anatomy
from src.phantom.cohort import (
    MARKING_MM,
    SEEN_SITES_FILE,
    VARIANTS_FILE,
    truth_folder,
    write_cohort,
)
from src.phantom.rater import (
    RATER_NOISE,
    THRESHOLDS,
    draw_narrowing,
    draw_severity,
)
from src.phantom.study import StudyPlan, StudyTruth, write_study
from src.phantom.variants import VARIANTS
from src.workers import worker_pool


def quick_study(plan: StudyPlan, images: Path) -> StudyTruth:
    """A study without images: its folder alone, and a point at its canal."""
    (images / str(plan.study_id)).mkdir(parents=True)
    rng = np.random.default_rng(plan.seed)
    sites = draw_narrowing(rng)
    sites["severity"] = draw_severity(sites["narrowing"].to_numpy(), rng)
    sites.insert(0, "study_id", plan.study_id)
    points = sites[["study_id", "condition", "level"]].tail(1)
    points = points.assign(series_id=5, instance_number=6, x=7.0, y=8.0)
    series = points[["study_id", "series_id"]].assign(series_description=SAGITTAL_T2)
    return StudyTruth(sites, points, series, plan.variant)


class Quick:
    """A cohort of quick studies: its folder, the plans it was made by, its progress."""

    def __init__(
        self, root: Path, count: int, seed: int = 0, share: float = 0.0
    ) -> None:
        """Write it."""
        self.root, self.plans, self.progress = root, [], []

        def write(plan: StudyPlan, images: Path) -> StudyTruth:
            self.plans.append(plan)
            return quick_study(plan, images)

        def tell(done: int, total: int) -> None:
            self.progress.append((done, total))

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
            patch.setattr("src.phantom.cohort.write_study", write)
            write_cohort(root, count, executor, seed, tell, share)

    def folders(self, split: str) -> set[int]:
        """Name the studies that a folder of images holds."""
        return {int(path.name) for path in (self.root / f"{split}_images").iterdir()}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    """A cohort of ten training and two test studies."""
    return Quick(tmp_path_factory.mktemp("quick") / "data", 10)


def test_every_study_has_a_plan_of_its_own(quick: Quick) -> None:
    assert [plan.index for plan in quick.plans] == list(range(12))
    assert {plan.marking_mm for plan in quick.plans} == {MARKING_MM}
    assert len({plan.seed for plan in quick.plans}) == 12
    assert len({plan.study_id for plan in quick.plans}) == 12
    assert quick.progress == [(done, 12) for done in range(1, 13)]


def test_a_cohort_is_that_of_its_seed(quick: Quick, tmp_path: Path) -> None:
    assert Quick(tmp_path / "again", 10).plans == quick.plans
    other = Quick(tmp_path / "other", 10, seed=1).plans
    assert not {plan.seed for plan in other} & {plan.seed for plan in quick.plans}


def test_a_sixth_of_the_studies_is_test_in_images_tables_and_truth(
    quick: Quick,
) -> None:
    ids = [plan.study_id for plan in quick.plans]
    train, test = set(ids[:10]), set(ids[10:])
    assert quick.folders("train") == train
    assert quick.folders("test") == test
    truth = truth_folder(quick.root)
    for folder, name, expected in (
        (quick.root, tables.LABEL_FILE, train),
        (quick.root, tables.POINT_FILE, train),
        (quick.root, tables.SERIES_FILE, train),
        (quick.root, tables.TEST_SERIES_FILE, test),
        (truth, tables.LABEL_FILE, test),
        (truth, tables.POINT_FILE, test),
        (truth, tables.SERIES_FILE, test),
        (truth, "sites.csv", test),
        (truth, SEEN_SITES_FILE, train),
    ):
        assert set(pd.read_csv(folder / name)["study_id"]) == expected, name


def test_labels_are_what_was_drawn_of_each_study(quick: Quick) -> None:
    read = {
        folder: tables.read_labels(folder / tables.LABEL_FILE)
        for folder in (quick.root, truth_folder(quick.root))
    }
    labels = pd.concat(read.values()).set_index(["study_id", "condition", "level"])
    for plan in quick.plans:
        rng = np.random.default_rng(plan.seed)
        sites = draw_narrowing(rng)
        drawn = draw_severity(sites["narrowing"].to_numpy(), rng)
        places = [(plan.study_id, *one) for one in sites.iloc[:, :2].values]
        assert labels.loc[places, "severity"].tolist() == drawn


def test_the_ideal_prediction_of_a_site_is_that_of_its_own_narrowing(
    quick: Quick,
) -> None:
    truth = truth_folder(quick.root)
    sites = pd.read_csv(truth / "sites.csv")
    ids = submission.label_row_ids(sites)
    ideal = (
        submission.read_submission(truth / "ideal_submission.csv")
        .set_index("row_id")
        .loc[ids]
    )
    narrowing = sites["narrowing"].to_numpy()
    # By 1, 2, 4 a grade outweighs the one below it where its own chance is a third.
    shift = RATER_NOISE * NormalDist().inv_cdf(2 / 3)
    low, high = np.subtract(THRESHOLDS, shift)
    assert (ideal["severe"] > 0.5).tolist() == (narrowing > high).tolist()
    assert (ideal["normal_mild"] > 0.5).tolist() == (narrowing < low).tolist()


def test_an_unfinished_cohort_of_another_size_is_not_mixed_in(tmp_path: Path) -> None:
    for held, sentence in (
        ('{"studies": 9, "seed": 0}', "of 9 studies with --seed 0, not of 3 studies"),
        ('{"studies": 3, "seed": 1}', "of 3 studies with --seed 1, not of 3 studies"),
        (
            '{"studies": 3, "seed": 0, "variants": 0.5}',
            "of 3 studies with --seed 0 and --phantom-variants 0.5, not of 3 studies",
        ),
    ):
        (tmp_path / "phantom.json").write_text(held)
        with worker_pool(1) as executor, pytest.raises(UserError, match=sentence):
            write_cohort(tmp_path, 3, executor)


def test_a_share_of_training_and_of_test_studies_has_a_variant(
    quick: Quick, tmp_path: Path
) -> None:
    varied = Quick(tmp_path / "data", 30, share=0.2)
    assert sum(plan.variant != "usual" for plan in varied.plans[:30]) == 6
    assert sum(plan.variant != "usual" for plan in varied.plans[30:]) == 1
    assert {plan.variant for plan in varied.plans} == {"usual", *VARIANTS}
    # Truth lists every study, and only where there is a share at all.
    table = pd.read_csv(truth_folder(varied.root) / VARIANTS_FILE)
    rows = zip(table["study_id"], table["split"], table["variant"], strict=True)
    assert list(rows) == [
        (plan.study_id, "train" if plan.index < 30 else "test", plan.variant)
        for plan in varied.plans
    ]
    assert not list(varied.root.rglob(VARIANTS_FILE))
    assert not (truth_folder(quick.root) / VARIANTS_FILE).exists()
    assert {plan.variant for plan in quick.plans} == {"usual"}


def test_a_variant_changes_no_other_draw(quick: Quick, tmp_path: Path) -> None:
    varied = Quick(tmp_path / "data", 10, share=1.0)
    assert [replace(plan, variant="usual") for plan in varied.plans] == quick.plans


def test_the_tables_are_a_competitions(phantom: Path) -> None:
    competition = tables.read_training(phantom)
    assert competition.labels["study_id"].nunique() == 6
    assert len(competition.labels) == 6 * 25
    assert len(competition.points) > 120
    assert len(tables.list_test_studies(phantom)) == 1
    sample = submission.read_submission(phantom / "sample_submission.csv")
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
    hidden = set(tables.list_test_studies(phantom))
    truth = tables.read_training(truth_folder(phantom))
    assert set(truth.labels["study_id"]) == hidden
    assert not hidden & set(tables.read_training(phantom).labels["study_id"])
    for name in ("sites.csv", "ideal.json", "ideal_submission.csv"):
        assert (truth_folder(phantom) / name).is_file()
        assert not list(phantom.rglob(name))


def test_the_ideal_score_is_that_of_the_ideal_submission(phantom: Path) -> None:
    folder = truth_folder(phantom)
    labels = tables.read_labels(folder / "train.csv")
    ideal = submission.read_submission(folder / "ideal_submission.csv")
    written = json.loads((folder / "ideal.json").read_text())["score"]
    assert score(labels, ideal).to_dict() == pytest.approx(written)
    train = tables.read_training(phantom).labels
    prior = submission.from_prior(labels["study_id"].unique(), smoothed_prior(train))
    assert written["score"] < score(labels, prior).score


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
    with worker_pool(1) as executor, pytest.raises(UserError, match="empty folder"):
        write_cohort(tmp_path, 3, executor)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


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

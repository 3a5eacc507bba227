"""Labels softened by teachers: who answers what, and what is trained on the answers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dataset_batches import training_batches
from toy_crops import crop_set
from view_crops import FOLDS, strength, view_cache, views_config

from src.cache.crop_cache import CropCache
from src.classification import soft_labels as module
from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTask, CropTraining, make_crop_task
from src.classification.soft_labels import second_half, soft_labels, without_weights
from src.competition.constants import CONDITIONS, swap_side
from src.errors import UserError
from src.training.augmentation import Augmenter
from src.training.config import LABELS, RunConfig
from src.training.data_loading import BatchKey
from src.training.run_folder import ANSWERS_FILE, partial_folder, read_run
from src.training.train_run import TrainingTask, train_run

SOFT = views_config(hyperparameters=strength(0.0, soften=0.25))


@pytest.fixture
def cache(tmp_path: Path) -> CropCache:
    return view_cache(tmp_path)


# The arithmetic


def test_a_soft_label_is_the_mean_of_label_and_answer_by_share() -> None:
    answers = np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    mixed = soft_labels(np.array([1, 2]), answers, 0.25)
    assert mixed.dtype == np.float32
    by_hand = np.array([[0.05, 0.875, 0.075], [0.15, 0.05, 0.8]])
    assert mixed == pytest.approx(by_hand, abs=1e-6)


def test_class_weights_are_taken_out_of_answers() -> None:
    weighted = np.array([[0.5, 0.6, 0.8]]) / 1.9  # .5, .3, .2 by weights 1, 2, 4
    plain = without_weights(weighted, (1.0, 2.0, 4.0))
    assert plain == pytest.approx(np.array([[0.5, 0.3, 0.2]]))
    assert without_weights(weighted, None) == pytest.approx(weighted)


def test_perfect_teachers_leave_the_best_prediction_where_it_was() -> None:
    """The best is w p / sum(w p): there the loss is flat, with hard labels and soft."""
    weights, shares = (1.0, 2.0, 4.0), np.array([0.5, 0.3, 0.2])
    classes = np.repeat([0, 1, 2], (5, 3, 2))
    best = shares * weights / (shares * weights).sum()
    answers = without_weights(np.tile(best, (10, 1)), weights)
    some = replace(crop_set(10), weights=weights)
    for share in (0.0, 0.5, 1.0):
        logits = torch.tensor(np.log(best), requires_grad=True)
        target = torch.from_numpy(soft_labels(classes, answers, share))
        loss = CropTraining(some, some, 1).loss(logits.expand(10, 3), target)
        loss.backward()
        assert logits.grad.abs().max().item() < 1e-6


# The halves


def test_studies_are_parted_whole_into_two_halves_by_the_seed() -> None:
    studies = np.random.default_rng(0).integers(100, 121, 300)
    names = np.unique(studies)
    halves = [second_half(studies, seed) for seed in range(4)]
    for second in halves:
        one, two = set(studies[second]), set(studies[~second])
        assert not one & two
        assert one | two == set(names)
        assert abs(len(one) - len(two)) <= 1
    assert (halves[0] == second_half(studies, 0)).all()
    assert len({half.tobytes() for half in halves}) == 4


def test_a_single_study_cannot_be_parted() -> None:
    with pytest.raises(UserError, match="--soften trains a teacher on each half"):
        second_half(np.array([7, 7, 7]), 0)


# What a network is trained on


def soft_set(**changes: object) -> CropDataset:
    """Make toy crops with random soft labels, another for each."""
    rng = np.random.default_rng(1)
    soft = rng.dirichlet((1.0, 1.0, 1.0), 24).astype(np.float32)
    return replace(crop_set(24), soft=soft, class_count=3, **changes)


def test_training_has_the_soft_labels_and_validation_the_given_ones() -> None:
    some, rows = soft_set(), np.array([5, 3, 20])
    assert (some[BatchKey(rows, 1)].target.numpy() == some.soft[rows]).all()
    assert some[BatchKey(rows)].target.tolist() == some.classes[rows].tolist()


def test_sides_of_soft_labels_are_swapped_with_the_flip() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    crops = np.broadcast_to(ramp, (60, 3, 60, 60)).copy()
    soft = np.random.default_rng(0).dirichlet(np.ones(5), 60).astype(np.float32)
    axial = np.ones(60, bool)
    augment = Augmenter(0.3, 3, mirrors=True)
    new, target = augment(crops, soft, axial, np.arange(60), 1)
    inside = new[:, 0, 20:40, 15:45].astype(float).mean(axis=1)
    flipped = inside[:, -1] < inside[:, 0]
    assert 15 < flipped.sum() < 45
    assert (target[~flipped] == soft[~flipped]).all()
    for column, name in enumerate(CONDITIONS):
        other = CONDITIONS.index(swap_side(name))
        assert (target[flipped, column] == soft[flipped, other]).all()


def test_mixup_mixes_the_soft_labels() -> None:
    greys = np.array([0, 200], np.uint8)
    crops = np.broadcast_to(greys[:, None, None, None], (2, 3, 4, 4))
    soft = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]], np.float32)
    some = CropDataset(
        *(crops, np.arange(2), np.zeros(2, np.int64), np.zeros(2, bool), "neighbours"),
        **{"soft": soft, "class_count": 3, "mixup": 1.0, "seed": 5},
    )
    batch = some[BatchKey(np.arange(2), 1)]
    share = batch.images[1, 0, 0, 0].item() / 200  # of the second crop in itself
    assert 0.02 < share < 0.98
    expected = share * soft[1] + (1 - share) * soft[0]
    assert batch.target[1].numpy() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_parts_of_a_batch_add_up_to_its_mean(mixup: float) -> None:
    weights = (1.0, 2.0, 4.0)
    some = soft_set(weights=weights, mixup=mixup)
    rows = np.array([3, 7, 11, 2])
    told = (some[BatchKey(rows, 1)].target * torch.tensor(weights)).sum().item()
    assert told == pytest.approx(some.loss_weight(rows, 1), rel=1e-5)


def test_a_subset_keeps_each_rows_own_marks(cache: CropCache) -> None:
    train = make_crop_task(cache, FOLDS, SOFT).train
    train = replace(train, soft=np.random.default_rng(0).random((len(train), 3)))
    chosen = np.arange(len(train)) % 3 == 1
    part = train.subset(chosen)
    assert len(part) == chosen.sum()
    rows = np.flatnonzero(chosen)
    for epoch in (None, 2):
        whole = train[BatchKey(rows, epoch)]
        own = part[BatchKey(np.arange(len(part)), epoch)]
        assert torch.equal(own.images, whole.images)
        assert torch.equal(own.target, whole.target)


def test_sites_of_all_views_have_soft_labels_in_training(cache: CropCache) -> None:
    train = make_crop_task(cache, FOLDS, SOFT).train
    soft = np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), len(train))
    some = replace(train, soft=soft.astype(np.float32))
    rows = np.array([4, 0, 9])
    assert (some[BatchKey(rows, 1)].target.numpy() == some.soft[rows]).all()
    assert some[BatchKey(rows)].target.tolist() == train.classes[rows].tolist()


# The teachers


class School:
    """Teachers that answer by a crop's number and their own, and train in no time."""

    def __init__(self) -> None:
        """Begin without a teacher."""
        self.taught: list[tuple[CropTask, Path]] = []

    def fit(
        self, task: TrainingTask, folder: Path, on_epoch: object, workers: int
    ) -> SimpleNamespace:
        """Stand for fit_task: keep what a teacher is trained on."""
        (folder / "history").mkdir(parents=True)
        self.taught.append((task, folder))
        number = len(self.taught)

        def logits(some: CropDataset, batch_size: int) -> torch.Tensor:
            return torch.log(torch.tensor(answers_of(some.rows, number)))

        return SimpleNamespace(logits=logits)


def answers_of(rows: np.ndarray, teacher: int) -> np.ndarray:
    first = 0.1 + 0.001 * rows
    return np.stack([first, np.full(len(rows), 0.1 * teacher), 0.7 - first], axis=1)


@pytest.fixture
def school(monkeypatch: pytest.MonkeyPatch) -> School:
    made = School()
    monkeypatch.setattr(module, "fit_task", made.fit)
    return made


def config_of(task: str, views: str, share: float = 0.25) -> RunConfig:
    own = replace(SOFT.hyperparameters, soften=share)
    return replace(
        *(SOFT,),
        **{"task": task, "labels": list(LABELS[task]), "views": views},
        hyperparameters=own,
    )


def studies_of(cache: CropCache, rows: np.ndarray) -> set[int]:
    return set(cache.table.set_index("crop").loc[rows, "study_id"])


@pytest.mark.parametrize("views", ["own", "all"])
def test_each_label_is_answered_by_who_has_not_seen_its_study(
    views: str, cache: CropCache, school: School, tmp_path: Path
) -> None:
    task = make_crop_task(cache, FOLDS, config_of("severity", views))
    train = task.prepare(tmp_path / "run", 0).train
    parts = [taught.train.rows for taught, _ in school.taught]
    assert sorted(np.concatenate(parts)) == sorted(task.train.rows)
    one, two = (studies_of(cache, rows) for rows in parts)
    assert not one & two
    assert one | two == set(range(1, 10))  # the training studies alone
    # Each row is answered by the other teacher, whose middle class tells its number.
    first = np.isin(train.rows, parts[0])
    raw = np.where(first[:, None], answers_of(train.rows, 2), answers_of(train.rows, 1))
    plain = raw / raw.sum(axis=1, keepdims=True) / np.array([1.0, 2.0, 4.0])
    plain /= plain.sum(axis=1, keepdims=True)
    expected = 0.75 * np.eye(3)[task.train.classes] + 0.25 * plain
    assert train.soft == pytest.approx(expected, abs=1e-5)


def test_teachers_have_the_runs_recipe_and_validation(
    cache: CropCache, school: School, tmp_path: Path
) -> None:
    task = make_crop_task(cache, FOLDS, SOFT)
    task.prepare(tmp_path / "run", 0)
    for taught, _ in school.taught:
        assert taught.config == task.config
        assert taught.validation is task.validation
        assert taught.train.soft is None


def test_without_the_flag_nobody_teaches(
    cache: CropCache, school: School, tmp_path: Path
) -> None:
    task = make_crop_task(cache, FOLDS, config_of("severity", "all", 0.0))
    assert task.prepare(tmp_path / "run", 0) is task
    assert not school.taught


def test_answers_of_this_very_run_are_read_again(
    cache: CropCache,
    school: School,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    task = make_crop_task(cache, FOLDS, SOFT)
    first = task.prepare(folder, 0).train.soft
    assert len(school.taught) == 2
    assert [path.name for path in folder.iterdir()] == [ANSWERS_FILE]
    assert (task.prepare(folder, 0).train.soft == first).all()
    assert len(school.taught) == 2
    other = make_crop_task(cache, FOLDS, config_of("severity", "all", 0.5))
    other.prepare(folder, 0)  # whose teachers may differ
    assert len(school.taught) == 4
    fewer = FOLDS.assign(split=FOLDS["split"].where(FOLDS["study_id"] != 4, "test"))
    same_config = make_crop_task(cache, fewer, other.config)
    same_config.prepare(folder, 0)
    assert len(school.taught) == 6
    capsys.readouterr()
    path = folder / ANSWERS_FILE
    path.write_bytes(path.read_bytes()[:-9])
    same_config.prepare(folder, 0)
    assert len(school.taught) == 8
    said = capsys.readouterr().out
    assert f"{path} cannot be read" in said
    assert "training the teachers again" in said


def test_the_first_process_alone_writes_and_speaks(
    cache: CropCache,
    school: School,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("src.training.distributed.rank", lambda: 1)
    soft = make_crop_task(cache, FOLDS, SOFT).prepare(tmp_path / "run", 0).train.soft
    assert soft is not None
    assert len(school.taught) == 2  # it has its share of the training
    assert not (tmp_path / "run" / ANSWERS_FILE).exists()
    assert capsys.readouterr().out == ""


# A whole run


@pytest.mark.parametrize("views", ["own", "all"])
def test_a_killed_run_resumes_from_the_teachers_answers(
    views: str,
    cache: CropCache,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = config_of("severity", views)

    def kill(_: object) -> None:
        raise KeyboardInterrupt

    task, runs = make_crop_task(cache, FOLDS, config), tmp_path / "runs"
    with pytest.raises(KeyboardInterrupt):
        train_run(task, runs, kill)
    assert (partial_folder(runs, config) / ANSWERS_FILE).is_file()
    assert "Teacher 2 of 2, epoch 1: train loss" in capsys.readouterr().out
    train_run(task, runs)
    said = capsys.readouterr().out
    assert "Teacher" not in said
    assert f"of {len(task.train)} training labels" in said
    run = read_run(runs / config.name)
    assert run.config == config
    files = {"config.json", "history.jsonl", "predictions.csv", "weights.safetensors"}
    assert {path.name for path in run.folder.iterdir()} == files


def test_conditions_are_softened_with_mirroring_and_mixup(
    cache: CropCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch's target stays a probability of the five conditions."""
    about = replace(
        *(config_of("condition", "own"),),
        slices="neighbours",
        hyperparameters=strength(0.5, soften=0.5, mixup=0.4),
    )
    task = make_crop_task(cache, FOLDS, about)

    def five(some: CropDataset, batch_size: int) -> torch.Tensor:
        return torch.zeros(len(some), 5)

    teacher = SimpleNamespace(logits=five)
    monkeypatch.setattr(module, "fit_task", lambda *given: teacher)
    train = task.prepare(tmp_path / "run", 0).train
    assert train.soft == pytest.approx(0.1 + 0.5 * np.eye(5)[train.classes])
    for _, target, _ in training_batches(train, 8, 1, 0, train.augment):
        assert target.shape[1] == 5
        assert target.sum(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)
        assert target.min() >= 0.1 - 1e-6

"""Condition and severity put together: which crops, seen how, changed how."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from dataset_batches import plain_images, training_batches
from fake_condition_runs import CROP, run_config, sites

from src.cache.crop_cache import SITE, CropCache
from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import (
    crop_datasets,
    make_augmenter,
    make_crop_task,
)
from src.competition.constants import CONDITIONS, SEVERITIES, SPINAL
from src.competition.folds import row_splits
from src.errors import UserError
from src.imaging.crops import CropSpec
from src.training.augmentation import Augmenter
from src.training.config import LABELS, Hyperparameters, RunConfig
from src.training.data_loading import BatchKey

STUDIES = 12
IDS = np.arange(1, STUDIES + 1)
SPLITS = ["train"] * 9 + ["validation", "test", "test"]
FOLDS = pd.DataFrame({"study_id": IDS, "split": SPLITS, "fold": IDS % 5})
HARDLY = Hyperparameters(augment=1e-9)  # a strength whose changes do not show
BLANK = [3, 44, 101, 111, 118]  # rows of the table without a grade, in every role


def table() -> pd.DataFrame:
    """Crops whose numbers are not their rows in the table, some without a grade."""
    rng = np.random.default_rng(0)
    out = sites(STUDIES)
    grades = rng.choice(SEVERITIES, len(out)).astype(object)
    grades[BLANK] = None
    return out.assign(crop=rng.permutation(len(out)), severity=grades)


TABLE = table()
BY_CROP = TABLE.set_index("crop")


def cache(slices: int = 3) -> CropCache:
    """Crops of a brightness that is their number."""
    shape = (len(TABLE), slices, 16, 16)
    numbers = np.arange(len(TABLE), dtype=np.uint8)
    crops = np.broadcast_to(numbers[:, None, None, None], shape)
    spec = CropSpec(**{**CROP, "slices": slices})
    return CropCache(Path("cache"), crops, TABLE, TABLE, TABLE, spec, {})


def config(
    task: str, augment: float = 0.5, seed: int = 0, crop_slices: int = 3, **changes: Any
) -> RunConfig:
    hyperparameters = Hyperparameters(augment=augment, seed=seed).to_dict()
    crop = {**CROP, "slices": crop_slices}
    given = {"task": task, "labels": list(LABELS[task]), "backbone": "resnet10t"}
    return run_config(hyperparameters=hyperparameters, crop=crop, **given, **changes)


def sets(*given: Any, **changes: Any) -> dict[str, CropDataset]:
    return crop_datasets(cache(), FOLDS, config(*given, **changes))


def studies_of(some: CropDataset) -> set[int]:
    return set(BY_CROP.loc[some.rows, "study_id"])


@pytest.mark.parametrize(
    ("fold", "validation", "test"),
    [("holdout", {10}, {11, 12}), ("2", {10}, {2, 7, 12}), ("4", {10}, {4, 9})],
)
def test_studies_go_where_their_fold_says(
    fold: str, validation: set[int], test: set[int]
) -> None:
    divided = sets("condition", fold=fold)
    assert studies_of(divided["validation"]) == validation
    assert studies_of(divided["test"]) == test
    assert studies_of(divided["train"]) == set(IDS) - validation - test


@pytest.mark.parametrize(("seed", "limit"), [(0, None), (3, None), (3, 7)])
def test_crops_are_dealt_out_by_the_runs_own_seed_and_limit(
    seed: int, limit: int | None
) -> None:
    divided = sets("condition", seed=seed, split="row", limit=limit)
    expected = pd.Series(row_splits(len(TABLE), seed))
    kept = TABLE["study_id"] <= (limit or STUDIES)
    for role, some in divided.items():
        assert set(some.rows) == set(TABLE.loc[kept & (expected == role), "crop"])


@pytest.mark.parametrize("split", ["study", "row"])
def test_other_views_of_a_site_are_no_crops_of_their_own(split: str) -> None:
    own = cache()
    others = TABLE.assign(crop=TABLE["crop"] + len(TABLE), view="Axial T2")
    both = pd.concat([TABLE, others]).sort_values(["site", "view"], ignore_index=True)
    about = config("condition", split=split)
    alone = crop_datasets(own, FOLDS, about)
    amid = crop_datasets(replace(own, table=both), FOLDS, about)
    for role, some in alone.items():
        assert amid[role].rows.tolist() == some.rows.tolist()
        assert amid[role].classes.tolist() == some.classes.tolist()


def test_every_crop_stands_beside_its_own_answer() -> None:
    answers = {"condition": CONDITIONS, "severity": SEVERITIES}
    for task, labels in answers.items():
        for some in sets(task).values():
            told = [labels[place] for place in some.classes]
            assert told == BY_CROP.loc[some.rows, task].tolist()
            kinds = BY_CROP.loc[some.rows, "series_description"]
            assert some.axial.tolist() == (kinds == "Axial T2").tolist()
            [seen] = plain_images(some, len(some), np.arange(len(some)))
            assert (seen[:, 1, 0, 0].numpy() == some.rows).all()


def test_crops_without_a_grade_are_of_no_use_to_severity_alone() -> None:
    blank = set(TABLE.loc[BLANK, "crop"])
    graded = np.concatenate([some.rows for some in sets("severity").values()])
    assert set(graded) == set(TABLE["crop"]) - blank
    named = np.concatenate([some.rows for some in sets("condition").values()])
    assert set(named) == set(TABLE["crop"])


def test_severity_counts_1_2_4_and_turns_the_right_to_the_left() -> None:
    for some in sets("severity").values():
        names = BY_CROP.loc[some.rows, "condition"]
        assert some.weights == (1, 2, 4)
        assert some.mirrored.tolist() == names.str.startswith("right").tolist()
        assert some.mirror_invariant.tolist() == names.str.contains("spinal").tolist()
    for some in sets("condition").values():
        assert some.weights is some.mirrored is some.mirror_invariant is None


@pytest.mark.parametrize("augment", [0.0, 0.5])
def test_the_canal_is_mirrored_at_times_where_there_is_augmentation(
    augment: float,
) -> None:
    run = config("severity", augment=augment)
    some = make_crop_task(cache(), FOLDS, run).train
    leaning = np.zeros((len(TABLE), 3, 8, 8), np.uint8)
    leaning[:, 0] = 200  # bright in the slice before
    some = replace(some, crops=leaning)
    order = np.random.default_rng([0, 1]).permutation(len(some))
    change = Augmenter(HARDLY.augment if augment else 0.0, 0, mirrors=False)
    [(images, _, _)] = training_batches(some, len(some), 1, 0, change)
    turned = images[np.argsort(order), 0, 4, 4].numpy() < 100
    names = BY_CROP.loc[some.rows, "condition"]
    assert turned[names == CONDITIONS[2]].all()  # a right foramen, always
    assert not turned[names == CONDITIONS[0]].any()
    canals = turned[names == SPINAL]
    assert 0 < canals.sum() < len(canals) if augment else not canals.any()


def seen_in_training(
    hyperparameters: Hyperparameters, **changes: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Show a run's augmentation 200 crops of class 0 whose slices count 0, 30, 60..."""
    about = config(**changes)
    about = replace(about, hyperparameters=hyperparameters)
    steps = 30 * np.arange(about.crop["slices"], dtype=np.uint8)
    crops = np.tile(steps[:, None, None], (200, 1, 8, 8))
    classes, axial = np.zeros(200, np.int64), np.ones(200, bool)
    augment = make_augmenter(about)
    out, told = augment(crops, classes, axial, np.arange(200), 1)
    return out[:, :, 4, 4], told


BOTH_SIDES = {CONDITIONS[0], CONDITIONS[2]}


@pytest.mark.parametrize(
    ("task", "slices", "cut", "named", "jittered"),
    [
        ("condition", "neighbours", 3, BOTH_SIDES, False),
        ("condition", "neighbours", 5, BOTH_SIDES, False),
        ("condition", "repeat", 3, {CONDITIONS[0]}, False),
        ("condition", "attention", 5, {CONDITIONS[0]}, False),
        ("severity", "neighbours", 3, {CONDITIONS[0]}, False),
        ("severity", "repeat", 3, {CONDITIONS[0]}, False),
        ("severity", "neighbours", 5, {CONDITIONS[0]}, True),
        ("severity", "attention", 5, {CONDITIONS[0]}, True),
    ],
)
def test_what_may_change_follows_from_task_and_slices(
    task: str, slices: str, cut: int, named: set[str], jittered: bool
) -> None:
    changes = {"task": task, "slices": slices, "crop_slices": cut}
    seen, classes = seen_in_training(HARDLY, **changes)
    assert {CONDITIONS[place] for place in classes} == named
    beside = np.abs(seen[:, cut // 2].astype(int) - 30 * (cut // 2)) > 10
    # The competition's winners met a slice beside the marked one as often.
    assert beside.mean() == pytest.approx(0.25 if jittered else 0, abs=0.08)


def jittered(errors: list | None, **changes: Any) -> np.ndarray:
    """Show a severity run's augmentation crops of five slices; return the middle row.

    In each slice's middle row pixels count 0, 10, 20, ...
    """
    given = {"crop_slices": 5, "site_errors": errors} | changes
    about = replace(config("severity", **given), hyperparameters=HARDLY)
    crops = np.zeros((200, 5, 17, 17), np.uint8)
    crops += np.arange(0, 170, 10, dtype=np.uint8) + np.uint8(1)
    crops += np.arange(5, dtype=np.uint8)[:, None, None] * np.uint8(17)
    classes, axial = np.zeros(200, np.int64), np.arange(200) % 2 == 0
    return make_augmenter(about)(crops, classes, axial, np.arange(200), 1)[0]


def test_measured_jitter_is_in_millimetres_of_the_cache() -> None:
    # 50 mm over 16 px: 6.25 mm are two pixels, a grey of 20 along a row.
    errors = [{"axial": True, "error_mm": [6.25, 6.25], "slices_off": [1.0]}]
    still, moved = jittered([]), jittered(errors)
    assert len(np.unique(still[:, 2, 8, 8])) == 1
    off = np.abs(moved[:, 2, 8, 8].astype(int) - still[0, 2, 8, 8])
    assert off[1::2].max() == 0  # sagittal, of which nothing was measured
    assert 17 <= off[::2].max() <= 21
    assert (off[::2] > 5).mean() > 0.6


def test_measured_jitter_needs_pixels_of_a_known_size() -> None:
    errors = [{"axial": True, "error_mm": [1.0, 2.0], "slices_off": [1.0]}]
    about = config("severity", site_errors=errors)
    native = replace(about, crop={**about.crop, "field_mm": None})
    with pytest.raises(UserError, match="--jitter shifts crops by millimetres"):
        make_augmenter(native)
    make_augmenter(replace(native, site_errors=[]))


def test_validating_studies_are_counted_in_any_split() -> None:
    task = make_crop_task(cache(), FOLDS, config("severity"))
    assert task.validation_studies == 1  # study 10
    rows = make_crop_task(cache(), FOLDS, config("condition", split="row"))
    assert rows.validation_studies == len(studies_of(rows.validation)) > 1


def test_changes_are_of_the_settings_strength_and_seed() -> None:
    trial = Hyperparameters(augment=0.0)
    still, _ = seen_in_training(trial, task="condition", augment=0.5)
    assert (still == [0, 30, 60]).all()
    first, again, other = (
        seen_in_training(Hyperparameters(augment=0.5, seed=seed), task="condition")[0]
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_trials_task_differs_by_its_recipe_alone() -> None:
    task = make_crop_task(cache(), FOLDS, config("condition"))
    new = Hyperparameters(augment=0.25, seed=5, batch_size=7, mixup=0.125)
    other = task.with_hyperparameters(new)
    assert other.config == replace(task.config, hyperparameters=new)
    assert (other.train.augment.strength, other.train.augment.seed) == (0.25, 5)
    assert (other.train.seed, other.batch_size) == (5, 7)
    assert (other.train.mixup, other.train.class_count) == (0.125, 5)
    assert other.train.rows is task.train.rows
    assert (other.validation, other.test) == (task.validation, task.test)


class Oracle:
    """Gives logits that follow from a crop's number."""

    def logits(self, crops: CropDataset, batch_size: int) -> torch.Tensor:
        """Score [n, 3]."""
        return torch.tensor(np.stack([scores(row) for row in crops.rows]))


def scores(crop: int) -> np.ndarray:
    return np.random.default_rng(crop).normal(size=3)


def test_a_job_trains_judges_and_predicts_each_on_its_own_crops() -> None:
    asked = config("severity")
    job = make_crop_task(cache(), FOLDS, asked)
    assert studies_of(job.train) == set(range(1, 10))
    assert studies_of(job.validation) == {10}
    validation = replace(job, train=job.validation)
    assert job.validate(Oracle()) == validation.validate(Oracle())
    told = job.predict(Oracle())
    graded = TABLE[TABLE["study_id"].isin([11, 12]) & TABLE["severity"].notna()]
    assert sorted(told["crop"]) == sorted(graded["crop"])
    for row in told.to_dict("records"):
        site = BY_CROP.loc[row["crop"]]
        assert [row[name] for name in SITE] == site[SITE].tolist()
        assert SEVERITIES[row["truth"]] == site["severity"]
        powers = np.exp(scores(row["crop"]))
        expected = dict(zip(SEVERITIES, powers / powers.sum(), strict=True))
        assert {name: row[f"p_{name}"] for name in SEVERITIES} == (
            pytest.approx(expected)
        )
        assert SEVERITIES[row["predicted"]] == max(expected, key=expected.get)


def test_attention_needs_more_slices_than_it_has_channels() -> None:
    asked = {"slices": "attention", "crop_slices": 3}
    with pytest.raises(UserError, match="--crop-slices 5"):
        make_crop_task(cache(3), FOLDS, config("severity", **asked))
    job = make_crop_task(
        cache(5), FOLDS, config("severity", **asked | {"crop_slices": 5})
    )
    assert plain_images(job.train, 4, np.arange(4))[0].shape == (4, 5, 16, 16)


def test_a_role_without_a_crop_is_refused() -> None:
    with pytest.raises(UserError, match="test"):
        sets("condition", limit=10)


@pytest.mark.parametrize(("own", "tuned"), [(0.0, 0.5), (0.5, 0.0)])
def test_a_trials_strength_decides_whether_the_canal_is_mirrored(
    own: float, tuned: float
) -> None:
    task = make_crop_task(cache(), FOLDS, config("severity", augment=own))
    other = task.with_hyperparameters(Hyperparameters(augment=tuned))
    straight = make_crop_task(cache(), FOLDS, config("severity", augment=tuned))
    key = BatchKey(np.arange(len(other.train)), epoch=1)
    assert torch.equal(other.train[key].images, straight.train[key].images)

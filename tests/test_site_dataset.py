"""Sites with all their views: which crop goes where, mirrored and dropped how."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from view_crops import (
    FOLDS,
    PX,
    SLICES,
    STUDIES,
    WITHOUT,
    strength,
    view_cache,
    view_table,
    views_config,
)

from src.cache.crop_cache import CropCache
from src.classification.crop_task import CropTask, make_crop_task
from src.classification.site_dataset import VIEW_DROP, SiteDataset
from src.competition.constants import SERIES_DESCRIPTIONS, SPINAL
from src.errors import UserError
from src.models.gated_attention import FEATURES
from src.models.view_attention import ViewAttention
from src.training.augmentation import Augmenter
from src.training.data_loading import BatchKey, training_loader
from src.training.trainer import Trainer

CPU = torch.device("cpu")
TABLE = view_table()
OWN = TABLE[TABLE["view"] == "own"]
HARDLY = Augmenter(1e-9, 0, mirrors=False)  # a strength whose changes do not show


@pytest.fixture
def cache(tmp_path: Path) -> CropCache:
    return view_cache(tmp_path)


def task_of(cache: CropCache, augment: float = 0.0, **changes: object) -> CropTask:
    own = strength(augment)
    return make_crop_task(cache, FOLDS, views_config(hyperparameters=own, **changes))


def images_of(some: SiteDataset, epoch: int | None = None) -> np.ndarray:
    return some[BatchKey(np.arange(len(some)), epoch)].images.numpy()


def mirrored_by_hand(crop: np.ndarray, description: str) -> np.ndarray:
    axial = description == "Axial T2"
    return crop[:, :, ::-1] if axial else crop[::-1]


def test_each_view_stands_at_its_place_and_the_right_is_mirrored(
    cache: CropCache,
) -> None:
    task = task_of(cache)
    seen = set()
    for some in (task.train, task.validation, task.test):
        assert isinstance(some, SiteDataset)
        images = images_of(some)
        assert images.shape == (len(some), 3, SLICES, PX, PX)
        assert images.dtype == np.uint8
        for number, site in zip(some.rows, images, strict=True):
            own = OWN.set_index("crop").loc[number]
            crops = TABLE[TABLE["site"] == own["site"]]
            crops = crops.set_index("series_description")["crop"]
            for view, description in enumerate(SERIES_DESCRIPTIONS):
                lacking = description in WITHOUT.get(own["study_id"], set())
                if lacking and description != own["series_description"]:
                    assert not site[view].any()
                    continue
                expected = cache.crops[crops[description]]
                if own["condition"].startswith("right"):
                    expected = mirrored_by_hand(expected, description)
                assert (site[view] == expected).all()
            seen.add(own["site"])
    assert seen == set(OWN["site"])


def test_neighbours_are_the_middle_three_slices_of_each_view(cache: CropCache) -> None:
    whole = task_of(cache).test
    some = images_of(replace(whole, slices="neighbours"))
    assert some.shape == (len(whole), 3, 3, PX, PX)
    assert (some == images_of(whole)[:, :, 1:4]).all()


def test_a_mirrored_right_site_is_graded_as_the_left_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (len(TABLE), SLICES, PX, PX))
    keys = ["study_id", "level", "series_description"]
    left = TABLE["condition"].str.startswith("left")
    crops = TABLE[left].assign(condition=lambda t: t["condition"].str[5:])
    crop_of = crops.set_index([*keys, "condition"])["crop"]
    right = TABLE[TABLE["condition"].str.startswith("right")]
    for row in right.itertuples():
        description = row.series_description
        other = crop_of[row.study_id, row.level, description, row.condition[6:]]
        pixels[row.crop] = mirrored_by_hand(pixels[other], description)
    task = task_of(view_cache(tmp_path, pixels.astype(np.uint8)))
    torch.manual_seed(0)
    model = ViewAttention("resnet10t", 3, 3, SLICES, "none").eval()
    names = OWN.set_index("crop").loc[task.test.rows]
    images = torch.from_numpy(images_of(task.test)).float() / 255
    with torch.inference_mode():
        graded = model(images)
    site = names["condition"].str.split("_", n=1).str[1]
    pairs = pd.DataFrame({"row": range(len(names)), "site": site.to_numpy()})
    pairs["at"] = (names["study_id"] * 10 + names["level"].eq("l3_l4")).to_numpy()
    sided = pairs[~names["condition"].eq(SPINAL).to_numpy()]
    for _, rows in sided.groupby(["at", "site"])["row"]:
        one, other = rows
        assert torch.equal(images[one], images[other])
        assert torch.allclose(graded[one], graded[other], atol=1e-5)


def test_predictions_are_one_row_a_site_named_by_its_own_crop(cache: CropCache) -> None:
    task = task_of(cache)

    class Oracle:
        def logits(self, some: SiteDataset, size: int) -> torch.Tensor:
            return torch.eye(3)[some.classes.tolist()]

    table = task.predict(Oracle())
    tested = OWN[OWN["study_id"].isin([STUDIES - 1, STUDIES])]
    columns = ["crop", "study_id", "series_id", "instance_number", "condition", "level"]
    assert table[columns].equals(tested[columns].reset_index(drop=True))
    assert (table["predicted"] == table["truth"]).all()


@pytest.fixture
def shown(cache: CropCache) -> SiteDataset:
    """The training sites, hardly changed."""
    return replace(task_of(cache, 0.5).train, augment=HARDLY, flips=False)


def test_training_drops_views_at_random_and_never_the_last(shown: SiteDataset) -> None:
    whole = images_of(shown).any(axis=(2, 3, 4))
    dropped = np.stack([images_of(shown, n).any(axis=(2, 3, 4)) for n in range(1, 13)])
    assert not (dropped & ~whole).any()
    assert dropped.any(axis=2).all()
    full = whole.all(axis=1)
    share = 1 - dropped[:, full].mean()
    # A site's last view stays: of three independent ones, .2^3 a site less.
    assert share == pytest.approx(VIEW_DROP - VIEW_DROP**3 / 3, abs=0.03)
    assert (dropped[:, full].mean(axis=(0, 1)) < 0.9).all()
    single = whole.sum(axis=1) == 1
    assert single.any()
    assert (dropped[:, single] == whole[single]).all()


def test_a_drop_follows_from_seed_epoch_and_site(shown: SiteDataset) -> None:
    first = images_of(shown, 1)
    assert (images_of(shown, 1) == first).all()
    assert (images_of(shown, 2) != first).any()
    assert (images_of(replace(shown, seed=9), 1) != first).any()
    few = np.array([7, 3])
    assert (shown[BatchKey(few, 1)].images.numpy() == first[few]).all()


@pytest.mark.parametrize("augment", [None, Augmenter(0.0, 0, mirrors=False)])
def test_without_augmentation_and_in_evaluation_all_views_stay(
    shown: SiteDataset, augment: Augmenter | None
) -> None:
    plain = images_of(shown)
    assert (images_of(replace(shown, augment=augment), 1) == plain).all()


def test_a_canal_is_flipped_in_all_its_views_or_none(cache: CropCache) -> None:
    some = task_of(cache, 0.5).train
    images, plain = images_of(replace(some, augment=None), 1), images_of(some)
    canal = OWN.set_index("crop").loc[some.rows, "condition"] == SPINAL
    flips = []
    for site, was in zip(images[canal], plain[canal], strict=True):
        for view, description in enumerate(SERIES_DESCRIPTIONS):
            if was[view].any():
                flipped = (site[view] == mirrored_by_hand(was[view], description)).all()
                assert flipped or (site[view] == was[view]).all()
                flips.append((len(flips) if view == 0 else None, flipped))
        own = [flag for _, flag in flips[-int(was.any(axis=(1, 2, 3)).sum()) :]]
        assert len(set(own)) == 1
    assert 0 < sum(flag for _, flag in flips) < len(flips)


def test_each_view_is_augmented_by_itself(cache: CropCache) -> None:
    same = np.broadcast_to(cache.crops[0], cache.crops.shape)
    some = replace(task_of(cache, 0.5).train, crops=same, flips=False)
    site = next(n for n, crops in enumerate(some.views) if (crops >= 0).all())
    epochs = [some[BatchKey(np.array([site]), n)].images[0] for n in range(1, 9)]
    whole = next(e for e in epochs if e.flatten(1).any(dim=1).all())
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_bytes_for_any_number_of_workers(
    cache: CropCache, workers: int
) -> None:
    def digests(count: int) -> list[str]:
        loader = training_loader(task_of(cache, 0.5).train, 8, 0, CPU, count)
        loader.sampler.set_epoch(2)
        parts = [(b.images.numpy().tobytes(), b.target.tolist()) for b in loader]
        return [hashlib.sha256(repr(part).encode()).hexdigest() for part in parts]

    assert digests(workers) == digests(0)


def test_mixup_mixes_sites(cache: CropCache) -> None:
    some = replace(task_of(cache).train, mixup=0.4)
    batch = some[BatchKey(np.arange(6), 1)]
    assert batch.images.shape == (6, 3, SLICES, PX, PX)
    assert batch.target.shape == (6, 3)
    assert batch.target.sum(dim=1).tolist() == pytest.approx([1.0] * 6)


def test_a_cache_of_marked_views_alone_is_refused(cache: CropCache) -> None:
    own = replace(cache, table=OWN)
    with pytest.raises(UserError, match=r"input_prep\.py --views all"):
        task_of(own)
    assert len(make_crop_task(own, FOLDS, replace(views_config(), views="own")).train)


def test_a_type_that_is_unknown_is_its_conditions_usual_one(cache: CropCache) -> None:
    odd = cache.table.copy()
    marked = odd["view"] == "own"
    odd.loc[marked, "series_description"] = None
    plain = task_of(cache).train
    assert (task_of(replace(cache, table=odd)).train.views == plain.views).all()


def test_a_label_that_one_view_alone_shows_is_learned(tmp_path: Path) -> None:
    grades = OWN.set_index("site")["severity"].astype("category").cat.codes
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (len(TABLE), SLICES, PX, PX)).astype(np.uint8)
    for row in TABLE[TABLE["series_description"] == "Sagittal T1"].itertuples():
        start = 5 * int(grades[row.site])
        pixels[row.crop, SLICES // 2, start : start + 5] = 230
    cache = view_cache(tmp_path, pixels)
    own = strength(0.0, lr=0.01, schedule="constant")
    own = replace(own, epochs=12, patience=0)
    task = task_of(cache).with_hyperparameters(own)
    torch.manual_seed(0)
    model = ViewAttention("resnet10t", 3, 3, SLICES, "none")
    model.encoder = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(128, FEATURES)
    )
    trainer = Trainer(model, own, CPU, precision=torch.float32)
    trainer.fit(task)
    shows = task.test.views[:, SERIES_DESCRIPTIONS.index("Sagittal T1")] >= 0
    right = trainer.logits(task.test, 8).argmax(dim=1).numpy() == task.test.classes
    assert right[shows].mean() > 0.95

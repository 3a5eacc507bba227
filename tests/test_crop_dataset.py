"""Batches of crops: what is in them, and what random changes leave true."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from dataset_batches import (
    plain_images,
    steps,
    training_batches,
    validate_crops,
)
from test_scanner import LEFT, RIGHT, anatomy, crop, site_mm, symmetric
from toy_crops import crop_set

from src.classification.crop_dataset import CropDataset, select_slices
from src.classification.crop_task import CropTraining
from src.competition.constants import AXIAL_T2, CONDITIONS, SAGITTAL_T1, swap_side
from src.phantom.tissue import T1, T2
from src.training.augmentation import Augmenter
from src.training.mirror import SWAPPED_CLASS, is_axial, mirror
from src.training.predictor import MEAN, STD, normalize

NONE = Augmenter(0.0, 0, mirrors=False)


def test_images_are_centred_and_scaled() -> None:
    images = normalize(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert images.ravel().tolist() == pytest.approx([-MEAN / STD, (1 - MEAN) / STD])


def test_an_epoch_yields_every_crop_once_with_its_class() -> None:
    crops = crop_set(23)
    batches = list(training_batches(crops, 5, 1, 0, NONE))
    assert torch.cat([classes for _, classes, _ in batches]).bincount().tolist() == [
        8,
        8,
        7,
    ]
    for batch, classes, weight in batches:
        bright = batch[:, 1].float().mean(dim=1).reshape(len(batch), -1)
        assert (bright.argmax(dim=1) // 10).tolist() == classes.tolist()
        assert weight == 1
    assert steps(crops, 5) == len(batches) == 5


def test_each_epoch_has_its_own_order_and_the_same_one_again() -> None:
    crops = crop_set(24)

    def order(epoch: int) -> list[int]:
        return torch.cat(
            [c for _, c, _ in training_batches(crops, 6, epoch, 0, NONE)]
        ).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_last_batch_of_one_is_not_trained_on() -> None:
    crops = crop_set(21)
    assert [len(c) for _, c, _ in training_batches(crops, 5, 1, 0, NONE)] == [
        5,
        5,
        5,
        5,
    ]


def test_repeat_shows_the_labelled_slice_three_times() -> None:
    crops = crop_set(8, slices="repeat")
    [batch] = plain_images(crops, 8, np.arange(8))
    for channel in range(3):
        assert (batch[:, channel].numpy() == crops.crops[:, 1]).all()


def changed(
    crops: np.ndarray, strength: float, epoch: int = 1, mirrors: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    count = len(crops)
    augment = Augmenter(strength, 3, mirrors)
    classes = np.zeros(count, np.int64)
    return augment(crops, classes, np.ones(count, bool), np.arange(count), epoch)


def test_changes_are_the_same_for_all_slices_of_a_crop_but_not_of_all() -> None:
    one = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)
    crops = np.broadcast_to(one, (8, 3, 40, 40)).copy()
    # Noise is drawn for each pixel; without it the slices must stay alike.
    augment = Augmenter(0.5, 3, mirrors=False)
    augment._change.transforms.pop()
    new, _ = augment(crops, np.zeros(8), np.ones(8, bool), np.arange(8), 1)
    assert new.dtype == np.uint8
    assert (new[:, 0] == new[:, 1]).all()
    assert (new[:, 0] == new[:, 2]).all()
    assert len({crop.tobytes() for crop in new}) == 8


def test_changes_follow_from_seed_epoch_and_row() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 3, 40, 40)).astype(np.uint8)
    first, _ = changed(crops, 0.5)
    again, _ = changed(crops, 0.5)
    later, _ = changed(crops, 0.5, epoch=2)
    assert (first == again).all()
    assert (first != later).any()
    assert (changed(crops, 0.0)[0] == crops).all()


def test_without_mirroring_no_crop_is_flipped() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    crops = np.broadcast_to(ramp, (40, 3, 60, 60)).copy()
    for crop_ in changed(crops, 0.6)[0]:
        inside = crop_[0, 20:40, 15:45].astype(float).mean(axis=0)
        assert inside[-1] > inside[0]


def test_about_half_the_crops_are_mirrored_with_their_labels() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    crops = np.broadcast_to(ramp, (200, 3, 60, 60)).copy()
    new, classes = changed(crops, 0.3, mirrors=True)
    inside = new[:, 0, 20:40, 15:45].astype(float).mean(axis=1)
    flipped = inside[:, -1] < inside[:, 0]
    assert 70 < flipped.sum() < 130
    assert (classes[flipped] == CONDITIONS.index(swap_side(CONDITIONS[0]))).all()
    assert (classes[~flipped] == 0).all()


def test_mirrored_classes_swap_sides_and_keep_the_canal() -> None:
    assert (SWAPPED_CLASS[SWAPPED_CLASS] == np.arange(5)).all()
    for index, name in enumerate(CONDITIONS):
        other = CONDITIONS[SWAPPED_CLASS[index]]
        assert other == name if "spinal" in name else other != name
        assert other.split("_")[1:] == name.split("_")[1:]


def three(
    weighting: str, plane: str, centre: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Cut three neighbouring slices of a person who is the same on both sides."""
    person = symmetric(anatomy(0, narrowing=0.2))
    slices = [crop(person, centre + k * step, plane, weighting) for k in (-1, 0, 1)]
    return np.stack(slices)[None]


@pytest.mark.parametrize(
    ("plane", "weighting", "step", "conditions"),
    [
        ("sagittal", T1, (4.5, 0, 0), (LEFT, RIGHT)),
        (
            *("axial", T2, (0, 0, -4.5)),
            tuple(f"{side}_subarticular_stenosis" for side in ("left", "right")),
        ),
    ],
)
def test_the_mirror_turns_a_left_site_into_the_right_one(
    plane: str, weighting: str, step: tuple, conditions: tuple[str, str]
) -> None:
    person = symmetric(anatomy(0, narrowing=0.2))
    left, right = (
        three(weighting, plane, site_mm(person, condition), np.array(step))
        for condition in conditions
    )
    assert np.abs(left - right).max() > 0.1
    turned = mirror(left, np.array([plane == "axial"]))
    # Near the site all is symmetric; the great vessels farther forward are not.
    near = np.s_[..., 20:81, 30:81] if plane == "sagittal" else np.s_[..., 30:, :]
    assert turned[near] == pytest.approx(right[near], abs=2e-3)


def test_axial_crops_are_told_by_their_series() -> None:
    table = pd.DataFrame({"series_description": [AXIAL_T2, SAGITTAL_T1]})
    assert is_axial(table).tolist() == [True, False]


def test_two_processes_share_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = replace(crop_set(23), classes=np.arange(23))
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("src.training.distributed.rank", lambda rank=rank: rank)
        shares.append(list(training_batches(crops, 6, 1, 0, NONE)))
    for (_, one, w1), (_, two, w2) in zip(*shares, strict=True):
        # Means weighed so and averaged over two processes are the batch's mean.
        assert (w1 * one.double().mean() + w2 * two.double().mean()) / 2 == (
            pytest.approx(torch.cat([one, two]).double().mean().item())
        )
    seen = torch.cat([c for share in shares for _, c, _ in share])
    assert sorted(seen.tolist()) == list(range(23))


def test_the_right_is_always_mirrored_and_the_canal_at_times() -> None:
    crops = np.zeros((3, 3, 8, 8), np.uint8)
    crops[:, 0] = 200  # the slice before is bright, so a sagittal mirror shows
    some = CropDataset(
        crops,
        *(np.arange(3), np.zeros(3, np.int64), np.zeros(3, bool), "neighbours"),
        mirrored=np.array([True, False, False]),
        mirror_invariant=np.array([False, False, True]),
    )
    seen = []
    for epoch in range(12):
        order = np.random.default_rng([0, epoch]).permutation(3)
        [(images, _, _)] = training_batches(some, 3, epoch, 0, NONE)
        bright = images[np.argsort(order), 0, 0, 0].numpy() > 100
        seen.append(bright.tolist())
    right, left, canal = np.array(seen).T
    assert not right.any()
    assert left.all()
    assert 2 <= canal.sum() <= 10
    [judged] = plain_images(some, 3, np.arange(3))
    assert (judged[:, 0, 0, 0] > 100).tolist() == [False, True, True]


def test_classes_count_by_their_weight() -> None:
    crops = np.zeros((4, 3, 8, 8), np.uint8)
    classes = np.array([0, 0, 1, 2])
    plain = (crops, np.arange(4), classes, np.zeros(4, bool), "neighbours")
    some = CropDataset(*plain, weights=(1, 2, 4))
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]] * 4))
    by_hand = -(2 * np.log(0.7) + 2 * np.log(0.2) + 4 * np.log(0.1)) / 8
    assert CropTraining(some, some, 1).loss(
        logits, torch.tensor(classes)
    ).item() == pytest.approx(by_hand)
    weights = [weight for _, _, weight in training_batches(some, 2, 0, 0, NONE)]
    assert weights == [1, 1]  # alone, a process' share is the whole batch


def marked(count: int, rows: np.ndarray, **changes: object) -> CropDataset:
    """Crops of three slices whose brightness is their row in the cache."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    crops = np.broadcast_to(levels, (count, 3, 8, 8))
    classes = np.random.default_rng(0).integers(0, 3, len(rows))
    plain = (crops, rows, classes, rows % 2 == 0, "neighbours")
    return replace(CropDataset(*plain), **changes)


def test_changes_are_asked_for_with_the_crops_own_marks_row_and_epoch() -> None:
    some = marked(60, np.random.default_rng(1).permutation(60)[:20])
    class_of = dict(zip(some.rows.tolist(), some.classes.tolist(), strict=True))
    asked = []

    def augment(
        crops: np.ndarray,
        classes: np.ndarray,
        axial: np.ndarray,
        rows: np.ndarray,
        epoch: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        assert (crops[:, 1, 0, 0] == rows).all()
        assert [class_of[row] for row in rows] == classes.tolist()
        assert (axial == (rows % 2 == 0)).all()
        assert epoch == 4
        asked.extend(rows.tolist())
        return crops + 100, 2 - classes

    for crops, classes, _ in training_batches(some, 6, 4, 0, augment):
        rows = (crops[:, 0, 0, 0] - 100).tolist()
        assert classes.tolist() == [2 - class_of[row] for row in rows]
    assert sorted(asked) == sorted(some.rows.tolist())


def rows_in_order(some: CropDataset, epoch: int, seed: int) -> list[int]:
    batches = training_batches(some, 4, epoch, seed, NONE)
    return torch.cat([crops[:, 1, 0, 0] for crops, _, _ in batches]).tolist()


def test_each_seed_has_its_own_order() -> None:
    some = marked(24, np.arange(24))
    assert rows_in_order(some, 1, 0) != rows_in_order(some, 1, 1)


def test_shares_of_two_processes_weigh_what_their_classes_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = marked(22, np.arange(22), weights=(1, 2, 4))
    logits = torch.randn(22, 3, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("src.training.distributed.rank", lambda rank=rank: rank)
        shares.append(list(training_batches(some, 6, 1, 0, NONE)))
    assert len(shares[0]) == len(shares[1]) == 4
    for pair in zip(*shares, strict=True):
        losses, all_rows = [], []
        for crops, classes, weight in pair:
            all_rows += (rows := crops[:, 1, 0, 0].tolist())
            losses.append(
                CropTraining(some, some, 1).loss(logits[rows], classes) * weight
            )
        classes = some.classes[all_rows]
        logs = torch.log_softmax(logits[all_rows], dim=1).numpy()
        each = -logs[np.arange(len(logs)), classes]
        expected = np.average(each, weights=np.array([1, 2, 4])[classes])
        assert sum(losses).item() / 2 == pytest.approx(expected, rel=1e-5)


def test_no_process_is_left_with_a_single_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.training.distributed.world_size", lambda: 2)
    assert steps(marked(11, np.arange(11)), 8) == 1  # a rest of 3 is two and one
    assert steps(marked(12, np.arange(12)), 8) == 2


@pytest.mark.parametrize(
    ("slices", "cut", "seen"),
    [
        ("neighbours", 3, [0, 1, 2]),
        ("neighbours", 5, [1, 2, 3]),
        ("neighbours", 7, [2, 3, 4]),
        ("repeat", 5, [2, 2, 2]),
        ("repeat", 1, [0, 0, 0]),
        ("attention", 5, [0, 1, 2, 3, 4]),
    ],
)
def test_slices_are_chosen_around_the_marked_one(
    slices: str, cut: int, seen: list[int]
) -> None:
    crops = np.arange(cut, dtype=np.uint8)[None, :, None, None] + np.zeros((2, 1, 4, 4))
    assert select_slices(crops, slices)[1, :, 3, 3].tolist() == seen


def test_each_canal_has_its_own_coin_of_seed_and_epoch() -> None:
    crops = np.zeros((40, 3, 8, 8), np.uint8)
    crops[:, 0] = 100  # bright in the slice before
    crops[:, :, :, 0] += 50  # and in the first column
    some = replace(
        marked(40, np.arange(40)), crops=crops, mirror_invariant=np.ones(40, bool)
    )

    def turned(seed: int, epoch: int) -> list[bool]:
        order = np.random.default_rng([seed, epoch]).permutation(40)
        [(images, _, _)] = training_batches(some, 40, epoch, seed, NONE)
        images = images[np.argsort(order)].numpy()
        slices = images[:, 0, 4, 4] < images[:, 2, 4, 4]
        columns = images[:, 1, 4, 0] < images[:, 1, 4, 7]
        assert not slices[some.axial].any()
        assert not columns[~some.axial].any()
        return (slices | columns).tolist()

    assert 10 <= sum(turned(0, 1)) <= 30
    assert turned(0, 1) != turned(0, 2)
    assert turned(0, 1) != turned(1, 1)


def test_crops_are_shown_as_they_are_at_the_places_asked_for() -> None:
    augment = Augmenter(1.0, 0, mirrors=True)
    some = marked(30, np.arange(30)[::-1].copy(), augment=augment)
    places = np.array([7, 2, 29, 11, 5])
    seen = torch.cat(plain_images(some, 2, places))
    assert seen[:, 1, 0, 0].tolist() == (29 - places).tolist()


def test_the_right_is_mirrored_in_its_own_plane() -> None:
    crops = np.zeros((4, 3, 8, 8), np.uint8)
    crops[:, :, :, :4] = 100  # bright on the image's left
    crops[:, 0] += 50  # and brighter in the slice before
    some = CropDataset(
        *(crops, np.arange(4), np.zeros(4, np.int64)),
        *(np.array([True, True, False, False]), "neighbours"),
        mirrored=np.array([True, False, True, False]),
    )
    [seen] = plain_images(some, 4, np.arange(4))
    columns = (seen[:, 1, 0, 0] < seen[:, 1, 0, 7]).tolist()
    assert columns == [True, False, False, False]
    slices = (seen[:, 0, 0, 0] < seen[:, 2, 0, 0]).tolist()
    assert slices == [False, False, True, False]


def test_validation_weighs_losses_and_counts_right_answers() -> None:
    class Told:
        def logits(self, crops: CropDataset, batch_size: int) -> torch.Tensor:
            return torch.log(torch.tensor([[0.7, 0.2, 0.1]] * len(crops)))

    classes = np.array([0, 0, 0, 2])
    some = replace(marked(4, np.arange(4)), classes=classes, weights=(1, 2, 4))
    loss, top1 = validate_crops(some, Told())
    assert loss == pytest.approx(-(3 * np.log(0.7) + 4 * np.log(0.1)) / 7, rel=1e-5)
    assert top1 == 3 / 4

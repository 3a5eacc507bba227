"""Mixed crops and labels, against the formula worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_crops import crop_set

from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTraining
from src.training.augmentation import Augmenter
from src.training.data_loading import Batch, BatchKey
from src.training.mixup import mix

GREYS = np.array([0, 40, 200], np.uint8)


def mixed(alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mix three crops of one grey each, of classes 0, 1 and 2."""
    crops = np.broadcast_to(GREYS[:, None, None, None], (3, 3, 4, 4))
    return mix(crops, np.eye(3, dtype=np.float32), alpha, seed)


def test_pixels_and_labels_are_the_same_combination_of_two_crops() -> None:
    crops, targets = mixed(alpha=1.0, seed=3)
    assert (crops.dtype, targets.dtype) == (np.uint8, np.float32)
    share = targets[0, 0]
    assert 0.01 < share < 0.99
    # Each crop with another, which no two share: crop 0 with 2, 1 with 0, 2 with 1.
    expected = [[share, 0, 1 - share], [1 - share, share, 0], [0, 1 - share, share]]
    assert targets == pytest.approx(np.array(expected))
    assert (crops == crops[:, :1, :1, :1]).all()
    assert crops[:, 0, 0, 0] == pytest.approx(targets @ GREYS, abs=0.5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    shares = np.array([mixed(alpha, seed)[1][0, 0] for seed in range(2000)])
    variance = 1 / (4 * (2 * alpha + 1))  # of Beta(alpha, alpha), whose mean is 1/2
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(variance, rel=0.08)


def dataset(**changes: object) -> CropDataset:
    return replace(crop_set(24), mixup=1.0, class_count=3, seed=5, **changes)


def batch(some: CropDataset, epoch: int | None = 1) -> Batch:
    return some[BatchKey(np.array([3, 7, 11, 2]), epoch)]


def test_a_mixed_batch_follows_from_seed_epoch_and_rows() -> None:
    some = dataset(augment=Augmenter(0.5, 5, mirrors=False))
    first, again = batch(some), batch(some)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.target, again.target)
    for other in (batch(some, 2), batch(replace(some, seed=6))):
        assert not torch.equal(first.target, other.target)
    order = some[BatchKey(np.array([7, 3, 11, 2]), 1)]
    assert first.target[0].max() != order.target[0].max()


def test_what_is_validated_is_not_mixed() -> None:
    plain = replace(dataset(), mixup=0.0)
    for seen, epoch in ((dataset(), None), (plain, 1)):
        images, target = batch(seen, epoch)[:2]
        rows = [3, 7, 11, 2]
        assert (images.numpy() == plain.crops[rows]).all()
        assert target.tolist() == plain.classes[rows].tolist()


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 4.0)])
def test_a_mixed_loss_counts_both_labels_by_share_and_class_weight(
    weights: tuple[float, ...] | None,
) -> None:
    some = replace(crop_set(6), weights=weights)
    task, logs = CropTraining(some, some, 1), np.log([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    targets = torch.tensor([[0.75, 0.0, 0.25], [0.25, 0.75, 0.0]])
    one, two, four = weights or (1.0, 1.0, 1.0)
    by_hand = -(
        one * 0.75 * logs[0, 0]
        + four * 0.25 * logs[0, 2]
        + one * 0.25 * logs[1, 0]
        + two * 0.75 * logs[1, 1]
    ) / (one * (0.75 + 0.25) + four * 0.25 + two * 0.75)
    loss = task.loss(torch.tensor(logs, dtype=torch.float32), targets).item()
    assert loss == pytest.approx(by_hand, rel=1e-5)


def test_a_batchs_weight_is_the_same_mixed_or_not() -> None:
    """So that shares of processes, and parts of a batch, add up to its mean."""
    weights = (1.0, 2.0, 4.0)
    some = dataset(weights=weights)
    rows = np.array([3, 7, 11, 2])
    told = (some[BatchKey(rows, 1)].target * torch.tensor(weights)).sum().item()
    assert told == pytest.approx(some.loss_weight(rows, 1), rel=1e-6)

"""The loss by all views and by each alone, against sums written out."""

import math

import pytest
import torch

from src.classification.crop_task import CropTraining
from src.classification.view_loss import ALONE_WEIGHT, view_loss

WEIGHTS = (1.0, 2.0, 4.0)
TARGET = torch.tensor([0, 2, 1, 2])
MISSING = [(0, 1), (2, 0), (2, 2)]  # site and view


def outputs() -> torch.Tensor:
    """Give outputs of four sites by all and by three views, zeros where missing."""
    made = torch.randn(4, 4, 3, generator=torch.Generator().manual_seed(0))
    for site, view in MISSING:
        made[site, 1 + view] = 0.0
    return made.requires_grad_()


def entropy(scores: torch.Tensor, target: int) -> float:
    powers = [math.exp(score) for score in scores.tolist()]
    return -math.log(powers[target] / sum(powers))


def by_hand(given: torch.Tensor, weights: tuple[float, ...]) -> float:
    total = 0.0
    for site, target in enumerate(TARGET.tolist()):
        views = [view for view in range(3) if (site, view) not in MISSING]
        alone = [entropy(given[site, 1 + view], target) for view in views]
        both = entropy(given[site, 0], target) + 0.3 * sum(alone) / len(alone)
        total += weights[target] * both
    return total / sum(weights[target] for target in TARGET.tolist())


def test_each_site_counts_by_its_class_and_its_views_by_their_mean() -> None:
    given = outputs()
    assert ALONE_WEIGHT == 0.3
    plain = view_loss(given, TARGET, None).item()
    assert plain == pytest.approx(by_hand(given, (1.0, 1.0, 1.0)), rel=1e-5)
    weighted = view_loss(given, TARGET, torch.tensor(WEIGHTS)).item()
    assert weighted == pytest.approx(by_hand(given, WEIGHTS), rel=1e-5)


def test_a_missing_view_gets_no_gradient_and_every_other_output_does() -> None:
    given = outputs()
    view_loss(given, TARGET, torch.tensor(WEIGHTS)).backward()
    assert given.grad is not None
    moved = given.grad.abs().sum(dim=2) > 0
    expected = torch.ones(4, 4, dtype=torch.bool)
    for site, view in MISSING:
        expected[site, 1 + view] = False
    assert torch.equal(moved, expected)


def test_mixed_labels_lie_between_their_classes() -> None:
    given, weights = outputs(), torch.tensor(WEIGHTS)
    sure = torch.eye(3)[TARGET]
    one = view_loss(given, sure, weights)
    assert one.item() == pytest.approx(view_loss(given, TARGET, weights).item())
    other = torch.eye(3)[(TARGET + 1) % 3]
    both = view_loss(given, 0.25 * sure + 0.75 * other, None)
    parts = [view_loss(given, labels, None) for labels in (sure, other)]
    assert both.item() == pytest.approx((0.25 * parts[0] + 0.75 * parts[1]).item())


def test_parts_of_a_batch_add_up_to_it_by_their_class_weights() -> None:
    given, weights = outputs(), torch.tensor(WEIGHTS)
    share = weights[TARGET[:2]].sum() / weights[TARGET].sum()
    first, second = (view_loss(given[p], TARGET[p], weights) for p in ([0, 1], [2, 3]))
    whole = view_loss(given, TARGET, weights)
    assert whole.item() == pytest.approx((share * first + (1 - share) * second).item())


def test_a_task_takes_the_outputs_of_training_and_of_evaluation() -> None:
    class Weighted:
        weights = WEIGHTS

    task = CropTraining(Weighted(), Weighted(), 4)
    given = outputs()
    assert task.loss(given, TARGET).item() == pytest.approx(by_hand(given, WEIGHTS))
    zero = torch.zeros(4, 3)
    assert task.loss(zero, TARGET).item() == pytest.approx(math.log(3))

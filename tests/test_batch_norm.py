"""Statistics measured afresh: by which norms, over what, and what stays as it was."""

import pytest
import torch
from torch import nn

from src.training.batch_norm import needs_recompute, recompute_statistics


def spread_batches() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(8, 2, 4, 4) * scale + 5 for scale in (1, 2, 3)]


def mean_of(batches: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(0)


def test_what_training_left_in_the_statistics_is_forgotten() -> None:
    model, batches = nn.BatchNorm2d(2, momentum=0.05), spread_batches()
    model(torch.randn(8, 2, 4, 4) + 100)
    recompute_statistics(model, batches)
    assert torch.allclose(model.running_mean, mean_of(batches), atol=1e-5)
    recompute_statistics(model, batches[:1])
    assert torch.allclose(model.running_mean, mean_of(batches[:1]), atol=1e-5)


def test_a_later_norm_is_measured_behind_the_batch_statistics_of_an_earlier() -> None:
    first, second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    recompute_statistics(nn.Sequential(first, second), spread_batches())
    assert torch.allclose(second.running_mean, torch.zeros(2), atol=1e-4)
    assert torch.allclose(second.running_var, torch.ones(2), atol=0.02)


def test_nothing_but_the_norms_behaves_as_in_training() -> None:
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(nn.Dropout(0.9), norm).train()
    batches = spread_batches()
    recompute_statistics(model, batches)
    assert torch.allclose(norm.running_mean, mean_of(batches), atol=1e-5)
    assert not any(module.training for module in model.modules())


def test_every_norm_gets_its_own_momentum_back() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2, 1e-5, 0.3), nn.BatchNorm2d(2, 1e-5, 0.02))
    recompute_statistics(model, spread_batches())
    assert [norm.momentum for norm in model] == [0.3, 0.02]


@pytest.mark.parametrize(
    ("momenta", "needed"),
    [
        ((0.1, 3e-4), True),
        ((3e-4, 0.1), True),
        ((0.1, 0.1), False),
        ((0.01, 0.1), False),
        ((None, 0.1), False),
    ],
)
def test_one_slow_norm_is_enough(momenta: tuple, needed: bool) -> None:
    model = nn.Sequential(*(nn.BatchNorm1d(2, 1e-5, one) for one in momenta))
    assert needs_recompute(model, "auto") is needed
    assert needs_recompute(model, "recompute")
    assert not needs_recompute(model, "running")

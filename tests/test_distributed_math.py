"""What several processes make of their shares, played by two threads of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_training import CPU, Scripted, same, tiny_model, tiny_trainer, weights_of
from torch import nn
from toy_crops import QUIET, crop_set, fit, train_epoch
from two_threads import two_processes

from src.classification.crop_dataset import CropDataset
from src.errors import UserError
from src.training import distributed
from src.training.data_loading import Batch, BatchKey, EpochSampler
from src.training.predictor import normalize
from src.training.trainer import Trainer

# 23 crops in sixes: a last batch of five, of which one process has three, one two.
SETTINGS = replace(QUIET, batch_size=6, epochs=3, lr=0.01, optimizer="sgd")
# Made once: threads that seed torch at the same time get in each other's way.
PLAIN, NORMED = tiny_model(norm=False), tiny_model(norm=True)


def train_set(weights: tuple | None = None) -> CropDataset:
    return replace(crop_set(23), weights=weights)


def fitted(
    weights: tuple | None = None,
    norm: bool = False,
    bn_stats: str = "recompute",
    accumulate: int = 1,
) -> Trainer:
    choice = bn_stats if norm else "running"
    hyperparameters = replace(SETTINGS, bn_stats=choice, accumulate=accumulate)
    one = tiny_trainer(hyperparameters, deepcopy(NORMED if norm else PLAIN))
    fit(one, train_set(weights), replace(crop_set(7), weights=weights))
    return one


@pytest.mark.parametrize("size", [6, 12])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 4.0)])
def test_two_processes_learn_what_one_learns(
    weights: tuple | None, accumulate: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, batch_size=size))
    alone = fitted(weights)
    with two_processes() as group:
        both = group.run(lambda: fitted(weights, accumulate=accumulate))
    for one in both:
        for name, value in alone.model.state_dict().items():
            assert torch.allclose(one.model.state_dict()[name], value, atol=1e-5), name
        for epoch, expected in zip(one.epochs, alone.epochs, strict=True):
            told, due = epoch.to_dict(), expected.to_dict()
            asked = {"validation_loss", "validation_top1", "lr", "best"}
            asked |= {"train_loss"} if weights is None else set()
            for name in asked:
                assert told[name] == pytest.approx(due[name], abs=1e-4), name


def test_two_processes_hold_the_same_statistics_of_all_their_crops() -> None:
    hyperparameters = replace(SETTINGS, batch_size=12, epochs=1, bn_stats="recompute")
    crops = crop_set(24)
    crops.crops[12:] //= 2  # so that no two shares are alike
    with two_processes() as group:

        def judged() -> dict[str, torch.Tensor]:
            validation = Scripted([1.0])
            fit(tiny_trainer(hyperparameters, deepcopy(NORMED)), crops, validation)
            return validation.judged[1]

        first, second = group.run(judged)
    images = normalize(torch.from_numpy(crops.crops))
    mean = images.mean(dim=(0, 2, 3))
    for each in (first, second):
        assert torch.allclose(each["0.running_mean"], mean, atol=1e-4)
    assert torch.equal(first["0.running_var"], second["0.running_var"])


@pytest.mark.parametrize("choice", ["recompute", "running"])
def test_a_networks_every_norm_is_averaged_over_the_processes(choice: str) -> None:
    with two_processes() as group:
        both = group.run(lambda: fitted(norm=True, bn_stats=choice))
    first, second = (weights_of(one.model) for one in both)
    assert same(first, second)
    assert same(both[0].best, both[1].best)


def statistics(mean: float, variance: float) -> nn.Module:
    """Make a model of two norms with given statistics, the second's ten times as much.

    Its count of batches, its weights and other buffers are nobody's mean.
    """
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer("places", torch.tensor([mean]))
    for norm, factor in ((model[0], 1), (model[2], 10)):
        norm.running_mean.fill_(mean * factor)
        norm.running_var.fill_(variance * factor)
        nn.init.constant_(norm.weight, mean)
    return model


def test_means_and_variances_are_averaged_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = distributed.average_statistics
    with two_processes() as group:
        torch_group = "torch.distributed."
        monkeypatch.setattr(torch_group + "is_initialized", lambda: True)
        monkeypatch.setattr(
            torch_group + "all_reduce", lambda values, op: group.all_reduce_sum(values)
        )

        def averaged() -> nn.Module:
            own = distributed.rank()
            model = statistics(mean=(1.0, 4.0)[own], variance=(2.0, 6.0)[own])
            real(model)
            return model

        models = group.run(averaged)
    for own, model in enumerate(models):
        for norm, factor in ((model[0], 1), (model[2], 10)):
            assert norm.running_mean.tolist() == [2.5 * factor] * 2
            assert norm.running_var.tolist() == [4.0 * factor] * 2
            assert norm.weight.tolist() == [(1.0, 4.0)[own]] * 2
        assert model.places.item() == (1.0, 4.0)[own]


def test_logits_of_two_processes_are_ones_in_the_same_order() -> None:
    crops = crop_set(7)

    def logits() -> torch.Tensor:
        return tiny_trainer(SETTINGS, deepcopy(NORMED)).logits(crops, 6)

    alone = logits()
    with two_processes() as group:
        both = group.run(logits)
    for together in both:
        assert torch.allclose(together, alone, atol=1e-5)


def test_each_process_looks_at_its_own_share_of_what_is_judged() -> None:
    crops, shares = crop_set(7), {}
    plain = CropDataset.__getitem__

    def spied(some: CropDataset, key: BatchKey) -> Batch:
        shares.setdefault(distributed.rank(), []).extend(key.rows.tolist())
        return plain(some, key)

    with two_processes() as group, pytest.MonkeyPatch.context() as patch:
        patch.setattr(CropDataset, "__getitem__", spied)
        group.run(lambda: tiny_trainer(SETTINGS, deepcopy(NORMED)).logits(crops, 6))
    assert sorted(shares[0] + shares[1]) == list(range(7))
    assert abs(len(shares[0]) - len(shares[1])) == 1


@pytest.fixture
def alone_in_a_group() -> Iterator[None]:
    """Join a real process group of one."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone_in_a_group")
def test_in_a_group_a_model_trains_in_its_wrapping_and_is_kept_without() -> None:
    one = tiny_trainer(SETTINGS)
    with distributed.wrap_ddp(one.model, CPU) as shared:
        assert isinstance(shared, nn.parallel.DistributedDataParallel)
        assert shared.module is one.model
    train_epoch(one, train_set(), 1)
    assert weights_of(one.model).keys() == weights_of(tiny_model()).keys()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)


@pytest.mark.usefixtures("alone_in_a_group")
def test_the_parts_of_a_batch_share_their_gradient_with_the_last() -> None:
    synced = []

    one = tiny_trainer(replace(SETTINGS, batch_size=12, accumulate=3))
    with pytest.MonkeyPatch.context() as patch:
        real = nn.parallel.DistributedDataParallel.forward

        def spied(model: nn.Module, *given: object) -> torch.Tensor:
            synced.append(model.require_backward_grad_sync)
            return real(model, *given)

        patch.setattr(nn.parallel.DistributedDataParallel, "forward", spied)
        train_epoch(one, train_set(), 1)  # batches of 12 and 11
    assert synced == [False, False, True] * 2


def test_without_a_group_a_model_stays_as_it_is() -> None:
    model = tiny_model()
    with distributed.wrap_ddp(model, CPU) as shared:
        assert shared is model
    assert distributed.sync_batch_norms(model, torch.device("cuda", 0)) is model
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.all_reduce_sum(torch.ones(2)).tolist() == [1, 1]


def test_training_goes_through_the_model_that_shares_its_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, passed = tiny_trainer(SETTINGS), []

    @contextmanager
    def wrapped(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
        assert model is one.model
        wrapper = nn.Sequential(model)
        wrapper.register_forward_hook(lambda *_: passed.append(model.training))
        yield wrapper

    monkeypatch.setattr(distributed, "wrap_ddp", wrapped)
    train_epoch(one, train_set(), 1)
    assert passed == [True] * 4


@pytest.mark.parametrize(
    ("device", "ids"), [(torch.device("cuda", 1), [1]), (CPU, None)]
)
def test_gradients_and_norms_are_shared_as_the_device_can(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, ids: list[int] | None
) -> None:
    given = []

    def wrap(model: nn.Module, device_ids: list[int] | None) -> SimpleNamespace:
        given.append((model, device_ids))
        return SimpleNamespace()

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "DistributedDataParallel", wrap)
    model = distributed.sync_batch_norms(tiny_model(), device)
    assert isinstance(model[0], nn.SyncBatchNorm) is (device.type == "cuda")
    with distributed.wrap_ddp(model, device):
        assert given == [(model, ids)]


@pytest.mark.parametrize(("gpus", "backend"), [(True, "nccl"), (False, "gloo")])
def test_torchruns_processes_join_each_on_its_hosts_gpu(
    monkeypatch: pytest.MonkeyPatch, gpus: bool, backend: str
) -> None:
    done: list[Callable | object] = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus)
    monkeypatch.setattr("torch.cuda.set_device", lambda i: done.append(("gpu", i)))
    group = "torch.distributed."
    monkeypatch.setattr(group + "init_process_group", lambda name: done.append(name))
    monkeypatch.setattr(group + "destroy_process_group", lambda: done.append("left"))
    with pytest.raises(ValueError, match="stop"), distributed.process_group():
        raise ValueError("stop")
    assert done == [*([("gpu", 1)] if gpus else []), backend, "left"]


def test_without_torchrun_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.process_group():
        assert not torch.distributed.is_initialized()


def test_more_processes_than_crops_share_the_predicting() -> None:
    one = tiny_trainer(SETTINGS, deepcopy(NORMED))
    expected = one.logits(crop_set(1), 4)
    with two_processes() as group:
        both = group.run(lambda: one.logits(crop_set(1), 4))
    assert all(torch.equal(logits, expected) for logits in both)


@pytest.mark.parametrize(("count", "size"), [(23, 6), (25, 8), (49, 4), (5, 12)])
def test_every_process_recomputes_statistics_over_as_many_batches(
    count: int, size: int
) -> None:
    """Else the processes would wait for each other's statistics for ever."""
    with two_processes() as group:
        counted = group.run(
            lambda: len(list(EpochSampler(crop_set(count), size, seed=0)))
        )
        shares = group.run(
            lambda: [len(k.rows) for k in EpochSampler(crop_set(count), size, seed=0)]
        )
    assert counted[0] == counted[1] > 0
    assert min(map(min, shares)) >= 2


def test_a_batch_too_small_for_all_processes_is_told() -> None:
    def refused() -> str:
        with pytest.raises(UserError) as raised:
            tiny_trainer(replace(SETTINGS, batch_size=3), deepcopy(NORMED)).start(
                SimpleNamespace(train=crop_set(23))
            )
        return str(raised.value)

    with two_processes() as group:
        first, second = group.run(refused)
    assert first == second
    assert "--batch-size 3 is too small over 2 processes (--nproc-per-node)" in first

"""The training loop: it learns, stops, keeps its best, and goes on after a kill."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dataset_batches import plain_images, validate_crops
from tiny_training import CPU, Scripted, same, tiny_model, tiny_trainer, weights_of
from torch import nn
from toy_crops import QUIET, ToyTask, crop_set, fit, train_epoch, trainer

from src.classification.crop_dataset import CropDataset
from src.errors import UserError
from src.models.backbones import build
from src.training.batch_norm import needs_recompute, recompute_statistics
from src.training.checkpoint import load_checkpoint, save_checkpoint
from src.training.config import EpochMetrics, Hyperparameters
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.device import choose_precision
from src.training.optimizers import OPTIMIZERS, lr_factor, make_optimizer
from src.training.predictor import normalize
from src.training.trainer import DivergedError, Trainer, Validation, _copied


@dataclass(frozen=True)
class Given:
    """A batch of a hand-made epoch: its loss is value + force * its mean output."""

    count: int
    value: float
    force: float = 0.0
    weight: float = 1.0

    def to(self, device: torch.device, non_blocking: bool) -> "Given":
        """Stay, on any device."""
        return self


class Lever(nn.Module):
    """Two weights, at first 0, that push an output by 3 and by 4 times themselves."""

    def __init__(self) -> None:
        """Begin at rest."""
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        self.modes: list[bool] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the same output for each image."""
        self.modes.append(self.training)
        return (3 * self.first + 4 * self.second).expand(len(images))

    def moved(self) -> list[float]:
        """Return where the two weights are."""
        return [self.first.item(), self.second.item()]


class ByHand:
    """A dataset whose batches are given; it keeps what it is asked for."""

    fixed_shape = True

    def __init__(self, *batches: Given) -> None:
        """Take an epoch's batches."""
        self.given = batches
        self.epochs: list[int | None] = []
        self.split: list[tuple[list[int], int]] = []

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.given)

    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Return the batches in the order given, two rows each."""
        self.split.append((order.tolist(), size))
        return [np.array([number, number]) for number in range(len(self))]

    def loss_weight(self, rows: np.ndarray, epoch: int) -> float:
        """Count the rows."""
        return len(rows)

    def __getitem__(self, key: BatchKey) -> Batch:
        """Return black images, the batch itself, and its weight."""
        self.epochs.append(key.epoch)
        batch = self.given[key.rows[0]]
        images = torch.zeros(batch.count, 3, 4, 4, dtype=torch.uint8)
        return Batch(images, batch, batch.weight)

    def loss(self, outputs: torch.Tensor, target: Given) -> torch.Tensor:
        """Return the given loss."""
        return target.value + target.force * outputs.float().mean()


def descent(**changes: object) -> Hyperparameters:
    """Plain steps of length 1 times the gradient; the second has momentum."""
    return replace(QUIET, optimizer="sgd", lr=1.0, weight_decay=0.0, **changes)


@pytest.mark.parametrize(
    ("force", "weight", "step"),
    [
        (0.5, 1.0, (1.5, 2.0)),
        (0.5, 0.5, (0.75, 1.0)),
        (2.0, 1.0, (3.0, 4.0)),  # a gradient of (6, 8), cut to a length of 5
        (2.0, 0.25, (1.5, 2.0)),  # weighed before it is cut
    ],
)
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_a_step_goes_along_the_weighted_gradient_up_to_a_length_of_5(
    force: float, weight: float, step: tuple, precision: torch.dtype
) -> None:
    one = Trainer(Lever(), descent(), CPU, precision=precision)
    train_epoch(one, ByHand(Given(4, 1.0, force, weight)), 1)
    assert one.model.moved() == pytest.approx([-step[0], -step[1]], rel=1e-3)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 4.0)])
@pytest.mark.parametrize("count", [24, 23])
def test_the_parts_of_a_batch_take_the_step_of_the_whole(
    count: int, weights: tuple[float, ...] | None
) -> None:
    crops, shown, models = replace(crop_set(count), weights=weights), [], []
    for accumulate in (1, 4):
        own = replace(QUIET, accumulate=accumulate, augment=0.5, schedule="cosine")
        one = tiny_trainer(own, tiny_model(norm=False))
        one.model.register_forward_hook(
            lambda model, given, _: model.training and shown.append(len(given[0]))
        )
        fit(one, crops, Scripted([1.0] * 3))
        models.append(weights_of(one.model))
        assert one.epochs[-1].lr == pytest.approx(own.lr * lr_factor("cosine", 6, 5))
    for name, value in models[0].items():
        assert torch.allclose(models[1][name], value, atol=1e-6), name
    assert set(shown[:6]) == {12, count - 12}
    assert max(shown[6:]) == 3
    assert sum(shown[:6]) == sum(shown[6:])


def test_an_epochs_rate_is_of_its_training_pass_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter([0.0, 10.0, 14.0, 30.0])  # epoch, its pass, the pass' end, its end
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr("src.training.trainer.time", clock)
    one = tiny_trainer(descent(epochs=1), Lever())
    fit(one, ByHand(*[Given(4, 1.0)] * 9), Scripted([1.0]))
    [epoch] = one.epochs
    assert (epoch.images_per_second, epoch.seconds) == (9.0, 30.0)


def test_a_bar_is_shown_for_each_epoch_and_told_of_each_batch() -> None:
    told: list[Any] = []

    @contextmanager
    def bar(epoch: int) -> Iterator[Any]:
        told.append(f"begin {epoch}")
        yield lambda *given: told.append(given)
        told.append("end")

    one = tiny_trainer(descent(epochs=2), Lever())
    task = ToyTask(
        ByHand(Given(4, 1.0), Given(2, 1.0)), Scripted([2, 1]), one.hyperparameters
    )
    one.fit(task, epoch_bar=bar)
    steps = [(1, 2, 4), (2, 2, 6), "end"]
    assert told == ["begin 1", *steps, "begin 2", *steps]


def test_the_best_weights_are_copied_on_their_own_device() -> None:
    model = tiny_model().to("meta")  # which no tensor can be fetched from
    copied = _copied(model)
    assert {value.device.type for value in copied.values()} == {"meta"}


@pytest.mark.parametrize("asked", [False, True])
def test_norms_are_shared_by_all_processes_only_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    shared = []

    def share(model: nn.Module, device: torch.device) -> nn.Module:
        shared.append(model)
        return model

    monkeypatch.setattr("src.training.distributed.sync_batch_norms", share)
    model = Lever()
    tiny_trainer(replace(QUIET, sync_bn=asked), model)
    assert shared == ([model] if asked else [])


def test_each_step_has_the_gradient_of_its_own_batch_alone() -> None:
    one = tiny_trainer(descent(), Lever())
    train_epoch(one, ByHand(Given(4, 1.0, 0.5), Given(4, 1.0, 0.1)), 1)
    # Momentum: the second step is .9 of the first and its own gradient.
    assert one.model.moved() == pytest.approx([-(1.5 + 1.35 + 0.3), -(2 + 1.8 + 0.4)])


def test_the_train_loss_is_a_mean_over_crops_not_over_batches() -> None:
    one = tiny_trainer(descent(), Lever())
    examples = ByHand(Given(4, 1.0), Given(4, 2.0), Given(2, 6.0))
    assert train_epoch(one, examples, 1) == pytest.approx((4 + 8 + 12) / 10)


def test_training_takes_the_batches_of_its_epoch_seed_and_size() -> None:
    examples = ByHand(*[Given(4, 1.0)] * 9)
    hyperparameters = descent(seed=7, epochs=2, patience=0, batch_size=5)
    fit(tiny_trainer(hyperparameters, Lever()), examples, Scripted([1.0, 1.0]))
    assert examples.epochs == [1] * 9 + [2] * 9
    assert {size for _, size in examples.split} == {5}
    in_order = list(range(9))
    orders = [order for order, _ in examples.split if order != in_order]
    assert orders == [
        np.random.default_rng([7, epoch]).permutation(9).tolist() for epoch in (1, 2)
    ]


def test_every_epoch_trains_in_training_mode() -> None:
    one = tiny_trainer(descent(epochs=2, patience=0), Lever())

    class Looking(Scripted):
        def validate(self, trainer: Trainer) -> Validation:
            trainer.outputs(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
            return super().validate(trainer)

    fit(one, ByHand(Given(4, 1.0)), Looking([2.0, 1.0]))
    assert one.model.modes == [True, False, True, False]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_trainer_has_the_optimiser_of_its_settings(name: str) -> None:
    hyperparameters = replace(QUIET, optimizer=name, lr=0.25, weight_decay=0.125)
    optimizer = tiny_trainer(hyperparameters, Lever()).optimizer
    assert type(optimizer).__name__.lower() == name
    [group] = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)
    assert sum(weight.numel() for weight in group["params"]) == 2


@pytest.mark.parametrize("begun", [0, 2])
def test_each_step_has_the_rate_of_its_place_in_the_whole_course(begun: int) -> None:
    hyperparameters = replace(QUIET, lr=0.5, epochs=4, patience=0, schedule="cosine")
    examples = ByHand(*[Given(4, 1.0)] * 10)
    one, rates = tiny_trainer(hyperparameters, Lever()), []
    one.epochs = [
        EpochMetrics(n + 1, 1.0, 1.0, 0.0, 0.0, 0.0, True) for n in range(begun)
    ]
    one.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    fit(one, examples, Scripted([1.0] * 4))
    fall = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 38)) / 2 for k in range(38)]
    course = [0.5 * factor for factor in (0.5, 1.0, *fall)]  # 2 of 40 to warm up
    assert rates == pytest.approx(course[10 * begun :])
    assert [epoch.lr for epoch in one.epochs[begun:]] == rates[9::10]


def test_a_constant_schedule_keeps_the_rate() -> None:
    examples = ByHand(*[Given(4, 1.0)] * 10)
    one, rates = tiny_trainer(descent(epochs=4, patience=0), Lever()), []
    one.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    fit(one, examples, Scripted([1.0] * 4))
    assert rates == [1.0] * 40


def test_an_epoch_tells_each_figure_under_its_name() -> None:
    one = tiny_trainer(descent(epochs=3, patience=0), Lever())
    fit(one, ByHand(Given(4, 5.0)), Scripted([3.0, 2.0, 2.0]))
    told = [(e.epoch, e.train_loss, e.validation_loss, e.best) for e in one.epochs]
    assert told == [(1, 5.0, 3.0, True), (2, 5.0, 2.0, True), (3, 5.0, 2.0, False)]
    assert [epoch.validation_top1 for epoch in one.epochs] == [0.01, 0.02, 0.03]


@pytest.mark.parametrize(
    ("losses", "patience", "trained"),
    [
        ((1, 2, 3, 0, 0), 2, 3),
        ((1, 2, 0.5, 2, 0.9, 0.1), 2, 5),  # counted from the last best
        ((3, 2, 2, 2, 1), 2, 4),  # as good is not better
        ((5, 1, 4, 3, 2, 0), 4, 6),  # better than the one before is not the best
        ((1, 2, 2, 2, 2), 0, 5),
    ],
)
@pytest.mark.parametrize("killed", [0, 2])
def test_patience_counts_the_epochs_since_the_best(
    losses: tuple, patience: int, trained: int, killed: int, tmp_path: Path
) -> None:
    hyperparameters = descent(epochs=len(losses), patience=patience)
    one = fitted(hyperparameters, Lever, Scripted(losses), killed, tmp_path)
    assert len(one.epochs) == trained


class Killed(Exception):  # noqa: N818  (not an error of anybody's)
    """A training's sudden end."""


def fitted(
    hyperparameters: Hyperparameters,
    model: Callable[[], nn.Module],
    validation: Scripted,
    killed: int,
    folder: Path,
    train: BatchDataset | None = None,
) -> Trainer:
    """Train, and again from the checkpoint where killed after so many epochs."""
    train = train or ByHand(Given(4, 1.0, 0.01))
    one, path = tiny_trainer(hyperparameters, model()), folder / "state.safetensors"

    def kill(epoch: EpochMetrics) -> None:
        if epoch.epoch == killed:
            save_checkpoint(one.checkpoint({}), path)
            raise Killed

    try:
        fit(one, train, validation, kill)
    except Killed:
        torch.manual_seed(999)  # whatever happened in between
        one = tiny_trainer(hyperparameters, model())
        one.restore(load_checkpoint(path, {}))
        fit(one, train, validation)
    return one


LOSSES = (3.0, 1.0, 2.0, 4.0, 5.0)


@pytest.mark.parametrize("killed", [0, 1, 2, 3])
@pytest.mark.parametrize("patience", [0, 3])
def test_a_training_ends_with_its_best_weights_wherever_it_was_killed(
    killed: int, patience: int, tmp_path: Path
) -> None:
    hyperparameters = replace(QUIET, epochs=5, patience=patience)
    validation = Scripted(LOSSES)
    model = partial(tiny_model, dropout=0.5)
    crops = crop_set(24)
    one = fitted(hyperparameters, model, validation, killed, tmp_path, crops)
    whole = fitted(hyperparameters, model, Scripted(LOSSES), 0, tmp_path, crops)
    assert same(weights_of(one.model), validation.judged[2 if patience else 5])
    assert same(weights_of(one.model), weights_of(whole.model))
    assert not same(validation.judged[2], validation.judged[5])
    assert figures(one) == figures(whole)


def test_the_best_weights_are_kept_before_an_epoch_is_told_of() -> None:
    one = tiny_trainer(replace(QUIET, epochs=3))
    kept = []

    def told(epoch: EpochMetrics) -> None:
        assert one.epochs[-1] is epoch
        kept.append(same(one.best, weights_of(one.model)))

    fit(one, crop_set(24), Scripted([2.0, 1.0, 3.0]), told)
    assert kept == [True, True, False]


class Dropped(nn.Module):
    """Drops out of 99 ones and a weight, and keeps what was dropped."""

    def __init__(self) -> None:
        """Begin with nothing dropped."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.dropped: list[list[bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is left of each image's hundred."""
        left = nn.functional.dropout(torch.ones(len(images), 99), 0.5, self.training)
        self.dropped.append((left == 0).ravel().tolist())
        return left.sum(dim=1) + self.weight


def dropped(seed: int, epoch: int) -> list[list[bool]]:
    """Train an epoch of two batches; return what was dropped of each."""
    one = tiny_trainer(replace(QUIET, seed=seed), Dropped())
    train_epoch(one, ByHand(Given(4, 1.0), Given(4, 1.0)), epoch)
    return one.model.dropped


def test_drop_out_follows_from_seed_epoch_and_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = dropped(0, 1)
    torch.rand(3)
    assert dropped(0, 1) == first
    assert first[0] != first[1]
    assert dropped(0, 2) != first
    assert dropped(1, 1) != first
    monkeypatch.setattr("src.training.distributed.rank", lambda: 1)
    assert dropped(0, 1) != first


def test_the_statistics_judged_by_are_of_training_crops_as_they_are() -> None:
    train = crop_set(24)
    dark = replace(train, crops=train.crops // 4)
    hyperparameters = replace(QUIET, epochs=2, augment=0.5, bn_stats="recompute")
    mean = normalize(torch.from_numpy(train.crops)).mean(dim=(0, 2, 3))
    one, validation = tiny_trainer(hyperparameters), Scripted([2.0, 1.0])
    fit(one, train, validation)
    for judged in validation.judged.values():
        assert torch.allclose(judged["0.running_mean"], mean, atol=1e-4)
    assert torch.allclose(one.model[0].running_mean, mean, atol=1e-4)
    assert one.model[0].momentum == 0.1
    kept = tiny_trainer(replace(hyperparameters, bn_stats="running"))
    fit(kept, train, dark)
    assert not torch.allclose(kept.model[0].running_mean, mean, atol=1e-2)


def test_statistics_are_measured_on_twelve_batches_drawn_anew_each_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, looked = crop_set(60), []
    plain = CropDataset.__getitem__

    def spied(crops: CropDataset, key: BatchKey) -> Batch:
        if key.epoch is None:
            looked.append(key.rows.tolist())
        return plain(crops, key)

    monkeypatch.setattr(CropDataset, "__getitem__", spied)
    hyperparameters = replace(QUIET, epochs=2, batch_size=2, bn_stats="recompute")
    fit(tiny_trainer(hyperparameters), train, Scripted([2.0, 1.0]))
    assert [len(rows) for rows in looked] == [2] * 24
    halves = looked[:12], looked[12:]
    first, second = ({row for rows in half for row in rows} for half in halves)
    assert len(first) == len(second) == 24
    assert first != second


def test_logits_are_in_the_order_of_the_crops() -> None:
    crops = crop_set(10)
    one = tiny_trainer(replace(QUIET, batch_size=4))
    images = normalize(torch.from_numpy(crops.crops))
    with torch.inference_mode():
        by_hand = one.model.eval()(images)
    assert torch.allclose(one.logits(crops, 4), by_hand, atol=1e-5)


def test_a_gradient_scale_is_gone_on_with(tmp_path: Path) -> None:
    ones = [Trainer(Lever(), descent(), CPU, precision=torch.float16) for _ in range(2)]
    train_epoch(ones[0], ByHand(Given(4, 1.0, 0.01)), 1)
    ones[0].scaler.update(new_scale=32.0)
    save_checkpoint(ones[0].checkpoint({}), tmp_path / "state.safetensors")
    ones[1].restore(load_checkpoint(tmp_path / "state.safetensors", {}))
    assert ones[1].scaler.get_scale() == 32.0


def test_a_training_learns_and_ends_with_its_best_weights() -> None:
    crops = crop_set(48)
    one = trainer(replace(QUIET, epochs=6))
    fit(one, crops, crops)
    best = min(one.epochs, key=lambda epoch: epoch.validation_loss)
    assert best.validation_top1 == 1.0
    assert best.best
    classes = torch.from_numpy(crops.classes)
    loss = nn.functional.cross_entropy(one.logits(crops, 4), classes).item()
    assert loss == pytest.approx(best.validation_loss, rel=1e-4)


def test_a_training_stops_when_validation_stops_improving() -> None:
    train = crop_set(24)
    wrong = replace(train, classes=(train.classes + 1) % 3)
    one = trainer(replace(QUIET, epochs=30, patience=2))
    fit(one, train, wrong)
    assert len(one.epochs) < 30
    assert [epoch.best for epoch in one.epochs[-3:]] == [True, False, False]


def test_without_patience_all_epochs_are_trained_and_the_last_weights_kept() -> None:
    train = crop_set(24)
    wrong = replace(train, classes=(train.classes + 1) % 3)
    one = trainer(replace(QUIET, epochs=6, patience=0))
    fit(one, train, wrong)
    assert len(one.epochs) == 6
    assert not one.epochs[-1].best
    loss, _ = validate_crops(wrong, one)
    assert loss == pytest.approx(one.epochs[-1].validation_loss, rel=1e-4)


def figures(one: Trainer) -> list[tuple]:
    """Return the history without its times."""
    return [
        (e.epoch, e.train_loss, e.validation_loss, e.validation_top1, e.lr, e.best)
        for e in one.epochs
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_killed_training_goes_on_as_if_it_had_not_been(
    optimizer: str, tmp_path: Path
) -> None:
    crops = crop_set(24)
    hyperparameters = replace(
        QUIET, optimizer=optimizer, augment=0.5, schedule="cosine", epochs=4, lr=1e-3
    )
    whole = trainer(hyperparameters)
    fit(whole, crops, crops)

    class Killed(Exception):  # noqa: N818  (not an error of anybody's)
        pass

    half = trainer(hyperparameters)

    def kill(epoch: object) -> None:
        save_checkpoint(half.checkpoint({"a": 1}), tmp_path / "state.safetensors")
        if len(half.epochs) == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(half, crops, crops, kill)
    torch.manual_seed(999)  # whatever happened in between
    resumed = trainer(replace(hyperparameters))
    resumed.restore(load_checkpoint(tmp_path / "state.safetensors", {"a": 1}))
    fit(resumed, crops, crops)
    assert figures(resumed) == figures(whole)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    one = trainer(replace(QUIET, epochs=1))
    fit(one, crop_set(12), crop_set(12))
    save_checkpoint(one.checkpoint({"lr": 1}), tmp_path / "state.safetensors")
    assert load_checkpoint(tmp_path / "state.safetensors", {"lr": 1}) is not None
    assert load_checkpoint(tmp_path / "state.safetensors", {"lr": 2}) is None
    assert load_checkpoint(tmp_path / "absent.safetensors", {"lr": 1}) is None


def test_reestimated_statistics_are_the_mean_over_the_batches() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2, momentum=3e-4))
    batches = [torch.randn(8, 2, 4, 4) * 3 + 5 for _ in range(4)]
    recompute_statistics(model, batches)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(0)
    spread = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(model[0].running_mean, means, atol=1e-5)
    assert torch.allclose(model[0].running_var, spread, atol=1e-4)
    assert model[0].momentum == 3e-4


def test_only_slow_statistics_are_reestimated_unless_asked() -> None:
    slow, fast = build("mnasnet0_5", 3), build("resnet10t", 3)
    assert needs_recompute(slow, "auto")
    assert not needs_recompute(fast, "auto")
    assert needs_recompute(fast, "recompute")
    assert not needs_recompute(slow, "running")
    assert not needs_recompute(build("vgg11", 3), "recompute")


def test_mnasnet_without_reestimation_judges_another_network() -> None:
    crops = crop_set(48)
    top1 = {}
    for choice in ("running", "recompute"):
        hyperparameters = replace(
            QUIET, epochs=12, lr=3e-3, patience=12, bn_stats=choice
        )
        one = trainer(hyperparameters, "mnasnet0_5")
        fit(one, crops, crops)
        top1[choice] = one.epochs[-1].validation_top1
    assert top1["running"] < 0.7 < top1["recompute"]


def test_bfloat16_learns_what_float32_learns() -> None:
    crops = crop_set(48)
    for precision in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = build("resnet10t", 3)
        one = Trainer(
            model, replace(QUIET, epochs=5), torch.device("cpu"), precision=precision
        )
        fit(one, crops, crops)
        assert one.epochs[-1].validation_top1 == 1.0
        assert one.logits(crops, 4).dtype is torch.float32


def test_crops_are_scaled_for_a_backbone_that_wants_them_larger() -> None:
    one = trainer(replace(QUIET, input_px=64))
    [batch] = plain_images(crop_set(4), 4, np.arange(4))
    assert one._images(batch).shape == (4, 3, 64, 64)


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    factors = [lr_factor("cosine", 100, step) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[52] == pytest.approx(0.505, abs=0.02)
    assert factors[-1] == pytest.approx(0.01, abs=0.001)
    assert lr_factor("constant", 100, 70) == 1


def test_sgd_has_momentum() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer("sgd", [parameter], lr=1.0, weight_decay=0.0)
    for _ in range(2):
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() == pytest.approx(-(1 + 1.9))  # 1, then 1 + .9 * 1


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_step_is_the_plain_one(name: str) -> None:
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    plain = kinds.get(name, partial(torch.optim.SGD, momentum=0.9))
    weights = []
    for fused in (True, False):
        torch.manual_seed(0)
        weight = torch.randn(8, 3, 3, 3).to(memory_format=torch.channels_last)
        parameter = nn.Parameter(weight)
        given = {"lr": 0.1, "weight_decay": 0.01}
        if fused:
            optimizer = make_optimizer(name, [parameter], **given)
        else:
            optimizer = plain([parameter], **given, foreach=False)
        for _ in range(3):
            parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        weights.append(parameter.detach())
    torch.testing.assert_close(*weights)


def test_grouped_convolutions_keep_float32_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("src.training.device._cpu_has_bfloat16", lambda: True)
    cpu = torch.device("cpu")
    assert choose_precision(cpu, build("mnasnet0_5", 3)) is torch.float32
    assert choose_precision(cpu, build("resnet10t", 3)) is torch.bfloat16


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_validation_without_a_finite_loss_ends_the_training(
    loss: float, epoch: int
) -> None:
    losses = [*[3.0, 2.0][: epoch - 1], loss, 1.0]
    one = tiny_trainer(replace(QUIET, epochs=4, patience=0, lr=0.25))
    with pytest.raises(DivergedError, match=f"validation loss in epoch {epoch} is"):
        fit(one, crop_set(), Scripted(losses))
    assert len(one.epochs) == epoch - 1


def test_a_training_that_diverges_says_what_to_change() -> None:
    one = tiny_trainer(replace(QUIET, optimizer="sgd", lr=1e38))
    with pytest.raises(
        DivergedError, match=r"train loss in epoch .*--lr \(here 1e\+38"
    ):
        fit(one, crop_set(), Scripted([1.0] * 3))


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [(24, 1, "--batch-size 1 is too small: give at least 2"), (1, 12, "1 training ex")],
)
def test_what_fills_no_batch_is_told_before_training(
    count: int, size: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        fit(
            tiny_trainer(replace(QUIET, batch_size=size)), crop_set(count), Scripted([])
        )

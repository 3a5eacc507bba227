"""The training loop: it learns, stops, keeps its best, and goes on after a kill."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from learning_crops import QUIET, crop_set, trainer
from torch import nn

from src.learning.backbones import build
from src.learning.batch_norm import needs_reestimate, reestimate
from src.learning.checkpoint import load, save
from src.learning.device import choose_precision
from src.learning.engine import Trainer
from src.learning.optimizers import OPTIMIZERS, make_optimizer, rate_factor


def test_a_training_learns_and_ends_with_its_best_weights() -> None:
    crops = crop_set(48)
    one = trainer(replace(QUIET, epochs=6))
    one.fit(crops, crops)
    best = min(one.epochs, key=lambda epoch: epoch.validation_loss)
    assert best.validation_top1 == 1.0
    assert best.best
    classes = torch.from_numpy(crops.classes)
    loss = nn.functional.cross_entropy(one.logits(crops), classes).item()
    assert loss == pytest.approx(best.validation_loss, rel=1e-4)


def test_a_training_stops_when_validation_stops_improving() -> None:
    train = crop_set(24)
    wrong = replace(train, classes=(train.classes + 1) % 3)
    one = trainer(replace(QUIET, epochs=30, patience=2))
    one.fit(train, wrong)
    assert len(one.epochs) < 30
    assert [epoch.best for epoch in one.epochs[-3:]] == [True, False, False]


def test_without_patience_all_epochs_are_trained_and_the_last_weights_kept() -> None:
    train = crop_set(24)
    wrong = replace(train, classes=(train.classes + 1) % 3)
    one = trainer(replace(QUIET, epochs=6, patience=0))
    one.fit(train, wrong)
    assert len(one.epochs) == 6
    assert not one.epochs[-1].best
    loss, _ = wrong.judge(one)
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
    settings = replace(
        QUIET, optimizer=optimizer, augment=0.5, schedule="cosine", epochs=4, lr=1e-3
    )
    whole = trainer(settings)
    whole.fit(crops, crops)

    class Killed(Exception):  # noqa: N818  (not an error of anybody's)
        pass

    half = trainer(settings)

    def kill(epoch: object) -> None:
        save(half.checkpoint({"a": 1}), tmp_path / "state.safetensors")
        if len(half.epochs) == 2:
            raise Killed

    with pytest.raises(Killed):
        half.fit(crops, crops, kill)
    torch.manual_seed(999)  # whatever happened in between
    resumed = trainer(replace(settings))
    resumed.restore(load(tmp_path / "state.safetensors", {"a": 1}))
    resumed.fit(crops, crops)
    assert figures(resumed) == figures(whole)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    one = trainer(replace(QUIET, epochs=1))
    one.fit(crop_set(12), crop_set(12))
    save(one.checkpoint({"lr": 1}), tmp_path / "state.safetensors")
    assert load(tmp_path / "state.safetensors", {"lr": 1}) is not None
    assert load(tmp_path / "state.safetensors", {"lr": 2}) is None
    assert load(tmp_path / "absent.safetensors", {"lr": 1}) is None


def test_reestimated_statistics_are_the_mean_over_the_batches() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2, momentum=3e-4))
    batches = [torch.randn(8, 2, 4, 4) * 3 + 5 for _ in range(4)]
    reestimate(model, batches)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches]).mean(0)
    spread = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(model[0].running_mean, means, atol=1e-5)
    assert torch.allclose(model[0].running_var, spread, atol=1e-4)
    assert model[0].momentum == 3e-4


def test_only_slow_statistics_are_reestimated_unless_asked() -> None:
    slow, fast = build("mnasnet0_5", 3), build("resnet10t", 3)
    assert needs_reestimate(slow, "auto")
    assert not needs_reestimate(fast, "auto")
    assert needs_reestimate(fast, "reestimate")
    assert not needs_reestimate(slow, "keep")
    assert not needs_reestimate(build("vgg11", 3), "reestimate")


def test_mnasnet_without_reestimation_judges_another_network() -> None:
    crops = crop_set(48)
    top1 = {}
    for choice in ("keep", "reestimate"):
        settings = replace(QUIET, epochs=12, lr=3e-3, patience=12, batch_norm=choice)
        one = trainer(settings, "mnasnet0_5")
        one.fit(crops, crops)
        top1[choice] = one.epochs[-1].validation_top1
    assert top1["keep"] < 0.7 < top1["reestimate"]


def test_bfloat16_learns_what_float32_learns() -> None:
    crops = crop_set(48)
    for precision in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = build("resnet10t", 3)
        one = Trainer(
            model, replace(QUIET, epochs=5), torch.device("cpu"), precision=precision
        )
        one.fit(crops, crops)
        assert one.epochs[-1].validation_top1 == 1.0
        assert one.logits(crops).dtype is torch.float32


def test_crops_are_scaled_for_a_backbone_that_wants_them_larger() -> None:
    one = trainer(replace(QUIET, input_px=64))
    [batch] = list(crop_set(4).batches(4, np.arange(4)))
    assert one._images(batch).shape == (4, 3, 64, 64)


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    factors = [rate_factor("cosine", step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[52] == pytest.approx(0.505, abs=0.02)
    assert factors[-1] == pytest.approx(0.01, abs=0.001)
    assert rate_factor("constant", 70, 100) == 1


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
    monkeypatch.setattr("src.learning.device._cpu_has_bfloat16", lambda: True)
    cpu = torch.device("cpu")
    assert choose_precision(cpu, build("mnasnet0_5", 3)) is torch.float32
    assert choose_precision(cpu, build("resnet10t", 3)) is torch.bfloat16

"""The moving average of the weights: its steps, what is kept, and how it resumes."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import same, tiny_model, tiny_trainer, weights_of
from toy_crops import QUIET, ToyTask, crop_set, fit
from two_threads import two_processes

from src.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from src.training.config import Hyperparameters
from src.training.predictor import Predictor, normalize
from src.training.trainer import Trainer, Validation

OWN = replace(QUIET, ema=0.5, epochs=3, lr=0.01)


class Losses:
    """A validation with given losses, which keeps the weights that it judged."""

    def __init__(self, losses: list[float]) -> None:
        """Take the loss of each epoch."""
        self.losses = losses
        self.judged: list[dict[str, torch.Tensor]] = []

    def validate(self, model: Predictor) -> Validation:
        """Return the epoch's loss."""
        self.judged.append(weights_of(model.model))
        return Validation(self.losses[len(self.judged) - 1], 0.5)


def test_the_kept_weights_are_the_moving_average_worked_out_by_hand() -> None:
    one, path = tiny_trainer(replace(OWN, bn_stats="running")), []
    one.optimizer.register_step_post_hook(lambda *_: path.append(weights_of(one.model)))
    fit(one, crop_set(24), Losses([3.0, 2.0, 1.0]))
    # Two steps an epoch. The decay after step n is 1 - n ** (-2/3), at most --ema.
    expected = dict(path[0])
    for number, weights in enumerate(path[1:], start=2):
        decay = min(1 - number ** (-2 / 3), 0.5)
        for name, value in weights.items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value
    kept = weights_of(one.model)
    assert kept.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(kept[name].double(), value.double(), atol=1e-6), name
    assert not same(kept, path[-1])


@pytest.mark.parametrize(
    ("losses", "patience", "epoch"),
    [([3.0, 1.0, 2.0], 3, 2), ([3.0, 1.0, 2.0], 0, 3), ([3.0, 2.0, 1.0], 3, 3)],
)
def test_what_was_validated_is_what_is_kept(
    losses: list[float], patience: int, epoch: int
) -> None:
    one, validation = tiny_trainer(replace(OWN, patience=patience)), Losses(losses)
    fit(one, crop_set(24), validation)
    assert same(weights_of(one.model), validation.judged[epoch - 1])


def test_training_itself_goes_on_from_its_own_weights() -> None:
    plain, averaged = tiny_trainer(replace(OWN, ema=0.0)), tiny_trainer(OWN)
    for one in (plain, averaged):
        fit(one, crop_set(24), Losses([1.0, 2.0, 3.0]))
    told = [[epoch.train_loss for epoch in one.epochs] for one in (plain, averaged)]
    assert told[0] == told[1]


def test_the_averages_norms_are_recomputed_with_its_own_weights() -> None:
    train = crop_set(24)
    one = tiny_trainer(replace(OWN, bn_stats="recompute"))
    fit(one, train, Losses([3.0, 2.0, 1.0]))
    mean = normalize(torch.from_numpy(train.crops)).mean(dim=(0, 2, 3))
    assert torch.allclose(one.model[0].running_mean, mean, atol=1e-4)


@pytest.mark.parametrize("killed", [1, 2])
@pytest.mark.parametrize("select", ["best", "smoothed", "last"])
def test_a_resumed_average_is_the_uninterrupted_one_to_the_bit(
    killed: int, select: str, tmp_path: Path
) -> None:
    own = replace(OWN, epochs=4, select=select, schedule="cosine", mixup=0.5)
    train = replace(crop_set(24), mixup=0.5, class_count=3)

    def fitted(one: Trainer, stop: int = 0) -> Trainer:
        def after(_: object) -> None:
            if len(one.epochs) == stop:
                save_checkpoint(one.checkpoint({}), tmp_path / "state.safetensors")
                raise KeyboardInterrupt

        fit(one, train, train_set, after)
        return one

    train_set = crop_set(24)
    whole = fitted(tiny_trainer(own))
    with pytest.raises(KeyboardInterrupt):
        fitted(tiny_trainer(own), killed)
    resumed = tiny_trainer(own)
    resumed.restore(load_checkpoint(tmp_path / "state.safetensors", {}))
    fitted(resumed)
    assert same(weights_of(resumed.model), weights_of(whole.model))
    told = [[e.validation_loss for e in one.epochs] for one in (resumed, whole)]
    assert told[0] == told[1]


def test_a_checkpoint_without_an_average_is_not_resumed_from(tmp_path: Path) -> None:
    plain = tiny_trainer(replace(OWN, ema=0.0))
    fit(plain, crop_set(24), Losses([1.0] * 3))
    save_checkpoint(plain.checkpoint({}), tmp_path / "state.safetensors")
    with pytest.raises(CheckpointError):
        tiny_trainer(OWN).restore(load_checkpoint(tmp_path / "state.safetensors", {}))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_average_what_one_averages(accumulate: int) -> None:
    own = replace(OWN, optimizer="sgd", batch_size=12, bn_stats="running")
    model = tiny_model(norm=False)

    def fitted(hyperparameters: Hyperparameters) -> Trainer:
        one = tiny_trainer(hyperparameters, deepcopy(model))
        fit(one, crop_set(23), crop_set(7))
        return one

    alone = weights_of(fitted(own).model)
    with two_processes() as group:
        both = group.run(lambda: fitted(replace(own, accumulate=accumulate)))
    for one in both:
        for name, value in weights_of(one.model).items():
            assert torch.allclose(value, alone[name], atol=1e-5), name


def test_two_processes_keep_the_same_average_with_its_norms() -> None:
    model = tiny_model()

    def fitted() -> Trainer:
        own = replace(OWN, bn_stats="running", optimizer="sgd")
        one = tiny_trainer(own, deepcopy(model))
        fit(one, crop_set(23), Losses([3.0, 2.0, 1.0]))
        return one

    with two_processes() as group:
        first, second = (weights_of(one.model) for one in group.run(fitted))
    assert same(first, second)


def test_an_average_learns() -> None:
    crops = crop_set(48)
    one = tiny_trainer(replace(OWN, ema=0.9, epochs=12))
    fit(one, crops, crops)
    task = ToyTask(crops, crops, one.hyperparameters)
    assert task.validate(one).accuracy == 1.0

"""A checkpoint comes back from its file with each part in its place."""

import errno
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from tiny_training import Scripted, tiny_trainer
from toy_crops import QUIET, crop_set, fit

from src.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from src.training.optimizers import OPTIMIZERS, load_optimizer, make_optimizer
from src.training.trainer import Trainer

CONFIG = {"hyperparameters": {"lr": 0.1, "seed": 3}, "labels": ("a", "b")}


def tensor(value: float) -> torch.Tensor:
    return torch.arange(6.0).reshape(2, 3) + value


def whole() -> Checkpoint:
    """Make a checkpoint no two parts of which are alike."""
    return Checkpoint(
        CONFIG,
        [{"epoch": 1, "validation_loss": 0.5, "best": True}, {"epoch": 2}],
        {"layer.weight": tensor(1), "layer.bias": torch.tensor(7)},
        {"layer.weight": tensor(2), "layer.bias": torch.tensor(8)},
        {
            "state": {
                0: {"step": torch.tensor(4.0), "exp_avg": tensor(3), "a": 11, "b": 0.5},
                12: {"step": torch.tensor(5.0), "exp_avg": tensor(4), "a": 13},
            },
            "param_groups": [{"lr": 0.25, "params": [0, 12], "betas": [0.9, 0.99]}],
        },
        {"scale": 64.0, "_growth_tracker": 3},
    )


def flat(value: object) -> object:
    """Turn tensors, wherever they are, into what `==` compares."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {key: flat(one) for key, one in value.items()}
    return [flat(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("part", [field.name for field in fields(Checkpoint)])
def test_every_part_comes_back(part: str, tmp_path: Path) -> None:
    save_checkpoint(whole(), tmp_path / "state.safetensors")
    again = load_checkpoint(tmp_path / "state.safetensors", CONFIG)
    assert flat(getattr(again, part)) == flat(getattr(whole(), part))


def test_a_later_checkpoint_takes_the_place_of_an_earlier(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_checkpoint(whole(), path)
    later = whole()
    later.epochs.append({"epoch": 3})
    save_checkpoint(later, path)
    assert len(load_checkpoint(path, CONFIG).epochs) == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("deep", [{"lr": 0.2, "seed": 3}, {"lr": 0.1, "seed": 4}])
def test_one_other_setting_makes_it_another_run(deep: dict, tmp_path: Path) -> None:
    save_checkpoint(whole(), tmp_path / "state.safetensors")
    assert (
        load_checkpoint(
            tmp_path / "state.safetensors", CONFIG | {"hyperparameters": deep}
        )
        is None
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_steps_on_from_its_file_as_it_would_have(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    begun = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    pushes = [torch.randn_like(begun) for _ in range(4)]

    def stepped(weight: torch.Tensor, optimizer: object, some: list) -> torch.Tensor:
        for push in some:
            weight.grad = push.clone()
            optimizer.step()
        return weight.detach()

    def fresh(values: torch.Tensor) -> tuple[torch.nn.Parameter, object]:
        weight = torch.nn.Parameter(values.clone())
        return weight, make_optimizer(name, [weight], lr=0.05, weight_decay=0.1)

    weight, optimizer = fresh(begun)
    stepped(weight, optimizer, pushes[:2])
    state = Checkpoint({}, [], {"w": weight}, {}, optimizer.state_dict())
    save_checkpoint(state, tmp_path / "state.safetensors")
    whole_way = stepped(weight, optimizer, pushes[2:])
    back = load_checkpoint(tmp_path / "state.safetensors", {})
    values = torch.empty_like(begun).copy_(back.weights["w"])
    resumed, other = fresh(values)
    load_optimizer(other, back.optimizer)
    assert torch.equal(stepped(resumed, other, pushes[2:]), whole_way)


def damage_header(change: dict) -> bytes:
    header = {"config": {}, "epochs": [], "groups": [], "numbers": {}, "scaler": {}}
    held = json.dumps({k: v for k, v in (header | change).items() if v is not ...})
    return save({"weights.a": torch.zeros(2)}, {"training": held})


DAMAGED = [
    *(b"", b"abc", b"\xff" * 200, save({"weights.a": torch.zeros(2)})),
    *(
        save({"other": torch.zeros(2)}, {"training": "7"}),
        damage_header({"config": ...}),
    ),
    *(damage_header({"epochs": ...}), damage_header({"numbers": [1]})),
    *(damage_header({"numbers": {"x": {}}}), damage_header({"groups": ...})),
    save({"weights.a": torch.zeros(900)}, {"training": '{"config": {}}'})[:-50],
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_checkpoint_is_one_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, {})


def trained(tmp_path: Path) -> tuple[Trainer, Checkpoint]:
    one = tiny_trainer(replace(QUIET, epochs=2))
    fit(one, crop_set(), Scripted([2.0, 1.0]))
    save_checkpoint(one.checkpoint({}), tmp_path / "state.safetensors")
    state = load_checkpoint(tmp_path / "state.safetensors", {})
    assert state is not None
    return tiny_trainer(replace(QUIET, epochs=2)), state


CHANGES = {
    "an epoch of text": lambda state: state.epochs.append({"epoch": "x"}),
    "an epoch of another version": lambda state: state.epochs[0].pop("seconds"),
    "an epoch of no number": lambda s: s.epochs[0].update(validation_loss=torch.nan),
    "epochs that are a number": lambda state: setattr(state, "epochs", 7),
    "a weight gone": lambda state: state.weights.pop("1.weight"),
    "a weight of another shape": lambda s: s.weights.update({"1.weight": tensor(1)}),
    "no best": lambda state: state.best.clear(),
    "no group": lambda state: state.optimizer["param_groups"].clear(),
    "a group without lr": lambda s: s.optimizer["param_groups"][0].pop("lr"),
    "a moment of another shape": lambda s: s.optimizer["state"][0].update(
        exp_avg=tensor(1)
    ),
    "a group of text": lambda s: s.optimizer.update(param_groups="x"),
    "a scaler of text": lambda state: setattr(state, "scaler", "x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_does_not_fit_is_one_error(
    change: str, tmp_path: Path
) -> None:
    one, state = trained(tmp_path)
    CHANGES[change](state)
    if change == "a scaler of text":  # which only half precision has
        one.scaler = torch.amp.GradScaler("cpu", enabled=True)
    with pytest.raises(CheckpointError):
        one.restore(state)


def test_tensors_that_the_disk_refuses_leave_nothing_and_name_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error: No space left on device (os error 28)")

    monkeypatch.setattr("src.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors({}, tmp_path / "x.safetensors")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())

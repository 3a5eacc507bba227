"""The commands of the report train the runs again; what a run cost is measured."""

import shlex
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import SETTINGS, description, run_config, write_run
from safetensors.numpy import save_file

import train
from src.command_line import shown_command
from src.training.config import Hyperparameters
from src.training.run_commands import train_commands
from src.training.run_cost import run_cost
from src.training.run_folder import read_run


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What train.py reads of a command."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    monkeypatch.setattr(sys, "argv", arguments)
    return vars(train.parse())


def test_runs_that_differ_in_backbone_and_fold_are_one_command() -> None:
    configs = [
        run_config(backbone=backbone, fold=str(fold))
        for backbone in ("vgg16", "vgg11")
        for fold in (3, 1, 0, 4, 2)
    ]
    assert train_commands(configs, "c", "r") == [
        "python train.py --cache c --runs r --task condition --backbone vgg16 vgg11 "
        "--folds all --optimizer adam --epochs 3 --batch-size 8"
    ]
    # Not both backbones were trained on both folds.
    configs = [run_config(fold="1"), run_config(fold="2", backbone="vgg16")]
    first, second = train_commands(configs, "c", "r")
    assert "--backbone vgg11 --folds 1 " in first
    assert "--backbone vgg16 --folds 2 " in second


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.0003, "sync_bn": True, "augment": 0.0, "seed": 7, "patience": 0},
        {"split": "row", "slices": "repeat", "limit": 9, "fold": "2"},
        {"task": "location", "input_px": 160},
        {"task": "location", "input_px": 0},
        {"weights": "imagenet", "lr": 1e-4, "ema": 0.99},
        {"task": "severity", "views": "all", "site_errors": []},
    ],
)
def test_a_command_says_how_a_run_was_trained(
    changes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Hyperparameters().to_dict()
    own = {name: changes.pop(name) for name in list(changes) if name in SETTINGS}
    config = run_config(**changes, **settings | own)
    [command] = train_commands([config], "c", "r")
    args = parsed(command, monkeypatch)
    for name, value in config.hyperparameters.to_dict().items():
        usual = {"lr": 1e-3, "input_px": 160 if config.task == "location" else 0}
        read = usual[name] if args[name] is None else args[name]
        assert read == value, name
    for name in ("task", "split", "views", "limit", "weights"):
        assert args[name] == getattr(config, name)
    assert train.slices_of(Namespace(**args)) == config.slices
    assert args["folds"] == [config.fold]
    assert args["jitter"] == ("none" if config.site_errors == [] else None)


def test_a_jittered_run_says_that_its_locator_is_not_recorded() -> None:
    errors = [{"axial": True, "error_mm": [0.0, 1.0], "slices_off": [1.0]}]
    [command] = train_commands([run_config(site_errors=errors)], "c", "r")
    assert "--jitter RUN" in command


def test_a_shown_command_names_no_folder_above() -> None:
    typed = ["/home/jane/kit/input_prep.py", "--data", "/home/jane/d", "--cache=../x/c"]
    assert shown_command([*typed, "--views", "all"]) == (
        "python input_prep.py --data d --cache=c --views all"
    )


def test_the_cost_is_of_all_epochs_and_of_trained_parameters(tmp_path: Path) -> None:
    folder = write_run(tmp_path, description(slices="repeat"), pd.DataFrame({"a": [1]}))
    lines = [
        f'{{"epoch": {n}, "seconds": {s}, "images_per_second": {10 * n}}}'
        for n, s in ((1, 50), (2, 20), (3, 30))
    ]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    tensors = {
        "conv.weight": np.zeros((4, 3, 2)),
        "norm.weight": np.zeros(5),
        "norm.running_mean": np.zeros(5),
        "norm.num_batches_tracked": np.zeros(1),
    }
    save_file(tensors, folder / "weights.safetensors")
    assert run_cost(read_run(folder)) == {
        **{"task": "condition", "network": "vgg11, repeat", "parameters": 29},
        **{"epochs": 3, "seconds": 100.0, "epoch_seconds": 30.0},
        "images_per_second": 20.0,
    }
    (folder / "weights.safetensors").write_bytes(b"no")
    assert run_cost(read_run(folder))["parameters"] is None


def test_a_history_without_times_has_no_cost_in_time(tmp_path: Path) -> None:
    folder = write_run(tmp_path, description(), pd.DataFrame({"a": [1]}))
    cost = run_cost(read_run(folder))
    times = ("seconds", "epoch_seconds", "images_per_second", "parameters")
    assert {cost[name] for name in times} == {None}
    assert cost["epochs"] == 3

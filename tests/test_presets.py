"""Presets in TOML: what they may say, and what comes before them."""

import sys
from pathlib import Path

import pytest

import train
from src.errors import UserError
from src.models.backbones import PAPER_BACKBONES
from src.training.presets import read_preset, values_for

ROOT = Path(__file__).parents[1]
FLAGS = {"lr", "batch-size"}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "preset.toml"
    path.write_text(text)
    return path


def test_a_backbones_own_values_come_before_everyones(tmp_path: Path) -> None:
    path = write(tmp_path, "lr = 1e-4\nbatch-size = 8\n[vgg11]\nbatch-size = 64\n")
    preset = read_preset(path, FLAGS, {"vgg11"})
    assert values_for(preset, "vgg11") == {"lr": 1e-4, "batch_size": 64}
    assert values_for(preset, "vgg16") == {"lr": 1e-4, "batch_size": 8}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = 3", "rate"),
        ("[vgg12]\nlr = 1", "vgg12"),
        ("[vgg11]\nspeed = 1", "speed"),
        ("lr = ", "TOML"),
    ],
)
def test_what_a_preset_may_not_say_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        read_preset(write(tmp_path, text), FLAGS, {"vgg11"})


def test_an_absent_preset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml"):
        read_preset(tmp_path / "nowhere.toml", FLAGS, set())


def recipe(monkeypatch: pytest.MonkeyPatch, backbone: str, *flags: str) -> tuple:
    needed = [
        "--cache",
        "c",
        "--runs",
        "r",
        "--task",
        "condition",
        "--backbone",
        "paper",
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *needed, *flags])
    return train.recipe_for(train.parse(), backbone)


def test_flags_come_before_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = ("--config", str(ROOT / "configs" / "paper.toml"))
    hyperparameters, weights = recipe(monkeypatch, "vgg16", *paper)
    assert (hyperparameters["optimizer"], hyperparameters["lr"]) == ("adam", 1e-4)
    assert (hyperparameters["batch_size"], hyperparameters["patience"]) == (64, 3)
    assert weights == "imagenet"
    hyperparameters, weights = recipe(
        monkeypatch, "vgg16", *paper, "--lr=0.5", "--weights", "none"
    )
    assert hyperparameters["lr"] == 0.5
    assert weights == "none"


@pytest.mark.parametrize("preset", ["paper", "ours"])
@pytest.mark.parametrize("backbone", PAPER_BACKBONES)
def test_the_presets_in_configs_hold_for_all_six(
    monkeypatch: pytest.MonkeyPatch, preset: str, backbone: str
) -> None:
    path = ROOT / "configs" / f"{preset}.toml"
    hyperparameters, _ = recipe(monkeypatch, backbone, "--config", str(path))
    assert hyperparameters["epochs"] > 0

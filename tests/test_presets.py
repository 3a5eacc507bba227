"""Presets in TOML: what they may say, and what comes before them."""

import sys
from pathlib import Path

import pytest

import train
from src.errors import UserError
from src.models.backbones import PAPER_BACKBONES
from src.training.config import Hyperparameters
from src.training.presets import read_preset, values_for

ROOT = Path(__file__).parents[1]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "preset.toml"
    path.write_text(text)
    return path


def test_a_backbones_own_values_come_before_everyones(tmp_path: Path) -> None:
    path = write(tmp_path, "lr = 1e-4\nbatch-size = 8\n[vgg11]\nbatch-size = 64\n")
    preset = read_preset(path, {"vgg11"})
    assert values_for(preset, "vgg11") == {"lr": 1e-4, "batch_size": 64}
    assert values_for(preset, "vgg16") == {"lr": 1e-4, "batch_size": 8}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = 3", "rate"),
        ("[vgg12]\nlr = 1", "vgg12"),
        ("[vgg11]\nspeed = 1", "speed"),
        ("lr = ", "TOML"),
        ('schedule = "linear"', "schedule = 'linear': .*cosine"),
        ("patience = 1.5", "patience = 1.5: '1.5' is no whole number"),
        ("patience = true", "patience = true: write a number"),
        ('lr = "0.001"', "lr = '0.001': write a number"),
        ("lr = nan", "lr = nan: nan is not finite"),
        ("lr = 0", "lr = 0: 0 is not above 0"),
        ("batch-size = 0", "batch-size = 0: 0 is less than 1"),
        ("weights = 3", "weights = 3: write text"),
        ('bn-stats = "no"', "bn-stats = 'no'"),
        ('batch-norm = "auto"', "'batch-norm', which is no setting"),
        ("[vgg11]\naugment = 20", "augment = 20: 20 is more than 2"),
        ("config = 1", "config"),
        ('views = "both"', "views = 'both': .*own"),
        ("views = 3", "views = 3: write text"),
        ("slices = 5", "slices = 5: write text"),
    ],
)
def test_what_a_preset_may_not_say_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        read_preset(write(tmp_path, text), {"vgg11"})


def test_an_absent_preset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml"):
        read_preset(tmp_path / "nowhere.toml", set())


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
    given = train.with_preset(train.parse(), backbone)
    return train.recipe_of(given), given.weights


def test_flags_come_before_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = ("--config", str(ROOT / "configs" / "paper.toml"))
    hyperparameters, weights = recipe(monkeypatch, "vgg16", *paper)
    assert (hyperparameters.optimizer, hyperparameters.lr) == ("adam", 1e-4)
    assert (hyperparameters.batch_size, hyperparameters.patience) == (64, 3)
    assert weights == "imagenet"
    hyperparameters, weights = recipe(
        monkeypatch, "vgg16", *paper, "--lr=0.5", "--weights", "none"
    )
    assert hyperparameters.lr == 0.5
    assert weights == "none"


def test_a_switch_of_a_preset_is_turned_off_by_its_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    preset = ("--config", str(write(tmp_path, "sync-bn = true")))
    assert recipe(monkeypatch, "vgg16")[0].sync_bn is False
    assert recipe(monkeypatch, "vgg16", "--sync-bn")[0].sync_bn is True
    assert recipe(monkeypatch, "vgg16", *preset)[0].sync_bn is True
    assert recipe(monkeypatch, "vgg16", *preset, "--no-sync-bn")[0].sync_bn is False


@pytest.mark.parametrize("preset", ["paper", "ours"])
@pytest.mark.parametrize("backbone", PAPER_BACKBONES)
def test_the_presets_in_configs_hold_for_all_six(
    monkeypatch: pytest.MonkeyPatch, preset: str, backbone: str
) -> None:
    path = ROOT / "configs" / f"{preset}.toml"
    hyperparameters, _ = recipe(monkeypatch, backbone, "--config", str(path))
    assert hyperparameters.epochs > 0


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--lr", "-1", "-1 is not above 0"),
        ("--lr", "nan", "nan is not finite"),
        ("--lr", "fast", "'fast' is no number"),
        ("--weight-decay", "-0.1", "-0.1 is less than 0"),
        ("--weight-decay", "inf", "inf is not finite"),
        ("--augment", "20", "20 is more than 2"),
        ("--augment", "-1", "-1 is less than 0"),
        ("--seed", "-1", "-1 is less than 0"),
        ("--input-px", "-5", "-5 is less than 0"),
        ("--epochs", "0", "0 is less than 1"),
        ("--patience", "1.5", "'1.5' is no whole number"),
        ("--loader-workers", "-1", "-1 is less than 0"),
        ("--schedule", "linear", "invalid choice"),
        ("--accumulate", "0", "0 is less than 1"),
        ("--select", "mean", "invalid choice"),
        ("--ema", "1", "1 is more than 0.99999"),
        ("--ema", "-0.5", "-0.5 is less than 0"),
        ("--mixup", "-1", "-1 is less than 0"),
        ("--soften", "1.5", "1.5 is more than 1"),
        ("--soften", "-0.5", "-0.5 is less than 0"),
    ],
)
def test_a_flag_out_of_bounds_is_refused(
    flag: str,
    value: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        recipe(monkeypatch, "vgg11", f"{flag}={value}")
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert flag in last
    assert says in last


def test_every_flag_of_a_recipe_has_its_bound(tmp_path: Path) -> None:
    text = (
        'weights = "w.pth"\noptimizer = "sgd"\nlr = 1\nweight-decay = 0\n'
        'schedule = "constant"\nepochs = 3\npatience = 0\nbatch-size = 1\n'
        'input-px = 0\naugment = 2\nbn-stats = "running"\nseed = 0\n'
        "accumulate = 4\nsync-bn = true\n"
        'select = "smoothed"\nema = 0.99\nmixup = 0.2\nsoften = 0.5\n'
    )
    text += 'slices = "attention"\nviews = "all"\n'
    preset = read_preset(write(tmp_path, text), set())
    assert {*preset} == {"weights", "slices", "views"} | {
        name.replace("_", "-") for name in vars(Hyperparameters())
    }
    assert isinstance(preset["lr"], float)
    assert preset["sync-bn"] is True

"""Run folders: written whole, read back as they were, told apart by what made them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fake_condition_runs import run_config
from safetensors.torch import load_file, save_file
from tiny_training import same, weights_of

from src import __version__
from src.competition.constants import CONDITIONS
from src.errors import UserError
from src.training.config import LABELS, EpochMetrics, Hyperparameters, RunConfig
from src.training.run_folder import (
    CHECKPOINT_FILE,
    Run,
    build_model,
    finalize_run,
    is_finished,
    partial_folder,
    read_history,
    read_run,
    read_runs,
    readable_runs,
    write_history,
)

SITE = {"condition": CONDITIONS[0], "level": "l1_l2"}
OFFSETS = [{**SITE, "mean_mm": [1.5, 0.0, 2.0], "sd_mm": [1.0, 2.0, 3.0]}]
SPACING = [{"level": "l1_l2", "mean_mm": 30.0, "sd_mm": 2.0}]
PREDICTIONS = pd.DataFrame({"crop": [3, 1], "p_severe": [0.5, 0.25]})


def hyperparameters(**changes: object) -> Hyperparameters:
    return replace(run_config().hyperparameters, **changes)


CONFIG = run_config(backbone="resnet10t", input_px=48, lr=0.5)


def published(runs: Path, config: RunConfig = CONFIG) -> tuple[Run, torch.nn.Module]:
    """Publish a model with weights and statistics of its own; read it back."""
    torch.manual_seed(5)
    model = build_model(config).train()
    model(torch.randn(4, 3, 64, 64))  # moves the norms' statistics
    finalize_run(runs, config, model, PREDICTIONS)
    return read_run(runs / config.name), model.eval()


def test_a_run_may_be_two_files_beside_each_other(tmp_path: Path) -> None:
    run, model = published(tmp_path / "runs")
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("config.json", "weights.safetensors"):
        target = kept / f"mine{Path(name).suffix}"
        target.write_bytes((run.folder / name).read_bytes())
    (kept / "calibration.json").write_text("{}")  # no weights beside it
    [found] = read_runs(kept)
    assert (found.folder.name, found.config) == ("mine", run.config)
    assert same(weights_of(found.model()), weights_of(model))


@pytest.mark.parametrize("backbone", ["resnet10t", "mnasnet0_5"])
def test_a_run_predicts_with_the_weights_it_was_published_with(
    backbone: str, tmp_path: Path
) -> None:
    run, model = published(tmp_path, replace(CONFIG, backbone=backbone))
    assert same(weights_of(run.model()), weights_of(model))
    assert not run.model().training
    predictor, shown = run.predictor(), []
    first = next(m for m in predictor.model.modules() if hasattr(m, "kernel_size"))
    first.register_forward_pre_hook(lambda _, given: shown.append(given[0].shape))
    crops = torch.randint(0, 255, (2, 3, 20, 20), dtype=torch.uint8)
    outputs = predictor.outputs(crops)
    assert outputs.shape == (2, len(CONDITIONS))
    assert shown == [(2, 3, 48, 48)]


def test_a_run_predicts_on_this_processs_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, _ = published(tmp_path)
    elsewhere = torch.device("meta")
    monkeypatch.setattr("src.training.run_folder.choose_device", lambda: elsewhere)
    predictor = run.predictor()
    assert predictor.device == elsewhere
    assert {weight.device for weight in predictor.model.parameters()} == {elsewhere}


def test_a_runs_own_weights_need_no_others(tmp_path: Path) -> None:
    run, model = published(tmp_path, replace(CONFIG, weights="gone/away.safetensors"))
    assert run.config.weights == "away.safetensors"
    assert same(weights_of(run.model()), weights_of(model))


def test_a_run_is_read_as_it_was_described(tmp_path: Path) -> None:
    config = replace(CONFIG, canal_offsets=OFFSETS, level_spacing=SPACING, limit=9)
    run, _ = published(tmp_path, config)
    assert run.config == config
    pd.testing.assert_frame_equal(run.predictions(), PREDICTIONS)


def test_a_published_run_has_left_its_training_behind(tmp_path: Path) -> None:
    part = partial_folder(tmp_path, CONFIG)
    part.mkdir()
    (part / CHECKPOINT_FILE).write_bytes(b"half way")
    write_history([epoch(1)], part)
    assert read_runs(tmp_path) == []
    run, _ = published(tmp_path)
    assert not part.exists()
    assert {path.name for path in run.folder.iterdir()} == {
        *("config.json", "history.jsonl", "predictions.csv", "weights.safetensors")
    }


def test_a_run_says_which_kit_trained_it_and_an_older_run_opens(tmp_path: Path) -> None:
    run, _ = published(tmp_path)
    assert run.kit_version == __version__
    path = run.folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "kit_version": "0.1"}))
    assert is_finished(tmp_path, CONFIG)  # another version is not another run
    del config["kit_version"]
    path.write_text(json.dumps(config))
    assert read_run(run.folder) == Run(run.folder, CONFIG)


def test_a_run_half_written_is_no_run_yet(tmp_path: Path) -> None:
    part = partial_folder(tmp_path, CONFIG)
    part.mkdir()
    (part / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    assert read_runs(tmp_path) == []
    assert not is_finished(tmp_path, CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": list(CONDITIONS[::-1])},
        {"hyperparameters": hyperparameters(input_px=48, lr=0.25)},
        {"weights": "imagenet"},
        {"crop": {"crop_px": 17, "field_mm": 50.0, "slices": 3}},
        {"cache_fingerprint": {"points": "1", "labels": "0", "series": "0"}},
        {"limit": 5},
        {"prior": [{"condition": "x"}]},
        {"canal_offsets": [{"dx": 1.0}]},
        {"level_spacing": [{"mm": 1.0}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_under_the_name_of_another_is_refused(
    change: dict, tmp_path: Path
) -> None:
    assert not is_finished(tmp_path, CONFIG)
    finalize_run(tmp_path, CONFIG, torch.nn.Linear(1, 1), PREDICTIONS)
    assert is_finished(tmp_path, CONFIG)
    with pytest.raises(UserError, match=f"another {next(iter(change))}:"):
        is_finished(tmp_path, replace(CONFIG, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"task": "severity"},
        {"backbone": "vgg11"},
        {"slices": "repeat"},
        {"split": "row"},
        {"fold": "3"},
        {"hyperparameters": hyperparameters(seed=4)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_runs_that_may_lie_side_by_side_have_names_of_their_own(change: dict) -> None:
    assert replace(CONFIG, **change).name != CONFIG.name


def test_a_weights_file_is_told_by_its_name_alone() -> None:
    here, there = (replace(CONFIG, weights=f"{d}/w.safetensors") for d in ("a", "b"))
    assert here.to_dict() == there.to_dict()
    assert here.to_dict()["weights"] == "w.safetensors"


def test_runs_are_read_by_name_and_task(tmp_path: Path) -> None:
    for task, fold in (("severity", "1"), ("condition", "holdout"), ("severity", "0")):
        config = replace(CONFIG, task=task, labels=list(LABELS[task]), fold=fold)
        finalize_run(tmp_path, config, torch.nn.Linear(1, 1), PREDICTIONS)
    every = [run.folder.name for run in read_runs(tmp_path)]
    assert every == sorted(every)
    assert len(every) == 3
    folds = [run.config.fold for run in read_runs(tmp_path, "severity")]
    assert folds == ["0", "1"]


def test_runs_that_cannot_be_opened_are_told_of(tmp_path: Path) -> None:
    finalize_run(tmp_path, CONFIG, torch.nn.Linear(1, 1), PREDICTIONS)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    told: list[str] = []
    [run] = readable_runs(tmp_path, told.append)
    assert run.config == CONFIG
    [sentence] = told
    assert "old" in sentence


def epoch(number: int) -> EpochMetrics:
    return EpochMetrics(
        number, 1 / number, 2 / number, 0.3, 0.1 * number, 9.0, number == 2
    )


def test_a_history_has_a_line_an_epoch(tmp_path: Path) -> None:
    write_history([epoch(1), epoch(2)], tmp_path)
    write_history([epoch(n) for n in (1, 2, 3)], tmp_path)
    table = Run(tmp_path, CONFIG).history()
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table["train_loss"].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert table["validation_loss"].tolist() == pytest.approx([2, 1, 2 / 3])
    assert table["lr"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert table["best"].tolist() == [False, True, False]


def test_a_history_resumed_from_an_older_version_is_read(tmp_path: Path) -> None:
    old = EpochMetrics.from_dict(epoch(1).to_dict())
    assert "images_per_second" not in old.to_dict()
    write_history([old, replace(epoch(2), images_per_second=12.5)], tmp_path)
    rates = Run(tmp_path, CONFIG).history()["images_per_second"].tolist()
    assert np.isnan(rates[0])
    assert rates[1] == 12.5
    read_history(tmp_path / "history.jsonl")


def test_a_history_is_drawn_in_the_order_of_its_epochs(tmp_path: Path) -> None:
    write_history([epoch(n) for n in (3, 10, 1)], tmp_path)
    table = read_history(tmp_path / "history.jsonl")
    assert list(table.columns) == ["epoch", "train_loss", "validation_loss"]
    assert table["epoch"].tolist() == [1, 3, 10]
    assert table["train_loss"].tolist() == pytest.approx([1, 1 / 3, 1 / 10])
    assert table["validation_loss"].tolist() == pytest.approx([2, 2 / 3, 1 / 5])


@pytest.mark.parametrize(
    "text", ["", '{"epoch": 1, "train_loss": 1}\n', '{"epoch": 1, "train', None]
)
def test_a_history_that_is_not_whole_is_refused(
    text: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a-run" / "history.jsonl"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="a-run"):
        read_history(path)


def damage_weights(run: Run, kind: str) -> None:
    path = run.folder / "weights.safetensors"
    state = load_file(path)
    first = next(iter(state))
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "not a number":
        save_file(state | {first: state[first] * torch.nan}, path)
    elif kind == "another shape":
        save_file(state | {first: torch.zeros(3)}, path)
    else:
        save_file({"w": state[first]}, path)


@pytest.mark.parametrize(
    "kind", ["gone", "cut", "not a number", "another shape", "other names"]
)
def test_weights_that_cannot_be_used_are_one_sentence(
    kind: str, tmp_path: Path
) -> None:
    run, _ = published(tmp_path)
    damage_weights(run, kind)
    with pytest.raises(UserError) as raised:
        run.predictor()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["", "crop,p_a\n", "crop,p_a\n1,0.5\n2\n", "crop\n1,2,3\n4\n5,6,7,8\n", None],
)
def test_predictions_that_are_not_whole_are_refused(
    text: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a-run" / "predictions.csv"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="a-run"):
        Run(path.parent, CONFIG).predictions()


@pytest.mark.parametrize("loss", ["NaN", "null", '"x"', "[1]", "1e999"])
def test_a_history_without_a_finite_loss_is_refused(loss: str, tmp_path: Path) -> None:
    path = tmp_path / "a-run" / "history.jsonl"
    path.parent.mkdir()
    path.write_text(f'{{"epoch": 1, "train_loss": {loss}, "validation_loss": 1}}\n')
    with pytest.raises(UserError, match="a-run"):
        read_history(path)


def test_another_user_may_read_a_runs_weights_as_the_rest_of_it(tmp_path: Path) -> None:
    finalize_run(tmp_path, CONFIG, torch.nn.Linear(1, 1), PREDICTIONS)
    folder = tmp_path / CONFIG.name
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes["weights.safetensors"] == modes["config.json"]

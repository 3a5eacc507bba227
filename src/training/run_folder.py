"""Run folders: a trained model that describes itself.

config.json describes the model and its data; history.jsonl has a line an epoch;
weights.safetensors the best weights; predictions.csv the test crops' probabilities.
For prediction alone a run may be two files, NAME.json and NAME.safetensors: its config
and its weights, as the kit's own in weights/ are.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from src import __version__
from src.competition.constants import SERIES_DESCRIPTIONS, SEVERITIES
from src.errors import UserError
from src.files import write_csv, write_json, write_text
from src.models.backbones import CHANNELS, build, check_input_px, load_state
from src.models.heatmap_fpn import build_heatmap_fpn
from src.models.slice_attention import SliceAttention
from src.models.view_attention import ViewAttention
from src.training.checkpoint import write_tensors
from src.training.config import EpochMetrics, RunConfig
from src.training.config_schema import parse_config
from src.training.device import choose_device
from src.training.predictor import Predictor
from src.training.run_lock import LOCK_FILE

CHECKPOINT_FILE = "state.safetensors"  # of an unfinished training, see checkpoint.py
ANSWERS_FILE = "answers.safetensors"  # of an unfinished training's teachers


@dataclass(frozen=True)
class Run:
    """A finished run folder; kit_version: that trained it, None before 0.2."""

    folder: Path
    config: RunConfig
    kit_version: str | None = None

    @property
    def weights_path(self) -> Path:
        """The file of its weights, in its folder or, of two files, beside it."""
        return _file_of(self.folder, "weights.safetensors")

    def history(self) -> pd.DataFrame:
        """Read the training's history, a row an epoch; UserError if damaged."""
        return _read_epochs(self.folder / "history.jsonl")

    def predictions(self) -> pd.DataFrame:
        """Read the test crops' probabilities, a column a label; UserError if damaged.

        Every number is finite.
        """
        path = self.folder / "predictions.csv"
        try:
            table = pd.read_csv(path)
            broken = table.empty or not np.isfinite(table.select_dtypes("number")).all(
                axis=None
            )
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
            raise UserError(_damaged(path)) from error
        if broken:
            raise UserError(_damaged(path))
        return table

    def predictor(self) -> Predictor:
        """Put the trained model to work on this process's device."""
        side = self.config.hyperparameters.input_px
        return Predictor(self.model(), side, choose_device())

    def model(self) -> nn.Module:
        """Rebuild the trained model, on the CPU and ready to predict."""
        path = self.weights_path
        try:
            model = build_model(self.config)
            state = load_file(path)
            load_state(model, state)
        except (
            *(OSError, RuntimeError, SafetensorError),
            *(ValueError, TypeError, AssertionError),  # of a network that cannot be
        ) as error:
            raise UserError(
                f"{path} is missing or damaged; train the run again"
            ) from error
        if not all(value.isfinite().all() for value in state.values()):
            raise UserError(
                f"{path} holds numbers that are not finite, of a training that "
                "diverged; train the run again with a lower --lr"
            )
        check_images(self.config, model)
        return model.eval()


def partial_folder(runs: Path, config: RunConfig) -> Path:
    """The folder of an unfinished run, which read_runs skips."""
    return runs / f".{config.name}.part"


def write_history(epochs: list[EpochMetrics], folder: Path) -> None:
    """Write the history so far, a line an epoch."""
    lines = (json.dumps(epoch.to_dict()) + "\n" for epoch in epochs)
    write_text("".join(lines), folder / "history.jsonl")


def finalize_run(
    runs: Path, config: RunConfig, model: nn.Module, predictions: pd.DataFrame
) -> None:
    """Write the run's files, then rename its folder to the name of a finished run."""
    folder = partial_folder(runs, config)
    write_csv(predictions, folder / "predictions.csv")
    state = {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    write_tensors(state, folder / "weights.safetensors")
    described = {**config.to_dict(), "kit_version": __version__}
    write_json(described, folder / "config.json")
    for name in (CHECKPOINT_FILE, ANSWERS_FILE, LOCK_FILE):
        (folder / name).unlink(missing_ok=True)
    os.replace(folder, runs / config.name)


def is_finished(runs: Path, config: RunConfig) -> bool:
    """Return whether this run is done; raises UserError for another of its name."""
    folder = runs / config.name
    if not folder.is_dir():
        return False
    held, asked = read_run(folder).config.to_dict(), config.to_dict()
    if changed := [key for key in asked if held[key] != asked[key]]:
        raise UserError(
            f"{folder} holds a run with another {', '.join(changed)}: choose another "
            "--runs folder or another --seed, or delete it"
        )
    return True


def read_run(folder: Path) -> Run:
    """Open a finished run. Raises UserError where the folder is not one."""
    try:
        text = _file_of(folder, "config.json").read_text(encoding="utf-8")
        held = json.loads(text)
        version = held.pop("kit_version", None) if isinstance(held, dict) else None
        if not isinstance(version, str | None):
            raise ValueError("an entry kit_version that is not valid")
        config = parse_config(held)
    except (OSError, UnicodeDecodeError, JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"{folder} is no finished run: its config.json is missing or damaged; "
            "train it again with train.py"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{folder} is no usable run: its config.json has {error}, as if damaged or "
            "of another version; train it again with train.py"
        ) from error
    return Run(folder, config, version)


def read_runs(runs: Path, task: str | None = None) -> list[Run]:
    """Open all finished runs in a folder, by name; `task` keeps one task's."""
    if not runs.is_dir():
        raise UserError(
            f"--runs {runs} is no folder: train a model there with train.py"
        )
    found = [read_run(folder) for folder in _folders(runs)]
    return [run for run in found if task in (None, run.config.task)]


def readable_runs(runs: Path, log: Callable[[str], None]) -> list[Run]:
    """Open the finished runs that can be opened, and log the skipped ones."""
    found = []
    for folder in _folders(runs):
        try:
            found.append(read_run(folder))
        except UserError as error:
            log(f"Skipped: {error}")
    return found


def _folders(runs: Path) -> list[Path]:
    in_two_files = (
        path.with_suffix("")
        for path in runs.glob("[!.]*.safetensors")
        if path.with_suffix(".json").is_file()
    )
    in_folders = (path.parent for path in runs.glob("[!.]*/config.json"))
    return sorted({*in_folders, *in_two_files})


def _file_of(folder: Path, name: str) -> Path:
    """Return a file of a run, NAME/config.json or else NAME.json."""
    beside = folder.with_name(folder.name + Path(name).suffix)
    inside = folder / name
    return beside if beside.is_file() and not inside.is_file() else inside


def build_model(config: RunConfig, weights: str = "none") -> nn.Module:
    """Build a run's network, with its backbone's weights as `build` takes them."""
    size, slices = len(config.labels), config.crop["slices"]
    if config.task == "location":
        return build_heatmap_fpn(config.backbone, size, weights)
    if config.views == "all":
        views = len(SERIES_DESCRIPTIONS)
        seen, channels = (slices, 1) if config.attends else (CHANNELS, CHANNELS)
        return ViewAttention(config.backbone, size, views, seen, weights, channels)
    if config.attends:
        return SliceAttention(config.backbone, size, slices, weights)
    return build(config.backbone, size, weights)


def check_images(config: RunConfig, model: nn.Module) -> None:
    """Raise UserError unless a run's network, on the CPU, takes its run's images."""
    if config.task == "location":  # a locator takes images of any size
        return
    channels = config.crop["slices"] if config.attends else CHANNELS
    views = (len(SERIES_DESCRIPTIONS),) if config.views == "all" else ()
    check_input_px(
        model,
        config.backbone,
        outputs=len(config.labels),
        channels=(*views, channels),
        px=config.hyperparameters.input_px or config.crop["crop_px"],
    )


LOSSES = ["train_loss", "validation_loss"]


def mean_prior(runs: list[Run]) -> pd.DataFrame:
    """Average the runs' severity priors."""
    table = pd.concat([pd.DataFrame(run.config.prior) for run in runs])
    by_site = table.groupby(["condition", "level"], sort=False)
    return by_site[list(SEVERITIES)].mean().reset_index()


def read_history(path: Path) -> pd.DataFrame:
    """Read epoch, train_loss and validation_loss, in order of epochs.

    Losses are mean cross entropies a crop, each over its own set. Raises UserError
    for a file that is not whole.
    """
    try:
        table = _read_epochs(path)[["epoch", *LOSSES]].astype(float)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(_damaged(path)) from error
    if not np.isfinite(table).all(axis=None):
        raise UserError(_damaged(path))
    return table.sort_values("epoch", ignore_index=True)


def _read_epochs(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8") as lines:
            table = pd.read_json(lines, lines=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(_damaged(path)) from error
    if table.empty:
        raise UserError(f"{path} has no epoch; train the run {path.parent.name} again")
    return table


def _damaged(path: Path) -> str:
    return f"{path} is missing or damaged; train the run {path.parent.name} again"

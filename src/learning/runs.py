"""Run folders: a trained model that describes itself.

config.json says what was trained on what; history.jsonl has a line an epoch;
weights.safetensors the best weights; predictions.csv the test crops' probabilities.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from src.errors import InputError
from src.files import write_csv, write_json, write_text
from src.learning.backbones import load_state
from src.learning.device import choose_device
from src.learning.models import model_for
from src.learning.predictor import Predictor
from src.learning.run_config import RunConfig
from src.learning.settings import Epoch

STATE_FILE = "state.safetensors"  # of a training half way, see checkpoint.py


@dataclass(frozen=True)
class Run:
    """A finished run folder."""

    folder: Path
    config: RunConfig

    def history(self) -> pd.DataFrame:
        """Read the training's history, a row an epoch."""
        return pd.read_json(self.folder / "history.jsonl", lines=True)

    def predictions(self) -> pd.DataFrame:
        """Read the test crops' probabilities, a column a label."""
        return pd.read_csv(self.folder / "predictions.csv")

    def predictor(self) -> Predictor:
        """Put the trained model to work on this process's device."""
        side = self.config.settings["input_px"]
        return Predictor(self.model(), side, choose_device())

    def model(self) -> nn.Module:
        """Rebuild the trained model, on the CPU and ready to predict."""
        path = self.folder / "weights.safetensors"
        try:
            model = model_for(self.config)
            load_state(model, load_file(path))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{path} is missing or damaged; train the run again"
            ) from error
        return model.eval()


def part_folder(runs: Path, config: RunConfig) -> Path:
    """Where a run lies while it is trained: no reader takes it for a run."""
    return runs / f".{config.name}.part"


def write_history(epochs: list[Epoch], folder: Path) -> None:
    """Write the history so far, a line an epoch."""
    lines = (json.dumps(epoch.as_dict()) + "\n" for epoch in epochs)
    write_text("".join(lines), folder / "history.jsonl")


def publish_run(
    runs: Path, config: RunConfig, model: nn.Module, predictions: pd.DataFrame
) -> None:
    """Write what makes a run whole, then give its folder the name readers look for."""
    folder = part_folder(runs, config)
    write_csv(predictions, folder / "predictions.csv")
    state = {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / "weights.safetensors")
    write_json(config.described(), folder / "config.json")
    (folder / STATE_FILE).unlink(missing_ok=True)
    os.replace(folder, runs / config.name)


def finished(runs: Path, config: RunConfig) -> bool:
    """Say whether this very run is done; refuse another under its name."""
    folder = runs / config.name
    if not folder.is_dir():
        return False
    held, asked = read_run(folder).config.described(), config.described()
    if changed := [key for key in asked if held[key] != asked[key]]:
        raise InputError(
            f"{folder} holds a run with another {', '.join(changed)}: choose another "
            "--runs folder or another --seed, or delete it"
        )
    return True


def read_run(folder: Path) -> Run:
    """Open a finished run. Raises InputError where the folder is not one."""
    try:
        config = RunConfig(**json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder} is no finished run: its config.json is missing or of another "
            "version; train it again with train.py"
        ) from error
    return Run(folder, config)


def read_runs(runs: Path, task: str | None = None) -> list[Run]:
    """Open all finished runs in a folder, by name; `task` keeps one task's."""
    if not runs.is_dir():
        raise InputError(
            f"--runs {runs} is no folder: train a model there with train.py"
        )
    found = [read_run(folder) for folder in _folders(runs)]
    return [run for run in found if task in (None, run.config.task)]


def readable_runs(runs: Path, tell: Callable[[str], None]) -> list[Run]:
    """Open the finished runs that can be opened, and tell of those that cannot."""
    found = []
    for folder in _folders(runs):
        try:
            found.append(read_run(folder))
        except InputError as error:
            tell(f"Left aside: {error}")
    return found


def _folders(runs: Path) -> list[Path]:
    return sorted(path.parent for path in runs.glob("[!.]*/config.json"))

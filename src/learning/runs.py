"""Run folders: a trained model that describes itself.

config.json says what was trained on what; history.jsonl has a line an epoch;
weights.safetensors the best weights; predictions.csv the test crops' probabilities.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
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
        model = model_for(self.config)
        load_state(model, load_file(self.folder / "weights.safetensors"))
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
    write_json(asdict(config), folder / "config.json")
    (folder / STATE_FILE).unlink(missing_ok=True)
    os.replace(folder, runs / config.name)


def finished(runs: Path, config: RunConfig) -> bool:
    """Say whether this very run is done; refuse another under its name."""
    folder = runs / config.name
    if not folder.is_dir():
        return False
    held = read_run(folder).config
    if held != config:
        changed = [
            key for key in asdict(config) if getattr(held, key) != getattr(config, key)
        ]
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
    folders = sorted(path.parent for path in runs.glob("[!.]*/config.json"))
    found = [read_run(folder) for folder in folders]
    return [run for run in found if task in (None, run.config.task)]

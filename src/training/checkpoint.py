"""Resumable training checkpoint: tensors, and JSON in the header; nothing pickled.

A kill loses the epochs since the last file. They are trained again just as they were,
because all that is random follows from the seed, the epoch and the row.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from src.files import replacing

Tensors = dict[str, torch.Tensor]


class CheckpointError(Exception):
    """A checkpoint that no training can resume from; the message names the cause."""


@dataclass
class Checkpoint:
    """Where a training is.

    config: of the run, so that no other run resumes from it; epochs: the history so
    far; weights, best: the model's tensors now and at its best; optimizer, scaler:
    their state dicts; average: the moving average of the weights, if there is one.
    """

    config: dict[str, Any]
    epochs: list[dict[str, Any]] = field(default_factory=list)
    weights: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)


def save_checkpoint(state: Checkpoint, path: Path) -> None:
    """Write a checkpoint whole or not at all."""
    tensors = {f"weights.{name}": value for name, value in state.weights.items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for parameter, values in state.optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{parameter}.{name}"] = value
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    header = {
        "config": state.config,
        "epochs": state.epochs,
        "groups": state.optimizer["param_groups"],
        "numbers": numbers,
        "scaler": state.scaler,
    }
    # Clones, because safetensors refuses tensors that share memory, and it stores
    # them row by row in any memory layout.
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_tensors(whole, path, {"training": json.dumps(header)})


def write_tensors(
    tensors: Tensors, path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file whole or not at all; OSError where the disk refuses."""
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            if found := re.search(r"\(os error (\d+)\)", str(error)):
                number = int(found[1])
                raise OSError(number, os.strerror(number), str(path)) from error
            raise
        temporary.chmod(mode)  # save_file lets no other user read it


def load_checkpoint(path: Path, config: dict[str, Any]) -> Checkpoint | None:
    """Read the checkpoint of this very run; None where there is none.

    Raises CheckpointError for a file that is damaged or of another version.
    """
    if not path.is_file():
        return None
    with restoring(), safe_open(path, framework="pt") as stored:
        header = json.loads(stored.metadata()["training"])
        if header["config"] != json.loads(json.dumps(config)):
            return None
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a dict)
        return _assembled(config, header, tensors)


@contextmanager
def restoring() -> Iterator[None]:
    """Turn what a damaged checkpoint may raise within the block into CheckpointError.

    Its JSON may have any shape, and safetensors and torch have errors of their own.
    """
    try:
        yield
    except Exception as error:
        raise CheckpointError(type(error).__name__) from error


def _assembled(
    config: dict[str, Any], header: dict[str, Any], tensors: Tensors
) -> Checkpoint:
    """Put a checkpoint's parts together, as save_checkpoint took them apart."""
    names = ("weights", "best", "optimizer", "average")
    parts: dict[str, Tensors] = {name: {} for name in names}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    state: dict[int, dict[str, Any]] = {
        int(parameter): dict(values) for parameter, values in header["numbers"].items()
    }
    for name, value in parts["optimizer"].items():
        parameter, _, key = name.partition(".")
        state.setdefault(int(parameter), {})[key] = value
    return Checkpoint(
        config,
        header["epochs"],
        parts["weights"],
        parts["best"],
        {"state": state, "param_groups": header["groups"]},
        header["scaler"],
        parts["average"],
    )

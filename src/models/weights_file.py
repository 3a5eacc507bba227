"""Weights from a file as people have them: tensors by name, and never code."""

import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from src.errors import UserError

# Under which trainers keep a network's tensors beside their own state.
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
LFS_POINTER = b"version https://git-lfs"
WEB_PAGES = (b"<!doctype", b"<html")


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from .safetensors or from torch's own format.

    One that a trainer nested in its checkpoint is taken out. Raises UserError for a
    file that is damaged, of another kind, or whose loading would run code.
    """
    start = _start(path)
    safe = path.suffix == ".safetensors" or start[8:9] == b"{"
    try:
        held = load_file(path) if safe else _load(path)
    except SafetensorError as error:
        raise UserError(_damaged(path)) from error
    state = _tensors(held)
    if not state:
        raise UserError(
            f"--weights {path} holds no tensors by name, nor under {', '.join(NESTED)}:"
            " give a file of a network's state_dict()"
        )
    if not all(value.isfinite().all() for value in state.values()):
        raise UserError(
            f"--weights {path} holds numbers that are not finite, of a training that "
            "diverged: give other weights"
        )
    return state


def _start(path: Path) -> bytes:
    """Read a file's first bytes. Raises UserError for what cannot be weights."""
    if path.is_dir():
        raise UserError(f"--weights {path} is a folder: name the file in it")
    if not path.is_file():
        raise UserError(
            f"--weights {path} is no file: give none, imagenet or a .safetensors file"
        )
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(f"--weights {path} cannot be read: {error.strerror}") from error
    if not start:
        raise UserError(f"--weights {path} is empty: fetch it again")
    if start.startswith(LFS_POINTER):
        raise UserError(
            f"--weights {path} is a Git LFS pointer, not the weights: fetch them with "
            "git lfs pull"
        )
    if start.lstrip().lower().startswith(WEB_PAGES):
        raise UserError(
            f"--weights {path} is a web page, not the weights: fetch the file itself"
        )
    return start


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if "Unsupported" not in str(error):
            raise UserError(_damaged(path)) from error
        raise UserError(
            f"--weights {path} holds objects beside tensors, and loading them could "
            "run any code: save its state_dict() alone, best as .safetensors"
        ) from error
    except Exception as error:  # damaged, torch's reader may raise anything
        raise UserError(_damaged(path)) from error


def _tensors(held: Any) -> dict[str, torch.Tensor]:
    """Keep a state dict's tensors, taken out of what it is nested in."""
    if not isinstance(held, dict):
        return {}
    for name in NESTED:
        if inner := _tensors(held.get(name)):
            return inner
    return {str(n): v for n, v in held.items() if isinstance(v, torch.Tensor)}


def _damaged(path: Path) -> str:
    return (
        f"--weights {path} is damaged, or no state dict of .safetensors or .pth: fetch "
        "it again"
    )

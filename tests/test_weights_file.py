"""Weights as people have them: unpacked, or refused; code in them never runs."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from src.errors import UserError
from src.models.backbones import build
from src.models.heatmap_fpn import build_heatmap_fpn
from src.models.weights_file import read_state


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    """The weights of a small network."""
    torch.manual_seed(1)
    return build("resnet10t", 7).state_dict()


def prefixed(*prefixes: str) -> Callable[[dict], dict]:
    return lambda state: {"".join(prefixes) + n: v for n, v in state.items()}


SHAPES = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {"state": {}}},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.5},
    "nested twice": lambda state: {"model": {"state_dict": state}},
    "module": prefixed("module."),
    "model.backbone": prefixed("model.", "backbone."),
    "encoder": prefixed("encoder."),
    "lightning": lambda state: {"state_dict": prefixed("model.")(state), "epoch": 1},
    "with a head beside it": lambda state: {
        **prefixed("backbone.")(state),
        "head.weight": torch.zeros(2, 2),
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_state_dict_is_found_however_it_is_wrapped(
    shape: str, source: dict, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save(SHAPES[shape](source), path)
    loaded = build("resnet10t", 3, str(path)).state_dict()
    own = {name for name in source if not name.startswith("fc.")}
    assert all(torch.equal(loaded[name], source[name]) for name in own)


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_backbones_weights_fill_a_locators_encoder(
    prefix: str, source: dict, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(prefixed(prefix)(source), path)
    locator = build_heatmap_fpn("resnet10t", 4, str(path))
    first = next(iter(locator.encoder.state_dict().values()))
    assert torch.equal(first, next(iter(source.values())))


class Malicious:
    """An object that runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        """Choose the file that the command makes."""
        self.mark = mark

    def __reduce__(self) -> tuple:
        """Name the command."""
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch.save"])
@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors"])
def test_code_in_a_file_is_refused_and_not_run(
    plain: bool, name: str, source: dict, tmp_path: Path
) -> None:
    mark, path = tmp_path / "ran", tmp_path / name
    held = {"state_dict": source, "extra": Malicious(mark)}
    if plain:
        path.write_bytes(pickle.dumps({"extra": Malicious(mark)}))
    else:
        torch.save(held, path)
    with pytest.raises(UserError, match="safetensors"):
        read_state(path)
    assert not mark.exists()
    if plain and name == "w.pth":  # the file does what it is said to do
        pickle.loads(path.read_bytes())
        assert mark.exists()


def cut(path: Path, state: dict) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])


def zipped(path: Path, state: dict) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing of a network")


def broken_header(path: Path, state: dict) -> None:
    save_file(state, path)
    held = bytearray(path.read_bytes())
    held[10:20] = b"\xff" * 10
    path.write_bytes(held)


def cut_safetensors(path: Path, state: dict) -> None:
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-9])


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
FAULTS = {
    "folder": ("w.pth", lambda path, state: path.mkdir(), "is a folder"),
    "empty": ("w.pth", lambda path, state: path.touch(), "is empty"),
    "lfs": ("w.pth", lambda path, state: path.write_text(LFS), "git lfs pull"),
    "page": ("w.pth", lambda p, s: p.write_text("\n<!DOCTYPE html><html>"), "web page"),
    "text": ("w.pth", lambda path, state: path.write_text("hello"), "damaged"),
    "cut": ("w.pth", cut, "damaged"),
    "zip": ("w.pth", zipped, "damaged"),
    "list": ("w.pth", lambda path, state: torch.save([1, 2], path), "no tensors"),
    "no tensor": ("w.pth", lambda p, s: torch.save({"epoch": 1}, p), "no tensors"),
    "nan": ("w.pth", lambda p, s: torch.save({"a": torch.tensor(torch.nan)}, p), "fin"),
    "header": ("w.safetensors", broken_header, "damaged"),
    "cut safetensors": ("w.safetensors", cut_safetensors, "damaged"),
    "lfs safetensors": ("w.safetensors", lambda p, s: p.write_text(LFS), "lfs pull"),
    "short": ("w.safetensors", lambda p, s: p.write_bytes(b"abc"), "damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_of_no_weights_is_one_sentence(
    fault: str, source: dict, tmp_path: Path
) -> None:
    name, make, words = FAULTS[fault]
    make(tmp_path / name, source)
    with pytest.raises(UserError, match=words) as raised:
        read_state(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)

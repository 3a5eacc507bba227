"""Wheels in the kit: used where they fit, complained of where they do not."""

import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.errors import UserError
from src.kaggle import wheels
from src.kaggle.wheels import DECODERS, fetch_wheels, install_wheels


def write_wheel(folder: Path, tag: str = "py3-none-any") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_decoder-1.0-{tag}.whl"
    files = {
        "tiny_decoder.py": "",
        "tiny_decoder-1.0.dist-info/METADATA": (
            "Metadata-Version: 2.1\nName: tiny-decoder\nVersion: 1.0\n"
            "Requires-Dist: numpy>=99\n"
        ),
        "tiny_decoder-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        "tiny_decoder-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_wheel_that_fits_is_installed_without_dependencies(
    tmp_path: Path,
) -> None:
    write_wheel(tmp_path / "wheels")
    write_wheel(tmp_path / "wheels", "cp27-cp27m-win32")
    found = install_wheels(tmp_path / "wheels", tmp_path / "target")
    assert found == [tmp_path / "target"]
    assert (tmp_path / "target" / "tiny_decoder.py").is_file()


def test_a_wheel_that_does_not_fit_is_reported(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "cp27-cp27m-win32")
    with pytest.raises(UserError, match="do not fit this Python"):
        install_wheels(tmp_path / "wheels", tmp_path / "target")


def test_an_unpacked_wheel_is_used_as_it_is(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / "wheels")
    folder = path.with_suffix("")
    zipfile.ZipFile(path).extractall(folder)
    path.unlink()
    assert folder in install_wheels(tmp_path / "wheels", tmp_path / "target")


def test_a_kit_without_wheels_is_fine(tmp_path: Path) -> None:
    install_wheels(tmp_path / "absent", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def asked_of_pip(monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[list[str]]:
    """Let pip end with some codes; return what it was asked."""
    asked, left = [], iter(codes)

    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command[:3] == [sys.executable, "-m", "pip"]
        asked.append(command[3:])
        return SimpleNamespace(returncode=next(left))

    monkeypatch.setattr(wheels.subprocess, "run", run)
    return asked


def test_decoders_alone_are_fetched_for_both_of_kaggles_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of_pip(monkeypatch, 0, 0)
    fetch_wheels(tmp_path / "wheels")
    assert len(asked) == 2
    for words, python in zip(asked, ("3.12", "3.13"), strict=True):
        assert "download" in words
        assert {"--no-deps", "--only-binary=:all:", "--implementation=cp"} <= {*words}
        assert f"--python-version={python}" in words
        assert f"--dest={tmp_path / 'wheels'}" in words
        platforms = [word for word in words if word.startswith("--platform=")]
        assert all("x86_64" in word for word in platforms)
        assert tuple(words[-3:]) == DECODERS


def test_a_fetch_that_failed_names_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_of_pip(monkeypatch, 0, 1)
    with pytest.raises(UserError, match=r"for Python 3\.13; check the network"):
        fetch_wheels(tmp_path / "wheels")


def test_installing_asks_no_index_and_changes_no_other_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels")
    asked = asked_of_pip(monkeypatch, 0)
    install_wheels(tmp_path / "wheels", tmp_path / "target")
    [words] = asked
    assert {"install", "--no-index", "--no-deps"} <= {*words}
    assert f"--target={tmp_path / 'target'}" in words
    assert f"--find-links={tmp_path / 'wheels'}" in words
    assert words[-1] == "tiny_decoder"

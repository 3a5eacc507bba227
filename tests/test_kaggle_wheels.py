"""Wheels in the kit: used where they fit, complained of where they do not."""

import zipfile
from pathlib import Path

import pytest

from src.errors import InputError
from src.kaggle.wheels import install_wheels


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


def test_a_wheel_that_fits_is_installed_without_what_it_asks_for(
    tmp_path: Path,
) -> None:
    write_wheel(tmp_path / "wheels")
    write_wheel(tmp_path / "wheels", "cp27-cp27m-win32")
    found = install_wheels(tmp_path / "wheels", tmp_path / "target")
    assert found == [tmp_path / "target"]
    assert (tmp_path / "target" / "tiny_decoder.py").is_file()


def test_a_wheel_that_does_not_fit_is_complained_of(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "cp27-cp27m-win32")
    with pytest.raises(InputError, match="do not fit this Python"):
        install_wheels(tmp_path / "wheels", tmp_path / "target")


def test_an_unpacked_wheel_is_used_as_it_is(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / "wheels")
    folder = path.with_suffix("")
    zipfile.ZipFile(path).extractall(folder)
    path.unlink()
    assert folder in install_wheels(tmp_path / "wheels", tmp_path / "target")


def test_no_wheels_are_no_matter(tmp_path: Path) -> None:
    install_wheels(tmp_path / "absent", tmp_path / "target")
    assert not (tmp_path / "target").exists()

"""Wheels that Kaggle's image lacks: decoders of compressed DICOM pixels.

They are optional: without them a file that needs one is listed as unreadable.
"""

import subprocess
import sys
from pathlib import Path

from src.errors import UserError

DECODERS = ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
PYTHONS = ("3.12", "3.13")  # Kaggle's, and what it may move to
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")


def fetch_wheels(folder: Path) -> None:
    """Download the wheels for Kaggle's Python, which is not this one."""
    platforms = [f"--platform={name}" for name in PLATFORMS]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    for python in PYTHONS:
        target = [f"--python-version={python}", "--implementation=cp", *platforms]
        if _pip("download", *options, *target, *DECODERS):
            raise UserError(
                f"pip could not fetch the decoders' wheels for Python {python}; check "
                "the network, or bundle without --wheels."
            )


def install_wheels(folder: Path, target: Path) -> list[Path]:
    """Install the wheels in `folder` to `target`; return the folders to import from.

    No dependencies: an upgrade of numpy would break Kaggle's image. A wheel that Kaggle
    has unpacked is used as it is. Raises UserError if one has none that fits.
    """
    names = {path.name.partition("-")[0] for path in folder.glob("*.whl")}
    options = ["--quiet", "--no-index", "--no-deps", f"--target={target}"]
    if names and _pip("install", *options, f"--find-links={folder}", *sorted(names)):
        raise UserError("The kit's decoders do not fit this Python")
    return [target, *(path for path in sorted(folder.glob("*-*")) if path.is_dir())]


def _pip(*arguments: str) -> int:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode

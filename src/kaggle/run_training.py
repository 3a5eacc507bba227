"""What the training notebook runs: the kit's scripts, one after the other."""

import shutil
import subprocess
import sys
from pathlib import Path


def prepare(kit: Path, data: Path, cache: Path, flags: list[str]) -> None:
    """Cut the crops."""
    _call([kit / "input_prep.py", "--data", data, "--cache", cache, *flags])


def train(kit: Path, cache: Path, runs: Path, flags: list[str]) -> None:
    """Train with one process a GPU; without GPUs, with one."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    where = ["--cache", cache, "--runs", runs]
    _call([*launcher, max(1, gpu_count()), kit / "train.py", *where, *flags])


def evaluate(kit: Path, cache: Path, runs: Path, out: Path) -> None:
    """Write the report."""
    _call([kit / "evaluate.py", "--cache", cache, "--runs", runs, "--out", out])


def gpu_count() -> int:
    """Count the GPUs by asking the driver: torch in the notebook would hold one."""
    if not shutil.which("nvidia-smi"):
        return 0
    command = ["nvidia-smi", "--list-gpus"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed.stdout.count("GPU ")


def _call(command: list[object]) -> None:
    subprocess.run([sys.executable, *map(str, command)], check=True)

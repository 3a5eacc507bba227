"""What the training notebook runs: the kit's scripts, one after the other."""

import argparse
import subprocess
import sys
from pathlib import Path

from src.machine import gpus


def prepare(kit: Path, data: Path, cache: Path, flags: list[str]) -> None:
    """Cut the crops."""
    _call([kit / "input_prep.py", "--data", data, "--cache", cache, *flags])


def train(kit: Path, cache: Path, runs: Path, flags: list[str]) -> None:
    """Train a run a GPU, or a single run on all GPUs; without GPUs, in one process.

    `--jobs 1` among the flags trains each of several runs on all GPUs, one after the
    other, for networks that do not fit one.
    """
    where = ["--cache", cache, "--runs", runs]
    count = len(gpus())
    if count > 1 and _has_several_runs(flags):
        _call([kit / "train.py", *where, "--jobs", count, *flags])
        return
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    _call([*launcher, max(1, count), kit / "train.py", *where, *flags])


def evaluate(kit: Path, cache: Path, runs: Path, out: Path) -> None:
    """Write the report."""
    _call([kit / "evaluate.py", "--cache", cache, "--runs", runs, "--out", out])


def _has_several_runs(flags: list[str]) -> bool:
    """Return whether train.py's flags name several runs, and nothing against --jobs."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--backbone", "--folds"):
        parser.add_argument(name, nargs="+", default=[""])
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--tune")
    known, _ = parser.parse_known_args(flags)
    many = known.backbone == ["paper"] or known.folds == ["all"]
    several = many or len(known.backbone) * len(known.folds) > 1
    return several and known.jobs != 1 and not known.tune


def _call(command: list[object]) -> None:
    subprocess.run([sys.executable, *map(str, command)], check=True)

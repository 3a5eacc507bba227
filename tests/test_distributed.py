"""Two processes on one machine train as one does, by gloo on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Trains a network without batch normalisation: its statistics alone would differ
# between a batch and its halves.
PROGRAM = """
import json, sys
sys.path[:0] = [".", "tests"]
from dataclasses import replace
import torch
from learning_crops import QUIET, crop_set, trainer
from src.learning import distributed

torch.set_num_threads(1)
with distributed.process_group():
    crops = crop_set(46)
    settings = replace(QUIET, epochs=3, augment=0.4, lr=3e-4)
    one = trainer(settings, "convnext_atto")
    one.precision = torch.float32  # bfloat16, where a CPU has it, rounds more
    one.fit(crops, crops)
    logits = one.logits(crops)
    if distributed.rank() == 0:
        losses = [[e.train_loss, e.validation_loss] for e in one.epochs]
        told = {"losses": losses, "logits": logits.tolist()}
        open(sys.argv[1], "w").write(json.dumps(told))
"""


def trained(folder: Path, *launcher: str) -> dict:
    program, told = folder / "program.py", folder / "told.json"
    program.write_text(PROGRAM)
    told.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, *launcher, str(program), str(told)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text())


def test_two_processes_reach_what_one_reaches(tmp_path: Path) -> None:
    alone = trained(tmp_path)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    together = trained(tmp_path, *torchrun)
    for one, two in zip(alone["losses"], together["losses"], strict=True):
        assert two == pytest.approx(one, rel=2e-3, abs=1e-4)
    for one, two in zip(alone["logits"], together["logits"], strict=True):
        assert two == pytest.approx(one, abs=0.02)

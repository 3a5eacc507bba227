"""Two processes on one machine train as one does, by gloo on the CPU."""

import json
import os
import socket
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
from toy_crops import QUIET, crop_set, fit, trainer
from src.training import distributed

torch.set_num_threads(1)
with distributed.process_group():
    crops = crop_set(46)
    settings = replace(QUIET, epochs=3, augment=0.4, lr=3e-4)
    one = trainer(settings, "convnext_atto")
    one.precision = torch.float32  # bfloat16, where a CPU has it, rounds more
    fit(one, crops, crops)
    logits = one.logits(crops, 12)
    if distributed.rank() == 0:
        losses = [[e.train_loss, e.validation_loss] for e in one.epochs]
        told = {"losses": losses, "logits": logits.tolist()}
        open(sys.argv[1], "w").write(json.dumps(told))
"""


# A group of one, left by a model that is still held: as a global, or by a traceback.
ENDING = """
import pathlib, sys
sys.path[:0] = [".", "tests"]
from dataclasses import replace
from toy_crops import QUIET, crop_set, fit, trainer
from src.training import distributed

class Stop(Exception):
    pass

def names():
    tasks = pathlib.Path("/proc/self/task").glob("*/comm")
    return {task.read_text().strip() for task in tasks}

one = trainer(replace(QUIET, epochs=1))
crops = crop_set()
if sys.argv[1] == "stopped":
    kind, given = type(crops), []
    plain = kind.__getitem__
    def cut_short(self, key):
        if given:
            raise Stop
        given.append(key)
        return plain(self, key)
    kind.__getitem__ = cut_short
before = names()
held = None
try:
    with distributed.process_group():
        assert names() - before  # it does have threads to leave behind
        fit(one, crops, crops)
        assert names() - before
except Stop as error:
    held = error
assert (held is not None) == (sys.argv[1] == "stopped")
print(sorted(names() - before))
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


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed by Linux")
@pytest.mark.parametrize("way", ["to its end", "stopped"])
def test_no_thread_of_a_process_group_outlives_it(way: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ENDING, way],
        cwd=ROOT,
        env={**os.environ, **group, "RANK": "0", "LOCAL_RANK": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"  # gloo may print before it

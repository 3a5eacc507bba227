"""Two processes on one machine train as one does, by gloo on the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import UserError
from src.training.distributed import process_group, rank, world_size

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


LAUNCHED = {
    **{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": None}, "sets WORLD_SIZE and not RANK"),
        ({"WORLD_SIZE": None}, "sets RANK and not WORLD_SIZE"),
        ({"LOCAL_RANK": None}, "not LOCAL_RANK"),
        ({"MASTER_ADDR": None}, "not MASTER_ADDR"),
        ({"RANK": "first"}, "RANK to 'first', no whole number"),
        ({"RANK": "2"}, "RANK to 2, not below WORLD_SIZE, 2"),
    ],
    ids=str,
)
def test_what_torchrun_sets_by_halves_is_one_sentence(
    change: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (LAUNCHED | change).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words), process_group():
        pytest.fail("joined half a group")


def test_without_torchrun_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")  # as some clusters always set
    with process_group():
        assert (rank(), world_size()) == (0, 1)

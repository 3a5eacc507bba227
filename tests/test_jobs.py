"""Runs side by side: who gets which GPU or threads, what is printed, what fails."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

import train as train_py
from src import machine
from src.errors import UserError
from src.machine import Gpu
from src.training.jobs import GRACE_S, SHARED_THREADS, SideBySide, Slot, slots

ROOT = Path(__file__).parents[1]


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the numbers of cores and GPUs, without limits on threads."""
    for name in SHARED_THREADS:
        monkeypatch.delenv(name, raising=False)

    def choose(cores: int, *tokens: str) -> None:
        gpus = tuple(Gpu(token, "T4", 15.0) for token in tokens)
        monkeypatch.setattr(machine, "cores", lambda: cores)
        monkeypatch.setattr(machine, "gpus", lambda: gpus)

    return choose


def shown(slot: Slot) -> str | None:
    return slot.get("CUDA_VISIBLE_DEVICES")


def threads(slot: Slot) -> set[str]:
    return {slot[name] for name in SHARED_THREADS}


def test_each_gpu_has_one_run_at_a_time_and_the_cap_is_told(hardware: Callable) -> None:
    hardware(4, "1", "3")
    told: list[str] = []
    given = slots(5, 6, told.append)
    assert [shown(slot) for slot in given] == ["1", "3"]
    assert [threads(slot) for slot in given] == [{"2"}, {"2"}]
    assert told == ["--jobs 5 is more than this machine's 2 GPUs: 2 at a time"]


@pytest.mark.parametrize(
    ("cores", "jobs", "runs", "count", "each"),
    [(16, 3, 5, 3, "5"), (16, 8, 2, 2, "8"), (2, 4, 9, 2, "1"), (1, 2, 2, 1, "1")],
)
def test_a_cpus_threads_are_shared_out(
    hardware: Callable, cores: int, jobs: int, runs: int, count: int, each: str
) -> None:
    hardware(cores)
    told: list[str] = []
    given = slots(jobs, runs, told.append)
    assert len(given) == count
    assert all(threads(slot) == {each} and shown(slot) is None for slot in given)
    assert bool(told) == (count < min(jobs, runs))


def test_threads_that_the_user_pins_stay_pinned(
    hardware: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware(8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    [one, other] = slots(2, 2, print)
    assert one["OMP_NUM_THREADS"] == other["OMP_NUM_THREADS"] == "3"
    assert one["MKL_NUM_THREADS"] == "4"


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_lines_are_passed_on_with_their_runs_label() -> None:
    told: list[str] = []
    commands = {
        "a": script("print('one\\n\\n  two')"),
        "long": script("import sys; print('three', file=sys.stderr)"),
    }
    assert SideBySide([{}], told.append).run(commands) == {}
    assert told == ["a    | one", "a    |   two", "long | three"]


def test_a_run_finds_its_slots_variables() -> None:
    told: list[str] = []
    seen = script("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    slot = {"CUDA_VISIBLE_DEVICES": "7"}
    SideBySide([slot], told.append).run({"a": seen, "b": seen})
    assert sorted(told) == ["a | 7", "b | 7"]


def test_runs_in_two_slots_run_at_the_same_time(tmp_path: Path) -> None:
    # Each waits for the other's file: one after the other, the first would give up.
    meet = (
        "import pathlib, sys, time\n"
        "own, other = map(pathlib.Path, sys.argv[1:])\n"
        "own.touch()\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "sys.exit(not other.exists())"
    )
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    commands = {"a": [*script(meet), one, other], "b": [*script(meet), other, one]}
    assert (
        SideBySide([{"SLOT": "0"}, {"SLOT": "1"}], lambda line: None).run(commands)
        == {}
    )


def test_no_slot_has_two_runs_at_once(tmp_path: Path) -> None:
    alone = (
        "import os, sys, time\n"
        f"folder = os.path.join({str(tmp_path)!r}, os.environ['SLOT'])\n"
        "os.mkdir(folder); time.sleep(0.05); os.rmdir(folder)"
    )
    commands = {str(number): script(alone) for number in range(6)}
    places = [{"SLOT": "0"}, {"SLOT": "1"}]
    assert SideBySide(places, lambda line: None).run(commands) == {}


def test_a_failed_run_is_told_and_the_others_finish(tmp_path: Path) -> None:
    told: list[str] = []
    commands = {
        "sentence": script("import sys; sys.exit('train.py: the disk is full.')"),
        "killed": script("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        "silent": script("import sys; sys.exit(3)"),
        "good": script(f"open({str(tmp_path / 'done')!r}, 'w')"),
    }
    assert SideBySide([{}], told.append).run(commands) == {
        "sentence": "train.py: the disk is full.",
        "killed": "killed by signal 9, most likely out of memory",
        "silent": "exit code 3",
    }
    assert (tmp_path / "done").exists()
    assert [line for line in told if "FAILED" in line] == [
        "sentence | FAILED: exit code 1",
        "killed   | FAILED: killed by signal 9, most likely out of memory",
        "silent   | FAILED: exit code 3",
    ]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt: a shell's background jobs, tests too, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_runs_and_starts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.training.jobs.GRACE_S", 0.2)
    started = f"import os, time; open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w')"
    commands = {name: script(f"{started}; time.sleep(60)") for name in "abc"}

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        SideBySide([{}, {}], lambda line: None).run(commands)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# A parent that runs commands side by side and is sent signals. Each run touches its
# file, then ends a little after SIGTERM with a second file.
PARENT = """
import sys
from src.training import jobs
jobs.GRACE_S = float(sys.argv[3])
run = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
jobs.SideBySide([{}, {}], print).run({name: [*run, name] for name in "abc"})
"""
RUN = """
import os, pathlib, signal, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def end(*_):
    time.sleep(0.5)
    (folder / f"{name}.ended").touch()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
(folder / name).write_text(str(os.getpid()))
time.sleep(60)
"""


STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(pathlib.Path(sys.argv[1]) / sys.argv[2]).write_text(str(os.getpid()))
time.sleep(20)
"""


def terminate(folder: Path, run: str, grace_s: float, times: int) -> float:
    """Send SIGTERM to a parent of two runs; return the seconds until it has ended."""
    command = [sys.executable, "-c", PARENT, str(folder), run, str(grace_s)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # a file is there just before it is written
    sent = time.monotonic()
    for _ in range(times):
        parent.terminate()
        time.sleep(0.2)
    told, _ = parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGTERM
    assert told == "Terminated; run the same command again to resume.\n"
    for path in folder.glob("?"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)
    return time.monotonic() - sent


def test_a_terminated_command_ends_its_runs_and_then_itself(tmp_path: Path) -> None:
    assert terminate(tmp_path, RUN, GRACE_S, 1) < GRACE_S  # the runs are told at once
    ended = {path.name for path in tmp_path.iterdir()}
    assert ended == {*("a", "a.ended", "b", "b.ended")}


def test_runs_that_ignore_it_are_killed_whatever_else_is_sent(tmp_path: Path) -> None:
    assert terminate(tmp_path, STUBBORN, 1.0, 2) < 10
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_after_the_runs_a_signal_does_what_it_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    SideBySide([{}], print).run({"a": script("pass")})
    assert signal.getsignal(signal.SIGTERM) is before


def test_runs_start_from_any_thread() -> None:
    failed: list[dict[str, str]] = []
    sides = SideBySide([{}], lambda line: None)
    other = threading.Thread(
        target=lambda: failed.append(sides.run({"a": script("pass")}))
    )
    other.start()
    other.join()
    assert failed == [{}]


# Which runs train.py starts


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The commands that --jobs starts, by label, none of which is run."""
    commands: dict[str, list[str]] = {}
    monkeypatch.setattr(
        SideBySide, "run", lambda _, given: commands.update(given) or {}
    )
    monkeypatch.setattr(train_py, "configure", lambda *given: Named(given[-1]))
    monkeypatch.setattr(train_py, "finish", lambda args: print("finish"))

    def finished(runs: Path, config: Named) -> bool:
        if config.name == "2":
            raise UserError("this folder holds another run")
        return (runs / config.name).is_dir()

    monkeypatch.setattr("src.training.run_folder.is_finished", finished)
    return commands


class Named(NamedTuple):
    """A configuration of which nothing but the name counts."""

    name: str


def side_by_side(runs: Path, *folds: str) -> None:
    train_py.train_side_by_side(
        SimpleNamespace(
            backbone=["resnet10t"], folds=folds, only=None, runs=runs, jobs=2
        ),
        None,
        None,
    )


def test_finished_runs_are_told_and_not_started(
    started: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "0").mkdir()
    side_by_side(tmp_path, "0", "1", "2")
    assert list(started) == ["resnet10t 1", "resnet10t 2"]
    told = capsys.readouterr().out
    assert f"{tmp_path / '0'} exists: not trained again\n" in told
    assert told.count("not trained again") == 1


def test_a_command_whose_runs_are_all_finished_only_finishes(
    started: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "0").mkdir()
    side_by_side(tmp_path, "0")
    assert started == {}
    assert capsys.readouterr().out.splitlines()[1:] == ["finish"]


# train.py --jobs as a user runs it


def train(
    cache: Path, runs: Path, *flags: object, **variables: str
) -> subprocess.CompletedProcess:
    command = [
        *(sys.executable, "train.py", "--cache", cache, "--runs", runs),
        *("--task", "severity", "--backbone", "resnet10t", "--epochs", 2, *flags),
    ]
    return subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def cache(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of small crops."""
    cache = tmp_path_factory.mktemp("jobs") / "cache"
    given = ["--data", phantom, "--cache", cache, "--crop-px", "32", "--no-overviews"]
    command = [sys.executable, "input_prep.py", *map(str, given)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return cache


@pytest.mark.slow
def test_runs_side_by_side_are_the_same_bytes_and_survive_a_failed_one(
    cache: Path, tmp_path: Path
) -> None:
    apart, beside = tmp_path / "apart", tmp_path / "beside"
    pinned = dict.fromkeys(SHARED_THREADS, "1")
    one_by_one = train(cache, apart, "--folds", 0, 1, **pinned)
    assert one_by_one.returncode == 0, one_by_one.stderr
    name = "severity-resnet10t-neighbours-study-fold{}-seed0"
    (beside / name.format(2)).mkdir(parents=True)  # damaged: no config.json
    flags = ("--folds", 0, 1, 2, "--jobs", 2, "--loader-workers", 1)
    done = train(cache, beside, *flags, **pinned)
    assert done.returncode == 1
    [told] = done.stderr.strip().splitlines()
    assert "1 of 3 runs failed" in told
    assert name.format(2) in told
    assert "is no finished run" in done.stdout
    assert "Calibrated 2 severity runs" in done.stdout
    assert done.stdout.count("Next: ") == 1
    assert "Calibrated" not in done.stdout.split("Next: ")[1]
    for fold in (0, 1):
        for file in ("weights.safetensors", "predictions.csv", "config.json"):
            paths = [runs / name.format(fold) / file for runs in (apart, beside)]
            first, second = (path.read_bytes() for path in paths)
            assert first == second, file
    again = train(cache, beside, *flags[:3], "--jobs", 2, **pinned)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("exists: not trained again") == 2
    assert "FAILED" not in again.stdout
    assert " | " not in again.stdout  # a line of a run's own process
    calibrations = [runs / "calibration.json" for runs in (apart, beside)]
    first, second = (path.read_bytes() for path in calibrations)
    assert first == second

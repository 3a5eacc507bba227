"""The same seed gives the same bytes on the CPU, over any number of workers.

Over another number of threads sums of floats are rounded in another order: what that
changes is measured and reported, not forbidden.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from child_preparations import Preparation, fork_workers
from results import differing, results
from script_child import succeed
from small_commands import Workplace, make_workplace

from src.competition.constants import SEVERITIES

pytestmark = pytest.mark.trust

Record = Callable[[str, object], None]
TASKS = ("condition", "severity", "location")
WORKERS = (1, 2, 3)
LOADER_WORKERS = (0, 2, 3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return make_workplace(tmp_path_factory.mktemp("determinism"))


def use_threads(number: int) -> None:
    """Compute on some threads."""
    torch.set_num_threads(number)
    assert torch.get_num_threads() == number


def train_all(
    place: Workplace,
    runs: Path,
    *flags: object,
    prepare: Sequence[Preparation] = (),
) -> dict[str, bytes]:
    """Train a run of each task; return what they leave."""
    for task in TASKS:
        command = place.train(runs, *flags, task=task)
        succeed(place.log, *command, prepare=prepare)
    return results(runs)


def predict(
    place: Workplace, runs: Path, prepare: Sequence[Preparation] = ()
) -> dict[str, bytes]:
    """Predict the test studies from some runs; return what that leaves.

    A location run trained for three epochs finds nothing: one that does stands in.
    """
    here = Workplace(runs.parent / f"{runs.name}-place")
    shutil.copytree(runs, here.folder / "runs")
    shutil.rmtree(next((here.folder / "runs").glob("location-*")))
    [finds] = (place.folder / "runs").glob("location-*")
    shutil.copytree(finds, here.folder / "runs" / finds.name)
    (here.folder / "data").symlink_to(place.data)
    out = here.folder / "out"
    succeed(place.log, *here.predict(out), prepare=prepare)
    assert (pd.read_csv(out / "findings.csv")["source"] != "prior").any()
    return results(out)


def test_a_cache_is_the_same_over_any_number_of_workers(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    expected = results(place.folder / "cache")
    assert {"crops.npy", "overviews.npy", "folds.csv"} <= expected.keys()
    for workers in WORKERS:
        out = tmp_path / f"{workers}"
        succeed(place.log, *place.prep(out, workers), prepare=[fork_workers])
        assert differing(results(out), expected) == []
    spawned = tmp_path / "spawned"
    succeed(place.log, *place.prep(spawned))
    assert differing(results(spawned), expected) == []
    record_property(f"files of a cache alike over {WORKERS} workers", len(expected))


def test_another_seed_gives_other_folds_and_weights(
    place: Workplace, tmp_path: Path
) -> None:
    """Otherwise sameness would show nothing."""
    other = tmp_path / "cache"
    command = (*place.prep(other), "--seed", 1)
    succeed(place.log, *command, prepare=[fork_workers])
    assert "folds.csv" in differing(results(other), results(place.folder / "cache"))
    succeed(place.log, *place.train(tmp_path / "a"))
    succeed(place.log, *place.train(tmp_path / "b", "--seed", 1))
    left = [
        next((tmp_path / name).glob("*/weights.safetensors")).read_bytes()
        for name in ("a", "b")
    ]
    assert left[0] != left[1]


def test_runs_and_submission_are_the_same_over_any_number_of_loader_workers(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    runs, submissions = [], []
    for number, workers in enumerate((LOADER_WORKERS[0], *LOADER_WORKERS)):
        folder = tmp_path / f"runs{number}"
        runs.append(train_all(place, folder, "--loader-workers", workers))
        submissions.append(predict(place, folder))
    assert len(runs[0]) >= 4 * len(TASKS)
    for again, answers in zip(runs[1:], submissions[1:], strict=True):
        assert differing(again, runs[0]) == []
        assert differing(answers, submissions[0]) == []
    name = f"files of runs and submissions alike over {LOADER_WORKERS} loader workers"
    record_property(name, len(runs[0]) + len(submissions[0]))


def test_threads_change_no_more_than_the_rounding(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    left, answers = {}, {}
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        folder = tmp_path / name
        threaded = [partial(use_threads, threads)]
        left[name] = train_all(place, folder, prepare=threaded)
        answers[name] = predict(place, folder, prepare=threaded)
    fixed = differing(left["two"], left["again"])
    fixed += differing(answers["two"], answers["again"])
    other = differing(left["one"], left["two"])
    apart = _apart(tmp_path, "one", "two")
    record_property("files that differ between runs on 2 threads", len(fixed))
    record_property("files that differ between 1 and 2 threads", len(other))
    name = "most that probabilities differ by, trained on 1 and 2 threads"
    record_property(name, float(f"{apart:.2g}"))
    assert fixed == []
    # The same weights read on other threads: a rounding, where a training adds it up.
    runs = tmp_path / "same"
    shutil.copytree(tmp_path / "one", runs)
    predict(place, runs, prepare=[partial(use_threads, 2)])
    rounding = _apart(tmp_path, "one", "same")
    name = "most that probabilities differ by, one run read on 1 and 2 threads"
    record_property(name, float(f"{rounding:.2g}"))
    assert rounding < 1e-3


def _apart(folder: Path, one: str, other: str) -> float:
    """Return the largest difference between two submissions' probabilities."""
    tables = [
        pd.read_csv(folder / f"{name}-place" / "out" / "submission.csv")
        for name in (one, other)
    ]
    assert tables[0]["row_id"].equals(tables[1]["row_id"])
    first, second = (table[list(SEVERITIES)].to_numpy() for table in tables)
    return float(np.abs(first - second).max())

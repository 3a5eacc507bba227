"""`kill -9` at random moments: the rerun's result is the undisturbed run's.

Half of the moments are drawn over the duration of the undisturbed run; a quarter are
right before or after a rename, when one file has its final name and the next has not; a
quarter are in the midst of a write.
"""

import io
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from child_preparations import (
    Preparation,
    count_renames,
    die_at_rename,
    die_in_write,
    fork_workers,
    save_each_epoch,
)
from results import differing, results, strays
from scattered import scatter
from script_child import TIMEOUT_S, ScriptChild
from small_commands import Words, Workplace, make_workplace

from src.competition.constants import SERIES_DESCRIPTIONS
from src.competition.tables import TEST_SERIES_FILE

pytestmark = pytest.mark.trust

SEED = 12
KILLS = 10
MOMENTS = ("clock", "clock", "rename", "write")
Command = Callable[[Path], Words]
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Undisturbed:
    """A command, by the folder it writes to, and what it leaves there when let be.

    seconds: how long it took; renames: of its own process.
    """

    command: Command
    prepare: Sequence[Preparation]
    expected: dict[str, bytes]
    seconds: float
    renames: int


def undisturbed(
    scratch: Path,
    command: Command,
    prepare: Sequence[Preparation] = (),
) -> Undisturbed:
    """Run a command twice, the second time by the clock."""
    for name in ("first", "second"):
        out = fresh(scratch / name)
        noted = scratch / f"{name}-renames"
        counting = partial(count_renames, noted)
        child = ScriptChild(scratch / "log", command(out), [*prepare, counting])
        ended = child.end()
        assert ended.code == 0, ended.err
        seconds = child.seconds()
    left = [results(scratch / name) for name in ("first", "second")]
    assert differing(*left) == []
    renames = len(noted.read_text().splitlines())
    return Undisturbed(command, prepare, left[0], seconds, renames)


def fresh(folder: Path) -> Path:
    """Make an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def draw_moment(
    one: Undisturbed, draw: random.Random
) -> tuple[str, list[Preparation], float]:
    """Draw a moment: its name, what kills the child from within, when from without."""
    kind = draw.choice(MOMENTS)
    if kind == "rename":
        number, after = draw.randint(1, one.renames), draw.random() < 0.5
        name = f"{'after' if after else 'before'} rename {number}"
        return name, [partial(die_at_rename, number, after)], TIMEOUT_S
    if kind == "write":
        size = int(len(draw.choice([*one.expected.values()])) * draw.random())
        name = f"in a write beyond {size} bytes"
        return name, [partial(die_in_write, size)], TIMEOUT_S
    seconds = draw.uniform(0, one.seconds)
    return f"after {seconds:.3f} of {one.seconds:.3f} s", [], seconds


def killed_once(one: Undisturbed, scratch: Path, out: Path, draw: random.Random) -> str:
    """Kill a command at a moment drawn at random; return the moment.

    One that ends before its moment, since a busy machine's clock is no measure, starts
    over with another moment.
    """
    while True:
        fresh(out)
        moment, dying, seconds = draw_moment(one, draw)
        prepare = [*one.prepare, *dying]
        child = ScriptChild(scratch / "log", one.command(out), prepare)
        child.process.join(seconds)
        child.kill()
        if child.process.exitcode == -signal.SIGKILL:
            return moment


def kill_and_rerun(
    one: Undisturbed, scratch: Path, seed: int, record: Record, what: str
) -> None:
    """Kill a command KILLS times, run it again each time, and compare."""
    draw = random.Random(seed)
    out = scratch / "out"
    left = after = 0
    wrong = []
    for _ in range(KILLS):
        moment = killed_once(one, scratch, out, draw)
        left += len(strays(out))
        again = ScriptChild(scratch / "log", one.command(out), one.prepare).end()
        differ = differing(results(out), one.expected) if again.code == 0 else ["all"]
        after += len(strays(out))
        print(f"{what} killed {moment}: {differ or 'the same'}")
        if differ:
            wrong.append((moment, differ, again.err))
    record(f"kills of {what}", KILLS)
    record("reruns like the undisturbed run", KILLS - len(wrong))
    record("temporary files left by the kills", left)
    record("temporary files left after the reruns", after)
    assert wrong == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return make_workplace(tmp_path_factory.mktemp("kill"))


def test_a_killed_prep_resumes_to_the_same_cache(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    def prep(cache: Path) -> Words:
        return (*place.prep(cache), "--views", "all")

    one = undisturbed(tmp_path, prep, prepare=[fork_workers])
    views = pd.read_csv(io.BytesIO(one.expected["crops.csv"]))["view"]
    assert set(views) == {"own", *SERIES_DESCRIPTIONS}
    assert {"crops.npy", "crops.csv", "rejects.csv", "folds.csv", "overviews.npy"} <= (
        one.expected.keys()
    )
    kill_and_rerun(one, tmp_path, SEED, record_property, "prep")


def test_a_killed_import_resumes_to_the_same_test_set(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    images, rows = place.data / "test_images", place.data / TEST_SERIES_FILE
    listed = pd.read_csv(rows)
    types = dict(zip(listed["series_id"], listed["series_description"], strict=True))
    scatter(images, tmp_path / "source", types)

    def imported(data: Path) -> Words:
        source = ("--import", tmp_path / "source", "--data", data)
        return ("input_prep.py", *source, "--workers", 2)

    one = undisturbed(tmp_path, imported, prepare=[fork_workers])
    assert {"import.csv", "series_types.csv", TEST_SERIES_FILE} <= one.expected.keys()
    assert sum(name.endswith(".dcm") for name in one.expected) == 57
    kill_and_rerun(one, tmp_path, SEED + 3, record_property, "import")


def test_a_killed_training_resumes_to_the_same_run(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    one = undisturbed(tmp_path, place.train, prepare=[save_each_epoch])
    names = {Path(name).name for name in one.expected}
    assert {"weights.safetensors", "history.jsonl", "predictions.csv"} <= names
    assert "calibration.json" in names
    kill_and_rerun(one, tmp_path, SEED + 1, record_property, "training")


def test_a_killed_prediction_is_made_again(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    one = undisturbed(tmp_path, place.predict)
    assert one.expected.keys() == {"submission.csv", "findings.csv"}
    kill_and_rerun(one, tmp_path, SEED + 2, record_property, "prediction")

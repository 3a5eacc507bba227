"""Damages to images, tables, caches, runs and folders, each through the scripts.

Each damage is done to a copy of a small sound cohort, cache or run, and the script that
meets it is run. It must list what it cannot use with the reason, or refuse with one
sentence and exit code 1; a prediction must always write a whole valid submission. What
is not damaged must have the answers that it has without the damage, to the last bit.
"""

import csv
import math
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import FrameType
from unittest import mock

import damaged_dicom
import damaged_runs
import damaged_tables
import numpy as np
import pandas as pd
import pytest
import torch
from damage import COPED, REFUSED, REJECTED, UNCHANGED, Damage, Outcome
from in_process import NOBODY, Result, ordinary_user, run
from small_cohort import (
    BACKBONE,
    TEST,
    TRAINING,
    series_id,
    write_cohort,
    write_run,
)

from src.cache import build_crops
from src.competition import submission
from src.competition.constants import SAGITTAL_T1
from src.competition.tables import TEST_SERIES_FILE

pytestmark = pytest.mark.trust

LIMIT_S = 60  # a script that waits for ever fails
MAX_SENTENCE = 600  # characters
DAMAGED, DAMAGED_TEST = TRAINING[0], TEST[0]
SITE = ["study_id", "series_id", "instance_number", "condition", "level"]
# Written out, not taken from the kit.
ROWS = [
    f"{condition}_{level}"
    for condition, level in product(
        [
            "left_neural_foraminal_narrowing",
            "left_subarticular_stenosis",
            "right_neural_foraminal_narrowing",
            "right_subarticular_stenosis",
            "spinal_canal_stenosis",
        ],
        ["l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1"],
    )
]
EXCEPTION = re.compile(r"Traceback|\b[A-Z]\w*(?:Error|Exception|Warning):")


@dataclass(frozen=True)
class Sound:
    """What the scripts make of undamaged input, not to be written to."""

    root: Path

    @property
    def data(self) -> Path:
        """The competition."""
        return self.root / "data"

    @property
    def cache(self) -> Path:
        """Its cache."""
        return self.root / "cache"

    @property
    def interrupted(self) -> Path:
        """A cache whose prep was interrupted after the last series."""
        return self.root / "interrupted"

    @property
    def runs(self) -> Path:
        """A run of each task."""
        return self.root / "runs"

    @property
    def trained(self) -> Path:
        """The runs that train.py makes of the cache."""
        return self.root / "trained"

    @property
    def submission(self) -> Path:
        """The runs' submission."""
        return self.root / "out" / "submission.csv"


def prep(data: Path, cache: Path) -> Result:
    return run("input_prep.py", "--data", data, "--cache", cache, "--crop-px", 16)


def train(cache: Path, runs: Path, task: str = "condition") -> Result:
    flags = ("--task", task, "--backbone", BACKBONE, "--epochs", 1)
    return run("train.py", "--cache", cache, "--runs", runs, *flags)


def predict(data: Path, runs: Path, out: Path, *more: object) -> Result:
    flags = ("--data", data, "--runs", runs, "--out", out)
    return run("predict_submission.py", *flags, *more)


@pytest.fixture(scope="module")
def sound() -> Iterator[Sound]:
    """Write a cohort, its cache and runs, and predict it, undisturbed."""
    torch.set_num_threads(1)
    # Not pytest's folder, which an ordinary user may not enter.
    with tempfile.TemporaryDirectory(prefix="trust-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        sound = Sound(root)
        write_cohort(sound.data)
        for task in ("location", "severity", "condition"):
            write_run(sound.runs, task)
        require(prep(sound.data, sound.cache))
        stop = mock.Mock(side_effect=KeyboardInterrupt)
        with mock.patch.object(build_crops, "_write_cache", stop):
            assert prep(sound.data, sound.interrupted).code == 1
        for task in ("condition", "location"):
            require(train(sound.cache, sound.trained, task))
        for path in root.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors lets no other user read its files
        require(predict(sound.data, sound.runs, sound.submission))
        findings = pd.read_csv(sound.submission.with_name("findings.csv"))
        assert (findings["source"] != "prior").mean() > 0.9
        assert findings["severe"].std() > 0.05
        yield sound


@pytest.fixture
def place(sound: Sound) -> Iterator[Path]:
    """A folder of a case's own, in which an ordinary user may write."""
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=sound.root))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def in_time() -> Iterator[None]:
    """Fail after LIMIT_S."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"the script ran for more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def under(damage: Damage, script: Callable[[], Result], place: Path) -> Result:
    """Run a script, as an ordinary user if the damage wants it."""
    if damage.ordinary and os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with in_time(), ordinary_user() if damage.ordinary else nullcontext():
        return script()


def require(result: Result) -> None:
    assert result.code == 0, result.out + result.err + result.crash


def is_refused(result: Result, allowed: Outcome) -> bool:
    """Check how a script ended; say whether it refused."""
    assert not result.crash, result.crash
    assert result.code in (0, 1), result.err
    if result.code == 0:
        assert not EXCEPTION.search(result.out), EXCEPTION.search(result.out)
        assert not EXCEPTION.search(result.err), result.err
        assert allowed & ~REFUSED, f"not refused: {result.out}"
        return False
    assert REFUSED in allowed, f"refused: {result.err}"
    sentence = without_given_paths(result).removesuffix("\n")
    assert re.match(r"\w+\.py: .*[.!?]$", sentence), sentence
    assert len(sentence) < MAX_SENTENCE, f"{len(sentence)} characters"
    assert sentence.isprintable(), repr(sentence)
    assert not EXCEPTION.search(sentence), sentence
    return True


def without_given_paths(result: Result) -> str:
    """Return the error with "..." for the paths that the script was given."""
    text = result.err
    for path in sorted(filter(os.path.isabs, result.words), key=len, reverse=True):
        text = text.replace(path, "...")
    return text


def check_reasons(reasons: pd.Series) -> None:
    """Demand plain sentences that can be printed."""
    for reason in reasons:
        assert isinstance(reason, str)
        assert len(reason) > 10
        assert len(reason) < MAX_SENTENCE
        assert reason.isprintable(), repr(reason)
        assert not EXCEPTION.search(reason), reason


def crops(cache: Path) -> dict[tuple[object, ...], tuple[str, bytes]]:
    """Return the table's row and the pixels of each crop, by its site."""
    table = pd.read_csv(cache / "crops.csv", dtype=str, keep_default_na=False)
    pixels = np.load(cache / "crops.npy")
    assert len(table) == len(pixels)
    rows = table.drop(columns=["crop", "site"]).agg("|".join, axis=1)
    keys = table[[*SITE, "x", "y"]].itertuples(index=False, name=None)
    return {
        key: (row, crop.tobytes())
        for key, row, crop in zip(keys, rows, pixels, strict=True)
    }


def check_cache(cache: Path, sound: Path, outcome: Outcome) -> None:
    """Compare a cache with the sound one: only the damaged study may differ."""
    found, whole = crops(cache), crops(sound)
    others = {key: crop for key, crop in whole.items() if key[0] != str(DAMAGED)}
    assert {k: crop for k, crop in found.items() if k in others} == others
    rejects = pd.read_csv(cache / "rejects.csv")
    check_reasons(rejects["reason"])
    assert set(rejects["study_id"]) <= {DAMAGED, 5}
    if COPED in outcome:
        return
    if outcome is UNCHANGED or (UNCHANGED in outcome and rejects.empty):
        assert found == whole
        assert rejects.empty
        return
    assert len(found) + len(rejects) == len(whole)
    assert len(rejects)
    if REJECTED in outcome:
        used = {key[1] for key in found}
        assert str(series_id(DAMAGED, SAGITTAL_T1)) not in used


def check_submission(path: Path) -> dict[str, list[str]]:
    """Check a submission by the kit's own rules and by hand; return rows by id."""
    submission.check_submission(submission.read_submission(path), TEST)
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["row_id", "normal_mild", "moderate", "severe"]
    assert [row[0] for row in rows] == [f"{study}_{r}" for study in TEST for r in ROWS]
    for row in rows:
        values = [float(cell) for cell in row[1:]]
        assert all(math.isfinite(value) and 0 <= value <= 1 for value in values), row
        assert math.isclose(sum(values), 1, abs_tol=1e-6), row
    return {row[0]: row[1:] for row in rows}


def check_answers(out: Path, sound: Path, outcome: Outcome, rejected: str = "") -> None:
    """Compare a prediction with the sound one: only the damaged study may differ.

    rejected: a part of the names of the conditions whose series is not readable.
    """
    found, whole = check_submission(out), check_submission(sound)
    findings = pd.read_csv(out.with_name("findings.csv"), keep_default_na=False)
    reasons = findings["reason"]
    check_reasons(reasons[reasons != ""])
    changed = {row for row in whole if found[row] != whole[row]}
    others = {row for row in changed if not row.startswith(f"{DAMAGED_TEST}_")}
    assert not others
    if outcome is UNCHANGED or (UNCHANGED in outcome and not changed):
        assert not changed
        return
    if REJECTED in outcome:
        own = findings["study_id"] == DAMAGED_TEST
        lost = findings[own & findings["condition"].str.contains(rejected)]
        assert set(lost["source"]) == {"prior"}
        assert (lost["reason"] != "").all()


Record = Callable[[str, object], None]


def note(record: Record, stage: str, result: Result) -> None:
    """Record a case for the report."""
    record(f"cases of {stage}", 1)
    record("outcome", "refused with a sentence" if result.code else "survived")


def cases(damages: list[Damage], stage: str) -> pytest.MarkDecorator:
    """Parametrize a test over the damages that concern a script."""
    chosen = [damage for damage in damages if getattr(damage, stage) is not None]
    return pytest.mark.parametrize("damage", chosen, ids=lambda damage: damage.name)


# The images.


@cases(damaged_dicom.DAMAGES, "prep")
def test_prep_of_damaged_images(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    data, cache = copied_training(sound, place), place / "cache"
    series = str(series_id(DAMAGED, SAGITTAL_T1))
    damage.apply(data / "train_images" / str(DAMAGED) / series)
    result = under(damage, lambda: prep(data, cache), place)
    if not is_refused(result, damage.prep):
        check_cache(cache, sound.cache, damage.prep)
    note(record_property, "prep", result)


@cases(damaged_dicom.DAMAGES, "predict")
def test_prediction_of_damaged_images(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    data, out = copied_test(sound, place), place / "out" / "submission.csv"
    series = str(series_id(DAMAGED_TEST, SAGITTAL_T1))
    damage.apply(data / "test_images" / str(DAMAGED_TEST) / series)
    result = under(damage, lambda: predict(data, sound.runs, out), place)
    assert not is_refused(result, damage.predict)
    check_answers(out, sound.submission, damage.predict, "foraminal")
    note(record_property, "prediction", result)


def copied_training(sound: Sound, place: Path) -> Path:
    """Copy the tables and the training images."""
    return shutil.copytree(
        sound.data, place / "data", ignore=shutil.ignore_patterns("test_images")
    )


def copied_test(sound: Sound, place: Path) -> Path:
    """Copy the tables and the test images."""
    return shutil.copytree(
        sound.data, place / "data", ignore=shutil.ignore_patterns("train_images")
    )


def linked(sound: Sound, place: Path) -> Path:
    """Copy the tables alone; the images are links."""
    data = place / "data"
    data.mkdir()
    for path in sound.data.iterdir():
        if path.is_dir():
            (data / path.name).symlink_to(path)
        else:
            shutil.copy(path, data)
    return data


# The tables.


@pytest.mark.parametrize("name", damaged_tables.TRAINING_FILES)
@cases(damaged_tables.WRITING, "prep")
def test_prep_of_damaged_tables(
    damage: Damage, name: str, sound: Sound, place: Path, record_property: Record
) -> None:
    data, cache = linked(sound, place), place / "cache"
    damage.apply(data / name)
    result = under(damage, lambda: prep(data, cache), place)
    if not is_refused(result, damage.prep):
        check_cache(cache, sound.cache, damage.prep)
    note(record_property, "prep", result)


@cases(damaged_tables.WRITING, "predict")
def test_prediction_with_a_damaged_table(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    data, out = linked(sound, place), place / "out" / "submission.csv"
    damage.apply(data / TEST_SERIES_FILE)
    result = under(damage, lambda: predict(data, sound.runs, out), place)
    assert not is_refused(result, damage.predict)
    if damage.predict is UNCHANGED:
        check_answers(out, sound.submission, damage.predict)
    else:  # the table is of all studies
        check_submission(out)
    note(record_property, "prediction", result)


@cases(damaged_tables.CELLS, "prep")
def test_prep_of_tables_that_say_what_is_not_so(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    data, cache = linked(sound, place), place / "cache"
    damage.apply(data)
    result = under(damage, lambda: prep(data, cache), place)
    if not is_refused(result, damage.prep):
        check_cache(cache, sound.cache, damage.prep)
    note(record_property, "prep", result)


@cases(damaged_tables.CELLS, "predict")
def test_prediction_by_tables_that_say_what_is_not_so(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    data, out = linked(sound, place), place / "out" / "submission.csv"
    damage.apply(data)
    result = under(damage, lambda: predict(data, sound.runs, out), place)
    assert not is_refused(result, damage.predict)
    check_answers(out, sound.submission, damage.predict)
    note(record_property, "prediction", result)


# The caches.


@cases(damaged_runs.SHARDS, "prep")
def test_prep_over_what_a_killed_one_left(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    check_prep_over(sound.interrupted, damage, sound, place, record_property)


@cases(damaged_runs.FOUND, "prep")
def test_prep_over_a_damaged_cache(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    check_prep_over(sound.cache, damage, sound, place, record_property)


def check_prep_over(
    old: Path, damage: Damage, sound: Sound, place: Path, record: Record
) -> None:
    cache = shutil.copytree(old, place / "cache")
    damage.apply(cache)
    result = under(damage, lambda: prep(sound.data, cache), place)
    if not is_refused(result, damage.prep):
        check_cache(cache, sound.cache, damage.prep)
    note(record, "prep", result)


@cases(damaged_runs.CACHES, "train")
def test_training_on_a_damaged_cache(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    check_training("condition", damage, sound, place, record_property)


@cases(damaged_runs.OVERVIEWS, "train")
def test_training_on_damaged_overviews(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    check_training("location", damage, sound, place, record_property)


def check_training(
    task: str, damage: Damage, sound: Sound, place: Path, record: Record
) -> None:
    cache = shutil.copytree(sound.cache, place / "cache")
    damage.apply(cache)
    result = under(damage, lambda: train(cache, place / "runs", task), place)
    if not is_refused(result, damage.train):
        check_run(place / "runs", sound.trained, damage.train)
    note(record, "training", result)


def check_run(runs: Path, sound: Path, outcome: Outcome) -> None:
    """Compare a finished condition run with the sound one."""
    [run_folder] = runs.glob("condition-*")
    if UNCHANGED in outcome and COPED not in outcome:
        for name in ("predictions.csv", "weights.safetensors"):
            here, there = (top / run_folder.name / name for top in (runs, sound))
            assert here.read_bytes() == there.read_bytes(), name


# Checkpoints and runs.


@cases(damaged_runs.CHECKPOINTS, "train")
def test_training_from_a_damaged_checkpoint(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    [finished] = sound.trained.glob("condition-*")
    part = place / "runs" / f".{finished.name}.part"
    part.mkdir(parents=True)
    shutil.copy(finished / "history.jsonl", part)
    shutil.copy(finished / "weights.safetensors", part / "state.safetensors")
    damage.apply(part)
    result = under(damage, lambda: train(sound.cache, place / "runs"), place)
    assert damaged_runs.OWNED["calls"] == 0
    if not is_refused(result, damage.train):
        check_run(place / "runs", sound.trained, damage.train)
    note(record_property, "training", result)


@pytest.mark.parametrize("task", ["severity", "location"])
@cases(damaged_runs.RUNS, "predict")
def test_prediction_with_a_damaged_run_beside_sound_ones(
    damage: Damage, task: str, sound: Sound, place: Path, record_property: Record
) -> None:
    runs = shutil.copytree(sound.runs, place / "runs")
    damage.apply(write_run(runs, task, seed=1))
    check_prediction(runs, damage, sound, place, record_property)
    assert damaged_runs.OWNED["calls"] == 0


@cases(damaged_runs.UNNEEDED, "predict")
def test_prediction_without_files_that_it_does_not_need(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    runs = shutil.copytree(sound.runs, place / "runs")
    for folder in runs.iterdir():
        damage.apply(folder)
    check_prediction(runs, damage, sound, place, record_property)


@cases(damaged_runs.CALIBRATIONS, "predict")
def test_prediction_with_a_damaged_calibration(
    damage: Damage, sound: Sound, place: Path, record_property: Record
) -> None:
    runs = shutil.copytree(sound.runs, place / "runs")
    damage.apply(runs)
    check_prediction(runs, damage, sound, place, record_property)


def check_prediction(
    runs: Path, damage: Damage, sound: Sound, place: Path, record: Record
) -> None:
    out = place / "out" / "submission.csv"
    result = under(damage, lambda: predict(sound.data, runs, out), place)
    assert not is_refused(result, damage.predict)
    if COPED in damage.predict:  # the run may be used
        check_submission(out)
    else:
        check_answers(out, sound.submission, damage.predict)
    note(record, "prediction", result)


# Where things are written.

LONG_PATH = ["y" * 99] * 50
UNUSUAL = "a folder, [*?] 'ü脊柱🦴' $HOME;#%"


def read_only(folder: Path) -> Path:
    """Make a folder that an ordinary user may not write to."""
    folder.mkdir()
    folder.chmod(0o555)
    return folder


def file_at(path: Path) -> Path:
    """Write a file."""
    path.write_bytes(b"a file")
    return path


def link_to_itself(path: Path) -> Path:
    """Make a link to itself."""
    path.symlink_to(path)
    return path


@dataclass(frozen=True)
class Output:
    """A place to write to: made in a case's folder, and whether it is refused."""

    name: str
    make: Callable[[Path], Path]
    outcome: Outcome
    ordinary: bool = False


OUTPUTS = [
    Output("read-only", lambda p: read_only(p / "x"), REFUSED, ordinary=True),
    Output("in a read-only one", lambda p: read_only(p / "x") / "y", REFUSED, True),
    Output("a file", lambda p: file_at(p / "x"), REFUSED),
    Output("below a file", lambda p: file_at(p / "x") / "y", REFUSED),
    Output("a link to itself", lambda p: link_to_itself(p / "x"), REFUSED),
    Output("below a link to itself", lambda p: link_to_itself(p / "x") / "y", REFUSED),
    Output("a device", lambda p: Path("/dev/null"), REFUSED),
    Output("a name of 300 characters", lambda p: p / ("x" * 300), REFUSED),
    Output(
        "a path of 5000 characters", lambda p: p / "/".join(["y" * 99] * 50), REFUSED
    ),
    Output("missing parents", lambda p: p / "x" / "y" / "z", UNCHANGED),
    Output("an unusual name", lambda p: p / UNUSUAL, UNCHANGED),
    Output("a name with a line break", lambda p: p / "x\ny", UNCHANGED),
]
outputs = pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.name)


def written(output: Output, script: Callable[[], Result], place: Path) -> Result:
    damage = Damage(output.name, lambda path: None, ordinary=output.ordinary)
    return under(damage, script, place)


@outputs
def test_prep_into_an_odd_folder(
    output: Output, sound: Sound, place: Path, record_property: Record
) -> None:
    cache = output.make(place)
    result = written(output, lambda: prep(sound.data, cache), place)
    if not is_refused(result, output.outcome):
        check_cache(cache, sound.cache, output.outcome)
    note(record_property, "prep", result)


@outputs
def test_training_into_an_odd_folder(
    output: Output, sound: Sound, place: Path, record_property: Record
) -> None:
    runs = output.make(place)
    result = written(output, lambda: train(sound.cache, runs), place)
    if not is_refused(result, output.outcome):
        check_run(runs, sound.trained, output.outcome)
    note(record_property, "training", result)


@outputs
def test_prediction_into_an_odd_folder(
    output: Output, sound: Sound, place: Path, record_property: Record
) -> None:
    out = output.make(place) / "submission.csv"
    result = written(output, lambda: predict(sound.data, sound.runs, out), place)
    if not is_refused(result, output.outcome):
        check_answers(out, sound.submission, output.outcome)
    note(record_property, "prediction", result)


def test_input_in_an_unusual_folder(
    sound: Sound, place: Path, record_property: Record
) -> None:
    top = shutil.copytree(
        sound.root, place / UNUSUAL, ignore=shutil.ignore_patterns("case-*")
    )
    here = Sound(top)
    require(prep(here.data, place / "cache"))
    check_cache(place / "cache", sound.cache, UNCHANGED)
    require(train(here.cache, place / "runs"))
    check_run(place / "runs", sound.trained, UNCHANGED)
    result = predict(here.data, here.runs, place / "submission.csv")
    require(result)
    check_answers(place / "submission.csv", sound.submission, UNCHANGED)
    note(record_property, "all three", result)


@pytest.mark.parametrize("what", ["missing", "a file", "a link to itself", "empty"])
def test_input_that_is_no_folder(
    what: str, sound: Sound, place: Path, record_property: Record
) -> None:
    path = place / "x"
    {
        "missing": lambda path: None,
        "a file": file_at,
        "a link to itself": link_to_itself,
        "empty": Path.mkdir,
    }[what](path)
    out = place / "submission.csv"
    for result in (
        prep(path, place / "cache"),
        train(path, place / "runs"),
        predict(path, sound.runs, out),
    ):
        assert is_refused(result, REFUSED)
    result = predict(sound.data, path, out)
    assert not is_refused(result, COPED)
    check_submission(out)
    note(record_property, "all three", result)


def test_two_outputs_in_one_file(
    sound: Sound, place: Path, record_property: Record
) -> None:
    (place / "link").symlink_to(place)
    out = place / "submission.csv"
    for same in (out, place / "link" / "submission.csv", place / "." / out.name):
        result = predict(sound.data, sound.runs, out, "--findings", same)
        assert is_refused(result, REFUSED)
        assert not out.exists()
    note(record_property, "prediction", result)


def test_an_output_that_is_a_folder(
    sound: Sound, place: Path, record_property: Record
) -> None:
    out = place / "submission.csv"
    out.mkdir()
    result = predict(sound.data, sound.runs, out)
    assert is_refused(result, REFUSED)
    note(record_property, "prediction", result)

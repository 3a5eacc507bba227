"""A full disk, a read-only folder, two processes at once: one sentence, no half file.

The full disk is a small tmpfs where this process may mount one; elsewhere the child's
files are limited in size, which fails with another error in the same places.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from child_preparations import Preparation, fork_workers, limit_file_size
from child_preparations import save_each_epoch as save
from in_process import ordinary_user, run
from results import differing, results
from script_child import ScriptChild, run_script, succeed
from small_cohort import TEST
from small_commands import Words, Workplace, make_workplace

from src.competition.submission import check_submission, read_submission

pytestmark = pytest.mark.trust

SHARES = (0.1, 0.5, 0.9)  # of what the files take that an undisturbed run leaves
ROUNDS = 3
Record = Callable[[str, object], None]
Command = Callable[[Path], Words]
STEPS: dict[str, Sequence[Preparation]] = {
    "prep": [fork_workers],
    "train": [save],
    "predict": [],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return make_workplace(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def undisturbed(place: Workplace) -> dict[str, dict[str, bytes]]:
    """What each script leaves in its folder."""
    left = {}
    for step, prepare in STEPS.items():
        out = place.folder / "undisturbed" / step
        succeed(place.log, *getattr(place, step)(out), prepare=prepare)
        left[step] = results(out)
    return left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return what mounts a disk of some bytes, and at another call resizes it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = False

    def resize(size: int) -> Path:
        nonlocal mounted
        how = ["-o", f"remount,size={size}"] if mounted else ["-o", f"size={size}"]
        command = ["mount", "-t", "tmpfs", *how, "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no tmpfs may be mounted here")
        mounted = True
        return disk

    yield resize
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_costs_a_sentence_and_nothing_else(
    step: str,
    place: Workplace,
    undisturbed: dict[str, dict[str, bytes]],
    small_disk: Callable[[int], Path],
    record_property: Record,
) -> None:
    command: Command = getattr(place, step)
    expected, prepare = undisturbed[step], STEPS[step]
    size = sum(len(content) for content in expected.values())
    sentences = set()
    for share in SHARES:
        disk = small_disk(max(int(share * size), 4096))
        out = disk / "out"
        ended = run_script(place.log, *command(out), prepare=prepare)
        sentences.add(ended.sentence().replace(str(disk), "DISK"))
        check_whole(step, out, expected)
        small_disk(64 * 2**20)
        succeed(place.log, *command(out), prepare=prepare)
        assert differing(results(out), expected) == []
        shutil.rmtree(out)
    assert all("full" in sentence for sentence in sentences), sentences
    record_property("full disks after which it resumed", len(SHARES))


@pytest.mark.parametrize("step", STEPS)
def test_a_file_that_may_not_grow_costs_a_sentence_and_nothing_else(
    step: str,
    place: Workplace,
    undisturbed: dict[str, dict[str, bytes]],
    tmp_path: Path,
    record_property: Record,
) -> None:
    command: Command = getattr(place, step)
    expected, prepare = undisturbed[step], STEPS[step]
    largest = max(map(len, expected.values()))
    for share in SHARES:
        out = tmp_path / f"{share}"
        starve = partial(limit_file_size, int(share * largest))
        ended = run_script(place.log, *command(out), prepare=[*prepare, starve])
        ended.sentence()
        check_whole(step, out, expected)
        succeed(place.log, *command(out), prepare=prepare)
        assert differing(results(out), expected) == []
    record_property("limits of a file's size after which it resumed", len(SHARES))


def check_whole(step: str, out: Path, expected: dict[str, bytes]) -> None:
    """Check that no file under a final name is half written."""
    found = results(out) if out.is_dir() else {}
    if step != "predict":
        assert [name for name in differing(found, expected) if name in found] == []
        return
    # The prior's answers come first, and are replaced by the found ones.
    if "submission.csv" in found:
        check_submission(read_submission(out / "submission.csv"), TEST)
    if "findings.csv" in found:
        assert len(pd.read_csv(out / "findings.csv")) == 25 * len(TEST)


@pytest.mark.parametrize("step", STEPS)
def test_a_folder_that_may_not_be_written_to_costs_a_sentence(
    step: str, place: Workplace, record_property: Record
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        for name in ("data", "cache", "runs"):
            shutil.copytree(place.folder / name, Path(scratch, name))
        out = Path(scratch, "out")
        out.mkdir(mode=0o755)
        command = getattr(Workplace(Path(scratch)), step)(out)
        with ordinary_user():
            ended = run(*command)
        assert list(out.iterdir()) == []
    assert not ended.crash
    assert ended.code == 1
    [sentence] = ended.err.strip().splitlines()
    assert "out" in sentence
    record_property("read-only folders told in a sentence", 1)


def both(place: Workplace, step: str, out: Path) -> list[str]:
    """Run a script twice at once; return how each ended, checked."""
    command, prepare = getattr(place, step)(out), STEPS[step]
    pair = [ScriptChild(place.log / name, command, prepare) for name in ("a", "b")]
    told = []
    for ended in [child.end() for child in pair]:
        assert "Traceback" not in ended.err, ended.err
        told.append("done" if ended.code == 0 else ended.sentence())
    return told


@pytest.mark.parametrize("step", STEPS)
def test_two_at_once_leave_the_right_files(
    step: str,
    place: Workplace,
    undisturbed: dict[str, dict[str, bytes]],
    tmp_path: Path,
    record_property: Record,
) -> None:
    told = []
    for number in range(ROUNDS):
        out = tmp_path / f"{number}"
        ends = both(place, step, out)
        told += [end.replace(str(out), "DIR") for end in ends]
        assert "done" in ends
        assert differing(results(out), undisturbed[step]) == []
        succeed(place.log, *getattr(place, step)(out), prepare=STEPS[step])
        assert differing(results(out), undisturbed[step]) == []
    record_property("pairs at once that left the right files", ROUNDS)
    record_property(f"of two of {step}, done", told.count("done"))
    record_property(f"of two of {step}, refused", len(told) - told.count("done"))

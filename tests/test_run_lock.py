"""One training of a run at a time; a killed one leaves no lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import UserError
from src.training.run_lock import LOCK_FILE, run_lock

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from src.training.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_is_told_who_has_the_run_and_a_killed_one_frees_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ".a-run.part"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with (
                pytest.raises(UserError, match=f"by process {holder.pid} on "),
                run_lock(folder),
            ):
                pytest.fail("two held one run")
        finally:
            holder.kill()
    assert (folder / LOCK_FILE).exists()  # the name stays, the lock does not
    with run_lock(folder):
        assert str(os.getpid()) in (folder / LOCK_FILE).read_text()
    assert not folder.exists()


def test_what_a_training_has_written_outlives_its_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):  # noqa: PT012
        (tmp_path / "history.jsonl").touch()
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]

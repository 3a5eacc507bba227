"""Rehearse the hidden rerun: the inference notebook, offline, on a phantom test.

    python -m src.kaggle.rehearse --folder rehearsal

stages a kit and runs its notebook by kernels/rehearse.sh under both mount layouts, on
each number of studies: in the rerun, where it must write a valid file, and outside it,
where it must refuse a submission with problems; then on studies damaged in five
different ways. Without --runs it trains small models on the phantom first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from src.command_line import make_parser, positive_int, run_script
from src.competition.submission import check_submission, read_submission
from src.competition.tables import TEST_SERIES_FILE, image_folder, list_test_studies
from src.console import say, show_table
from src.errors import UserError
from src.files import write_text
from src.kaggle.kit import ROOT
from src.kaggle.names import COMPETITION, Names
from src.kaggle.notebook_display import HIDDEN_STUDIES
from src.kaggle.run_inference import read_run_info

NAMES = Names("alice")
MEMORY_GROWTH = 1.2
DAMAGED = 6
# Enough to find some sites of a phantom: it is the notebook that is rehearsed.
TRAINED = {
    "condition": ["--epochs", 1],
    "severity": ["--epochs", 1],
    "location": ["--epochs", 15, "--patience", 15, "--batch-size", 12],
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("rehearsal"), help="working folder")
    add("--runs", type=Path, help="the folder of train.py's runs")
    text = "numbers of test studies, each rehearsed"
    add(
        "--studies",
        type=positive_int,
        nargs="+",
        default=[1, 25],
        metavar="N",
        help=text,
    )
    return parser.parse_args()


def main() -> None:
    """Rehearse every case and show the outcomes."""
    args = parse()
    folder = args.folder.resolve()
    data, runs = folder / "data", (args.runs or folder / "runs").resolve()
    cache, staged = folder / "cache", folder / "staged"
    kit = ["--cache", cache]
    _call("input_prep.py", "--data", data, *kit, "--phantom", 5, "--crop-px", 40)
    if not args.runs:
        common = [*kit, "--runs", runs, "--backbone", "resnet10t"]
        for task, recipe in TRAINED.items():
            _call("train.py", *common, "--task", task, *recipe)
    bundle = ["--runs", runs, "--owner", NAMES.owner, "--out", staged]
    _call("-m", "src.kaggle.bundle", *bundle)
    rows = []
    for studies in args.studies:
        test = folder / f"test-{studies}"
        hidden_test(data, test, studies)
        for layout in ("new", "old"):
            for rerun in (True, False):
                work = folder / f"{layout}-{studies}-{'re' * rerun}run"
                rows.append(rehearse(staged, test, work, layout, rerun))
    bad = folder / "test-damaged"
    damage(hidden_test(data, bad, DAMAGED), image_folder(bad, "test"))
    odd = [
        rehearse(staged, bad, folder / f"damaged-{'re' * rerun}run", "new", rerun)
        for rerun in (True, False)
    ]
    show_table("Rehearsed", rows)
    show_table(f"Rehearsed on {DAMAGED} studies, all but the first damaged", odd)
    if len({*args.studies}) > 1:
        say(estimate(rows))
    say(f"Open {work / '__notebook__.ipynb'} to see what a Kaggler sees")


def estimate(rows: list[dict[str, Any]]) -> str:
    """Estimate the hidden test's time and memory: one start, 750 studies.

    Raises UserError if peak memory grows with the studies.
    """
    few, many = (pick(rows, key=lambda row: row["studies"]) for pick in (min, max))
    if many["peak MB"] > MEMORY_GROWTH * few["peak MB"]:
        raise UserError(
            f"Memory grows with the studies, from {few['peak MB']} MB for "
            f"{few['studies']} to {many['peak MB']} MB for {many['studies']}; find "
            "what is kept from one study to the next."
        )
    more = max(1, many["studies"] - few["studies"])
    each = max(0.0, many["script s"] - few["script s"]) / more
    hours = (many["script s"] + each * (HIDDEN_STUDIES - many["studies"])) / 3600
    return (
        f"{HIDDEN_STUDIES} studies would take {hours:.2f} hours ({each:.2f} s a study) "
        f"and {many['peak MB']} MB"
    )


def rehearse(
    staged: Path, data: Path, work: Path, layout: str, rerun: bool
) -> dict[str, Any]:
    """Run the notebook once; UserError if it did not end as it should."""
    start = time.monotonic()
    done = run_notebook(
        staged / "inference" / "inference.ipynb",
        work,
        layout,
        {data: f"competition:{COMPETITION}", staged / "dataset": _dataset()},
        RERUN="1" if rerun else "",
    )
    try:
        check_submission(
            read_submission(work / "submission.csv"), list_test_studies(data)
        )
        info = read_run_info(work)
    except (UserError, OSError) as error:
        raise UserError(f"{work} has no valid submission: {error}") from error
    if (done.returncode != 0) != (bool(info["problems"]) and not rerun):
        raise UserError(
            f"The notebook exited with {done.returncode}; open "
            f"{work / '__notebook__.ipynb'} to see why."
        )
    return {
        "layout": layout,
        "rerun": "yes" if rerun else "no",
        "studies": info["studies"],
        "ended": "refused" if done.returncode else "good",
        "seconds": round(time.monotonic() - start, 1),
        "script s": info["seconds"],
        "peak MB": info["peak_mb"],
    }


def run_notebook(
    notebook: Path, work: Path, layout: str, mounts: dict[Path, str], **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run kernels/rehearse.sh; `mounts` maps a folder to what it stands for."""
    arguments = [f"{folder}={what}" for folder, what in mounts.items()]
    return subprocess.run(
        [ROOT / "kernels" / "rehearse.sh", notebook, work, layout, *arguments],
        env={**os.environ, "PYTHON": sys.executable, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def hidden_test(source: Path, root: Path, studies: int) -> list[int]:
    """Make a test of linked copies of a competition's first study; return their ids."""
    original = list_test_studies(source)[0]
    lines = (source / TEST_SERIES_FILE).read_text().splitlines()
    series = [
        line.partition(",")[2] for line in lines if line.startswith(f"{original},")
    ]
    shutil.rmtree(root, ignore_errors=True)  # an earlier rehearsal's may be damaged
    numbers = list(range(101, 101 + studies))
    for number in numbers:
        for path in (image_folder(source, "test") / str(original)).rglob("*.dcm"):
            folder = image_folder(root, "test") / str(number) / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            os.link(path, folder / path.name)
    rows = [f"{number},{rest}" for number in numbers for rest in series]
    write_text("\n".join([lines[0], *rows]) + "\n", root / TEST_SERIES_FILE)
    return numbers


def damage(studies: list[int], root: Path) -> None:
    """Damage all studies but the first, each differently."""
    _, cut, gone, empty, absent, blank = studies
    for path in _series(root, cut)[0].iterdir():
        _replace(path, path.read_bytes()[:700])
    shutil.rmtree(_series(root, gone)[0])
    for path in _series(root, empty)[1].iterdir():
        path.unlink()
    shutil.rmtree(root / str(absent))
    for folder in _series(root, blank):
        for path in folder.iterdir():
            _replace(path, b"")


def _series(root: Path, study: int) -> list[Path]:
    return sorted((root / str(study)).iterdir())


def _replace(path: Path, data: bytes) -> None:
    """Write a new file: the old one is a link to what other studies share."""
    path.unlink()
    path.write_bytes(data)


def _dataset() -> str:
    return f"dataset:{NAMES.ref('kit')}"


def _call(*command: object) -> None:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{command[0]} exited with {done.returncode}; see above.")


if __name__ == "__main__":
    run_script(main)

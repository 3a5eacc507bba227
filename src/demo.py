"""The whole pipeline on a phantom cohort: the four scripts in order, each timed.

Run by `make demo`. If interrupted, run it again: it resumes.
"""

import subprocess
import sys
import time
from pathlib import Path

from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.errors import UserError

BACKBONES = ("mnasnet0_75", "mnasnet1_0")
SMALL_BACKBONE = ("--backbone", "resnet10t")


def steps(folder: Path, studies: int, epochs: int) -> dict[str, list[str]]:
    """List the commands in order, by the name of the step."""
    data, cache, runs = (str(folder / name) for name in ("data", "cache", "runs"))
    report, submission = str(folder / "report"), str(folder / "submission.csv")
    inputs = ["--cache", cache, "--runs", runs]
    truth = str(folder / "data-truth" / "train.csv")
    train = ["train.py", *inputs, "--epochs", str(epochs)]
    return {
        "prepare": [
            *("input_prep.py", "--data", data, "--cache", cache),
            *("--phantom", str(studies)),
        ],
        "condition": [*train, "--task", "condition", "--backbone", *BACKBONES],
        "location": [*train, "--task", "location", *SMALL_BACKBONE],
        "severity": [*train, "--task", "severity", *SMALL_BACKBONE],
        "evaluate": ["evaluate.py", *inputs, "--out", report],
        "predict": [
            *("predict_submission.py", "--data", data, "--runs", runs),
            *("--out", submission),
        ],
        "score": [
            *("evaluate.py", "--submission", submission, "--truth", truth),
            *("--out", report),
        ],
    }


def main() -> None:
    """Run the steps in order and print the time of each."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("demo"), help="output folder")
    text = "phantom training studies; a fifth as many test studies are added"
    add("--studies", type=positive_int, default=60, help=text)
    add("--epochs", type=positive_int, default=8, help="maximum epochs")
    args = parser.parse_args()
    seconds: dict[str, float] = {}
    for name, command in steps(args.folder, args.studies, args.epochs).items():
        say(f"\n$ python {' '.join(command)}")
        start = time.perf_counter()
        _call(command)
        seconds[name] = time.perf_counter() - start
    seconds["total"] = sum(seconds.values())
    rows = [{"step": name, "seconds": f"{s:.1f}"} for name, s in seconds.items()]
    show_table("Demo timings", rows)
    say(f"Open {args.folder / 'report' / 'report.html'}")


def _call(command: list[str]) -> None:
    """Run a script with this Python; UserError if it fails."""
    done = subprocess.run([sys.executable, *command], check=False)
    if done.returncode:
        raise UserError(
            f"{command[0]} exited with code {done.returncode}; see its output above"
        )


if __name__ == "__main__":
    run_script(main)

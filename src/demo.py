"""The whole way on a phantom cohort: the four scripts in order, each timed.

Run by `make demo`. It resumes if some of it is there already.
"""

import subprocess
import sys
import time
from pathlib import Path

from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.errors import UserError

BACKBONES = ("mnasnet0_75", "mnasnet1_0")
READER = ("--backbone", "resnet10t")


def steps(folder: Path, studies: int, epochs: int) -> dict[str, list[str]]:
    """List the commands, by the name of what they do."""
    data, cache, runs = (str(folder / name) for name in ("data", "cache", "runs"))
    report, submission = str(folder / "report"), str(folder / "submission.csv")
    found = ["--cache", cache, "--runs", runs]
    truth = str(folder / "data-truth" / "train.csv")
    learn = ["train.py", *found, "--epochs", str(epochs)]
    return {
        "prepare": [
            *("input_prep.py", "--data", data, "--cache", cache),
            *("--phantom", str(studies)),
        ],
        "condition": [*learn, "--task", "condition", "--backbone", *BACKBONES],
        "location": [*learn, "--task", "location", *READER],
        "severity": [*learn, "--task", "severity", *READER],
        "evaluate": ["evaluate.py", *found, "--out", report],
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
    """Run the steps one after the other and show how long each took."""
    parser = make_parser(__doc__)
    text = "where everything goes"
    parser.add_argument("--folder", type=Path, default=Path("demo"), help=text)
    text = "training studies of the phantom; a fifth of them is added as its test"
    parser.add_argument("--studies", type=positive_int, default=60, help=text)
    parser.add_argument("--epochs", type=positive_int, default=8, help="maximum epochs")
    args = parser.parse_args()
    took: dict[str, float] = {}
    for name, command in steps(args.folder, args.studies, args.epochs).items():
        say(f"\n$ python {' '.join(command)}")
        start = time.perf_counter()
        _call(command)
        took[name] = time.perf_counter() - start
    took["all"] = sum(took.values())
    rows = [{"step": name, "seconds": f"{s:.1f}"} for name, s in took.items()]
    show_table("The demo, step by step", rows)
    say(f"Open {args.folder / 'report' / 'report.html'}")


def _call(command: list[str]) -> None:
    """Run one script with this Python; stop where it stops."""
    done = subprocess.run([sys.executable, *command], check=False)
    if done.returncode:
        raise UserError(f"{command[0]} ended with {done.returncode}; see above")


if __name__ == "__main__":
    run_script(main)

"""The whole pipeline on a phantom cohort: the four scripts in order, each timed.

Run by `make demo`. If interrupted, run it again: it resumes.
"""

from pathlib import Path

from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.script_calls import call_steps

# For less than four minutes on two cores: small images, and few epochs where a training
# on phantoms converges early.
CROP_PX, CROP_SLICES, LOCATION_PX = 64, 3, 128
EPOCHS = {"condition": 4, "location": 5, "severity": 8}
BACKBONES = ("mnasnet0_75", "mnasnet1_0")
LOCATOR = ("--backbone", "resnet10t", "--input-px", str(LOCATION_PX))
# As configs/severity.toml sees a site, but without ImageNet's weights.
GRADER = ("--backbone", "resnet10t", "--views", "all")


def steps(
    folder: Path, studies: int, epochs: int | None = None
) -> dict[str, list[str]]:
    """List the commands in order, by the name of the step.

    epochs: of every training, in place of EPOCHS.
    """
    data, cache, runs = (str(folder / name) for name in ("data", "cache", "runs"))
    report, submission = str(folder / "report"), str(folder / "submission.csv")
    inputs = ["--cache", cache, "--runs", runs]
    truth = str(folder / "data-truth" / "train.csv")

    def train(task: str, *flags: str) -> list[str]:
        length = str(epochs or EPOCHS[task])
        return ["train.py", *inputs, "--task", task, "--epochs", length, *flags]

    return {
        "prepare": [
            *("input_prep.py", "--data", data, "--cache", cache),
            *("--phantom", str(studies), "--crop-px", str(CROP_PX)),
            *("--crop-slices", str(CROP_SLICES), "--views", "all"),
        ],
        "condition": train("condition", "--backbone", *BACKBONES),
        "location": train("location", *LOCATOR),
        "severity": train("severity", *GRADER),
        "evaluate": ["evaluate.py", *inputs, "--out", report],
        "predict": [
            *("predict_submission.py", "--data", data, "--runs", runs),
            *("--out", submission, "--report", str(folder / "pages")),
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
    add("--epochs", type=positive_int, help="epochs of every training")
    args = parser.parse_args()
    seconds = call_steps(steps(args.folder, args.studies, args.epochs))
    seconds["total"] = sum(seconds.values())
    rows = [{"step": name, "seconds": f"{s:.1f}"} for name, s in seconds.items()]
    show_table("Demo timings", rows)
    report, pages = args.folder / "report", args.folder / "pages"
    say(f"Open {report / 'report.html'}, then {pages / 'index.html'}")


if __name__ == "__main__":
    run_script(main)

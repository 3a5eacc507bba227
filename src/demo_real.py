"""A real examination from a folder of DICOM files to a page, without any training.

    python -m src.demo_real

imports examples/spider as a folder that a hospital might hand over, finds the canal's
five levels by the locator in weights/, and writes the study's page.
"""

from pathlib import Path

from src.command_line import make_parser, run_script
from src.console import say, show_table
from src.script_calls import call_steps

EXAMPLE = Path("examples/spider/DICOM")
WEIGHTS = Path("weights")


def steps(folder: Path) -> dict[str, list[str]]:
    """List the commands in order, by the name of the step."""
    data, pages = str(folder / "data"), str(folder / "pages")
    return {
        "import": ["input_prep.py", "--import", str(EXAMPLE), "--data", data],
        "predict": [
            *("predict_submission.py", "--data", data, "--runs", str(WEIGHTS)),
            *("--out", str(folder / "submission.csv"), "--report", pages),
        ],
    }


def main() -> None:
    """Run the steps in order and print the time of each."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("demo-real"), help="output folder"
    )
    args = parser.parse_args()
    seconds = call_steps(steps(args.folder))
    rows = [{"step": name, "seconds": f"{s:.1f}"} for name, s in seconds.items()]
    show_table("Timings", rows)
    say(f"Open {args.folder / 'pages' / 'index.html'}")


if __name__ == "__main__":
    run_script(main)

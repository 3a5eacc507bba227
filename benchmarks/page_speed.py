"""What pages cost on top of prediction: seconds and bytes a study.

    python -m benchmarks.page_speed --data phantom --runs runs

The same pipeline predicts the same test studies, and each is then put on its page.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.inference_speed import Job, jobs
from benchmarks.measure import BENCHMARKS, Row, spread, write_table
from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.inference.pipeline import StudyPipeline, load_pipeline
from src.reporting.study_page import StudyPages
from src.training.run_folder import read_runs

SECTION = "Pages"
AIM_S, AIM_KB = 60 / 50, 1000


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a competition, as a phantom is one")
    add("--runs", type=Path, required=True, help="location runs, and others or none")
    add("--studies", type=positive_int, default=24, help="test studies")
    add("--attention", action="store_true", help="also ask where the networks look")
    add("--write", action="store_true", help=f"put the table into {BENCHMARKS}")
    return parser.parse_args()


def main() -> None:
    """Time prediction and pages, study by study."""
    args = parse()
    pipeline = load_pipeline(args.runs, read_runs(args.runs), say)
    pipeline = replace(pipeline, with_views=True, attends=args.attention)
    studies = jobs(args.data, args.runs, args.studies)
    with TemporaryDirectory() as folder:
        row = time_pages(pipeline, studies, Path(folder))
    show_table(f"Pages; the aim is {AIM_S:.1f} s and {AIM_KB} kB", [row])
    if args.write:
        write_table(SECTION, [row])


def time_pages(pipeline: StudyPipeline, studies: list[Job], folder: Path) -> Row:
    """Predict studies and write their pages to `folder`; tabulate seconds and sizes."""
    pages = StudyPages(folder, [int(job.folder.name) for job in studies], say)
    predicting, writing = [], []
    for job in studies:
        start = time.perf_counter()
        predicted = pipeline.predict(job.folder, job.listed, job.prior)
        middle = time.perf_counter()
        pages.add(predicted)
        predicting.append(middle - start)
        writing.append(time.perf_counter() - middle)
    sizes = [path.stat().st_size / 1000 for path in sorted(folder.glob("*.html"))]
    return {
        "studies": len(studies),
        "prediction, s": spread(predicting),
        "page, s": spread(writing),
        "page, kB": spread(sizes, 0),
        "largest, kB": round(max(sizes)),
    }


if __name__ == "__main__":
    run_script(main)

"""Seconds a study at inference, and what the networks alone would take.

    python -m benchmarks.inference_speed --data demo/data --runs demo/runs --write

The location and severity runs of a folder predict some test studies, as
predict_submission.py does; severity runs are repeated until there are --graders. By
turns with it come its two parts: reading a study's files, and the networks alone on
what was read, which is the bound of any pipeline with these networks.

    python -m benchmarks.inference_speed --data demo/data --runs demo/runs --memory

shows whether memory grows with the studies: linked copies of the test studies, 10, 100
and 400 of them (--counts), are predicted in a process each.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch

from benchmarks.measure import (
    BENCHMARKS,
    Row,
    alternate,
    peak_megabytes,
    ratios,
    spread,
    write_table,
)
from src.command_line import make_parser, positive_int, run_script
from src.competition.constants import CONDITIONS, LEVELS
from src.competition.tables import image_folder, list_test_studies, read_test_series
from src.console import say, show_table
from src.errors import UserError
from src.inference.fallback_prior import choose_prior
from src.inference.findings import prior_findings
from src.inference.pipeline import StudyPipeline, load_pipeline
from src.inference.predict_studies import OutputFiles, predict_all_studies
from src.inference.study import Study, read_study
from src.localization.series_dataset import score_slices
from src.models.backbones import CHANNELS
from src.training.device import keep_malloc_arena
from src.training.run_folder import read_runs

SITES = len(CONDITIONS) * len(LEVELS)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a competition, as a phantom is one")
    add("--runs", type=Path, required=True, help="location and severity runs")
    add("--studies", type=positive_int, default=3, help="test studies a turn")
    add("--graders", type=positive_int, default=10, help="severity networks")
    add("--turns", type=positive_int, default=5, help="turns, after one for warmth")
    text = "instead: peak memory and s a study over --counts linked test studies"
    add("--memory", action="store_true", help=text)
    text = "studies of each row of --memory"
    add("--counts", type=positive_int, nargs="+", default=[10, 100, 400], help=text)
    add("--write", action="store_true", help=f"put the table into {BENCHMARKS}")
    return parser.parse_args()


@dataclass(frozen=True, eq=False)
class Job:
    """A test study to predict: its folder, its series and its prior's rows."""

    folder: Path
    listed: pd.DataFrame
    prior: pd.DataFrame


def jobs(data: Path, runs: Path, count: int) -> list[Job]:
    """List the first test studies of a competition."""
    series, folder = read_test_series(data), image_folder(data, "test")
    studies = list_test_studies(data)[:count]
    prior = prior_findings(studies, choose_prior(read_runs(runs), data)[0], "")
    return [
        Job(
            folder / str(study_id),
            series[series["study_id"] == study_id],
            prior[prior["study_id"] == study_id],
        )
        for study_id in studies
    ]


def with_graders(pipeline: StudyPipeline, count: int, runs: Path) -> StudyPipeline:
    """Repeat a pipeline's severity models until there are so many."""
    if not pipeline.severity_models:
        raise UserError(
            f"--runs {runs} has no usable severity run to time: train one with "
            "train.py --task severity"
        )
    models = list(islice(cycle(pipeline.severity_models), count))
    return replace(pipeline, severity_models=models)


def networks_alone(pipeline: StudyPipeline, studies: list[Study]) -> None:
    """Pass studies that were read through every network, and do nothing else."""
    for study in studies:
        for locator in pipeline.locators:
            for overview in study.overviews.values():
                score_slices(overview, locator).cpu()
        _grade_black_crops(pipeline)


def _grade_black_crops(pipeline: StudyPipeline) -> None:
    """Pass as many crops as a study has through every grader."""
    for grader in pipeline.severity_models:
        attends = grader.run.config.slices == "attention"
        channels = grader.spec.slices if attends else CHANNELS
        shape = (SITES, channels, grader.spec.crop_px, grader.spec.crop_px)
        crops = torch.from_numpy(np.zeros(shape, np.uint8))
        grader.predictor.outputs(crops).cpu()


def compare(
    pipeline: StudyPipeline, some: list[Job], turns: int
) -> tuple[list[Row], float]:
    """Time the whole and its parts by turns; return rows, and seconds a study."""
    studies = [read_study(job.folder, job.listed) for job in some]
    processor_s: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            start, begun = time.perf_counter(), time.process_time()
            work()
            own = processor_s.setdefault(name, [])
            own.append((time.process_time() - begun) / len(some))
            return (time.perf_counter() - start) / len(some)

        return measure

    named: dict[str, Callable[[], object]] = {
        "the whole study": lambda: [
            pipeline.predict(job.folder, job.listed, job.prior) for job in some
        ],
        "its files read, its overviews drawn": lambda: [
            read_study(job.folder, job.listed) for job in some
        ],
        "the networks alone": lambda: networks_alone(pipeline, studies),
    }
    seconds = alternate(
        {name: timed(name, work) for name, work in named.items()}, turns
    )
    whole = seconds["the whole study"]
    rows: list[Row] = [
        {
            "": name,
            "s a study": spread(values),
            "of the whole": spread(ratios(values, whole)),
            "CPU s a study": spread(processor_s[name][1:]),
        }
        for name, values in seconds.items()
    ]
    return rows, median(whole)


def memory_row(data: Path, runs: Path, graders: int, count: int) -> Row:
    """Predict linked copies of the test studies; a table's row of what that took.

    To be run in a process of its own, whose peak memory counts.
    """
    keep_malloc_arena()
    pipeline = load_pipeline(runs, read_runs(runs), lambda sentence: None)
    pipeline = with_graders(pipeline, graders, runs)
    with tempfile.TemporaryDirectory() as made:
        images = Path(made) / "images"
        series = link_copies(data, images, count)
        studies = sorted(series["study_id"].unique().tolist())
        prior = prior_findings(studies, choose_prior(read_runs(runs), data)[0], "")
        outputs = OutputFiles(
            Path(made) / "submission.csv", Path(made) / "findings.csv"
        )
        start = time.perf_counter(), time.process_time()
        findings = predict_all_studies(
            prior, images, series, pipeline, outputs, float("inf")
        )
        wall_s, processor_s = (
            time.perf_counter() - start[0],
            time.process_time() - start[1],
        )
    return {
        "studies": count,
        "peak MB": round(peak_megabytes()),
        "s a study": f"{wall_s / count:.2f}",
        "CPU s a study": f"{processor_s / count:.2f}",
        "sites found": int((findings["source"] != "prior").sum()),
    }


def link_copies(data: Path, images: Path, count: int) -> pd.DataFrame:
    """Link the test studies into a folder, again and again under new ids.

    Returns study_id, series_id and series_description of the copies, numbered from 1.
    """
    series, folder = read_test_series(data), image_folder(data, "test")
    originals = cycle(list_test_studies(data))
    images.mkdir(parents=True)
    copies = []
    for number, study_id in zip(range(1, count + 1), originals, strict=False):
        (images / str(number)).symlink_to((folder / str(study_id)).resolve())
        rows = series[series["study_id"] == study_id]
        copies.append(rows.assign(study_id=number))
    return pd.concat(copies, ignore_index=True)


def memory_rows(
    data: Path, runs: Path, graders: int, counts: Sequence[int]
) -> list[Row]:
    """Return a row for each number of studies, from a new process each."""
    rows = []
    for count in counts:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context) as process:
            rows.append(process.submit(memory_row, data, runs, graders, count).result())
    return rows


def report_memory(args: argparse.Namespace) -> None:
    """Show the table of --memory, and write it where asked."""
    rows = memory_rows(args.data, args.runs, args.graders, args.counts)
    setting = f"Linked copies of the test studies, {args.graders} graders"
    show_table(setting, rows)
    if args.write:
        write_table("Memory of inference", rows, note=f"{setting}; a process a row.")


def main() -> None:
    """Time inference, show the table, and write it where asked."""
    args = parse()
    keep_malloc_arena()  # as predict_submission.py does
    if args.memory:
        report_memory(args)
        return
    pipeline = load_pipeline(args.runs, read_runs(args.runs), say)
    pipeline = with_graders(pipeline, args.graders, args.runs)
    some = jobs(args.data, args.runs, args.studies)
    rows, seconds = compare(pipeline, some, args.turns)
    setting = (
        f"{len(some)} studies a turn, {len(pipeline.locators)} locators, "
        f"{len(pipeline.severity_models)} graders, {torch.get_num_threads()} threads, "
        f"median of {args.turns} turns"
    )
    show_table(setting, rows)
    say(f"{seconds:.2f} s a study; at most {peak_megabytes():.0f} MB of memory")
    if args.write:
        write_table("Inference", rows, note=f"{setting}.")


if __name__ == "__main__":
    run_script(main)

"""The cost in score of locating the sites, on a phantom's test studies.

    python -m benchmarks.localization_cost --data phantom --runs runs

The runs grade every test study twice: at the sites they locate, and at the true ones
that lie beside the phantom. The competition's metric scores both, and the ideal
observer.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from src.command_line import make_parser, run_script
from src.competition.metric import score
from src.competition.prior import floors
from src.competition.tables import (
    image_folder,
    list_test_studies,
    read_test_series,
    read_training,
)
from src.console import progress, say, show_table
from src.errors import UserError
from src.inference.fallback_prior import choose_prior
from src.inference.findings import prior_findings, to_submission
from src.inference.pipeline import load_pipeline
from src.inference.study import Study, read_study
from src.localization.locate import LocatedSite, Sites
from src.phantom.cohort import truth_folder
from src.training.run_folder import read_runs


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a phantom competition")
    add("--runs", type=Path, required=True, help="location and severity runs")
    return parser.parse_args()


def true_sites(points: pd.DataFrame, study: Study) -> Sites:
    """Turn a study's marked points into sites, as if a locator had found them."""
    sites: Sites = {}
    point: Any  # pandas types a named tuple's fields as anything a cell may hold
    for point in points[points["study_id"] == study.study_id].itertuples():
        series = study.series[point.series_id]
        plane = series.headers[series.index_of(point.instance_number)].geometry
        pixel = (point.series_id, point.instance_number, point.x, point.y)
        point_mm = plane.to_patient([point.x, point.y])
        sites[point.condition, point.level] = LocatedSite(
            *pixel, point_mm, 1.0, "located"
        )
    return sites


def main() -> None:
    """Grade at both sets of sites and show the scores."""
    args = parse()
    runs = read_runs(args.runs)
    pipeline = load_pipeline(args.runs, runs, say)
    if not pipeline.severity_models:
        raise UserError(
            f"--runs {args.runs} has no usable severity run to score: train one with "
            "train.py --task severity"
        )
    truth = read_training(truth_folder(args.data))
    series, folder = read_test_series(args.data), image_folder(args.data, "test")
    studies = list_test_studies(args.data)
    prior = prior_findings(studies, choose_prior(runs, args.data)[0], "")
    found, given, seconds = [], [], []
    with progress("studies") as on_progress:
        for done, (study_id, rows) in enumerate(prior.groupby("study_id"), start=1):
            start = time.perf_counter()
            listed = series[series["study_id"] == study_id]
            study = read_study(folder / str(study_id), listed)
            found.append(
                pipeline.grade(study, pipeline.find_sites(study), rows).findings
            )
            seconds.append(time.perf_counter() - start)
            sites = true_sites(truth.points, study)
            given.append(pipeline.grade(study, sites, rows).findings)
            on_progress(done, len(studies))
    tables = {"located": pd.concat(found), "true": pd.concat(given)}
    scored = {
        name: score(truth.labels, to_submission(table)).to_dict()
        for name, table in tables.items()
    }
    ideal = json.loads((truth_folder(args.data) / "ideal.json").read_text())["score"]
    scored["true, ideal observer"] = ideal
    show_table(
        f"{len(studies)} test studies",
        [{"sites": name, **parts} for name, parts in scored.items()],
    )
    floor = floors(truth.labels)["weighted_shares_by_level"].score
    located = scored["located"]["score"]
    say(
        f"Locating the sites costs {located - scored['true']['score']:.4f}; located is "
        f"{located - ideal['score']:.4f} above ideal; the floor is {floor:.4f}"
    )
    say(f"{mean(seconds):.2f} s a study, {max(seconds):.2f} at most")


if __name__ == "__main__":
    run_script(main)

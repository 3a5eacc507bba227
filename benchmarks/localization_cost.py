"""What it costs that sites are found and not given: a phantom's test studies, twice.

    python -m benchmarks.localization_cost --data phantom --runs runs

The runs grade every test study at the sites they find, and at the true ones that lie
beside the phantom; the competition's metric scores both, and the ideal reader.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean

import numpy as np
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
    for point in points[points["study_id"] == study.study_id].itertuples():
        series = study.series[point.series_id]
        plane = series.headers[series.index_of(point.instance_number)].geometry
        place = (point.series_id, point.instance_number, point.x, point.y)
        point_mm = plane.to_patient([point.x, point.y])
        sites[point.condition, point.level] = LocatedSite(
            *place, point_mm, 1.0, "located"
        )
    return sites


def main() -> None:
    """Grade both ways and show the scores."""
    args = parse()
    runs = read_runs(args.runs)
    reader = load_pipeline(args.runs, runs, say)
    truth = read_training(truth_folder(args.data))
    series, folder = read_test_series(args.data), image_folder(args.data, "test")
    studies = list_test_studies(args.data)
    prior = prior_findings(studies, choose_prior(runs, args.data)[0], "")
    found, given, seconds = [], [], []
    with progress("studies") as tick:
        for done, (study_id, rows) in enumerate(prior.groupby("study_id"), start=1):
            start = time.perf_counter()
            listed = series[series["study_id"] == study_id]
            study = read_study(folder / str(study_id), listed)
            found.append(reader.grade(study, reader.find_sites(study), rows))
            seconds.append(time.perf_counter() - start)
            given.append(reader.grade(study, true_sites(truth.points, study), rows))
            tick(done, len(studies))
    tables = {"found": pd.concat(found), "true": pd.concat(given)}
    scored = {
        name: score(truth.labels, to_submission(table)).to_dict()
        for name, table in tables.items()
    }
    ideal = json.loads((truth_folder(args.data) / "ideal.json").read_text())["score"]
    scored["the ideal reader"] = ideal
    show_table(
        f"{len(studies)} test studies",
        [{"sites": name, **parts} for name, parts in scored.items()],
    )
    floor = floors(truth.labels)["weighted_shares_by_level"].score
    cost = scored["found"]["score"] - scored["true"]["score"]
    away = scored["found"]["score"] - ideal["score"]
    say(
        f"Finding the sites costs {cost:.4f}; {away:.4f} above ideal; floor {floor:.4f}"
    )
    say(f"{mean(seconds):.2f} s a study, {np.max(seconds):.2f} at most")


if __name__ == "__main__":
    run_script(main)

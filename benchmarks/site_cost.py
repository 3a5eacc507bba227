"""What it costs that sites are found and not given: a phantom's test studies, twice.

    python -m benchmarks.site_cost --data phantom --runs runs

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

from src.competition.metric import score
from src.competition.prior import floors
from src.competition.tables import (
    images,
    read_test_series,
    read_training,
    test_studies,
)
from src.learning.runs import read_runs
from src.phantom.cohort import truth_folder
from src.reading.findings import prior_findings, to_submission
from src.reading.locate import Located, Sites
from src.reading.priors import choose_prior
from src.reading.reader import load_reader
from src.reading.study import Study, read_study
from src.reporting.command_line import parser_of, run
from src.reporting.console import progress, say, show_table


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
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
        sites[point.condition, point.level] = Located(*place, point_mm, 1.0, "located")
    return sites


def main() -> None:
    """Grade both ways and show the scores."""
    args = parse()
    runs = read_runs(args.runs)
    reader = load_reader(args.runs, runs, say)
    truth = read_training(truth_folder(args.data))
    series, folder = read_test_series(args.data), images(args.data, "test")
    studies = test_studies(args.data)
    prior = prior_findings(studies, choose_prior(runs, args.data)[0], "")
    found, given, seconds = [], [], []
    with progress("studies") as tick:
        for done, (study_id, rows) in enumerate(prior.groupby("study_id"), start=1):
            start = time.perf_counter()
            listed = series[series["study_id"] == study_id]
            study = read_study(folder / str(study_id), listed)
            found.append(reader.answer(study, reader.find(study), rows))
            seconds.append(time.perf_counter() - start)
            given.append(reader.answer(study, true_sites(truth.points, study), rows))
            tick(done, len(studies))
    tables = {"found": pd.concat(found), "true": pd.concat(given)}
    scored = {
        name: score(truth.labels, to_submission(table)).as_dict()
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
    run(main)

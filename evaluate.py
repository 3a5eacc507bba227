"""Evaluate runs on their test studies, or score a submission file.

    python evaluate.py --cache cache --runs runs --out report
    python evaluate.py --submission submission.csv --truth train.csv

The first writes metrics.json, table2.csv, figures/ and report.html; the second prints
the competition's score with its parts and the floor, and with --out writes them too.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.competition import submission as submissions
from src.competition.metric import score
from src.competition.prior import floors
from src.competition.tables import read_labels
from src.errors import InputError
from src.files import write_json
from src.reporting.command_line import parser_of, run
from src.reporting.console import say, show_table
from src.reporting.evidence import leakage_table, references_table, spread_table
from src.reporting.tables import in_papers_order, in_short

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from src.imaging.cache import Cache
    from src.learning.pooling import Outcome
    from src.learning.runs import Run
    from src.reporting.page import Page
    from src.reporting.tables import Metrics


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, help="what input_prep.py made")
    add("--runs", type=Path, help="the folder of train.py's runs")
    add("--out", type=Path, help="where the report goes")
    add("--submission", type=Path, metavar="FILE", help="a submission to score")
    add("--truth", type=Path, metavar="CSV", help="labels in train.csv's form")
    args = parser.parse_args()
    scoring = args.submission is not None and args.truth is not None
    if not scoring and None in (args.cache, args.runs, args.out):
        parser.error("give --cache, --runs and --out, or --submission and --truth")
    return args


def main() -> None:
    """Score a submission, or report on runs."""
    args = parse()
    if args.submission is not None:
        score_submission(args.submission, args.truth, args.out)
    else:
        report_runs(args.cache, args.runs, args.out)


def score_submission(submission: Path, truth: Path, out: Path | None) -> None:
    """Print a submission's score, its parts and the floor; write them to `out`."""
    labels = read_labels(truth)
    parts = score(labels, submissions.read(submission)).as_dict()
    floor = floors(labels)["weighted_shares_by_level"].score
    show_table(f"{submission.name} against {truth.name}; lower is better", [parts])
    better = "better" if parts["score"] < floor else "no better"
    say(f"The weighted prior of these labels scores {floor:.4f}: this is {better}")
    if out is not None:
        add_metrics({"submission": {**parts, "floor": floor}}, out)


def add_metrics(new: dict[str, Any], out: Path) -> None:
    """Write an entry of metrics.json, keeping the others."""
    path = out / "metrics.json"
    try:
        held = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged; delete it and try again") from error
    write_json({**held, **new}, path)


def report_runs(cache_folder: Path, runs_folder: Path, out: Path) -> None:
    """Measure every run by its task, and write one report of all."""
    from src.competition.folds import read_folds
    from src.imaging.cache import open_cache
    from src.learning.runs import read_runs
    from src.reporting.page import Page

    cache = open_cache(cache_folder)
    folds = read_folds(cache.path / "folds.csv")
    runs = read_runs(runs_folder)
    if not runs:
        raise InputError(f"{runs_folder} holds no finished run; make one with train.py")
    page = Page("Lumbar spine MRI: which condition, how severe, and where")
    reports = {
        "condition": report_condition,
        "severity": report_severity,
        "location": report_location,
    }
    for task, report in reports.items():
        if chosen := [one for one in runs if one.config.task == task]:
            report(chosen, cache, folds, page, out)
    page.write(out / "report.html")
    say(f"The report is {out / 'report.html'}")


def report_condition(
    runs: "list[Run]", cache: "Cache", folds: "DataFrame", page: "Page", out: Path
) -> None:
    """Say how often the condition runs are right, beside the paper's."""
    from src.learning.history import read_history
    from src.learning.pooling import condition_metrics
    from src.reporting.condition import add_condition

    outcomes = [outcome_of(run, cache, folds) for run in runs]
    histories = {r.folder.name: read_history(r.folder / "history.jsonl") for r in runs}
    metrics = in_papers_order(condition_metrics(outcomes))
    add_metrics({"condition": metrics}, out)
    add_condition(page, cache, metrics, histories, out)
    show_condition(metrics)


def report_severity(
    runs: "list[Run]", cache: "Cache", folds: "DataFrame", page: "Page", out: Path
) -> None:
    """Score the severity runs together by the competition's metric."""
    from src.reading.severity_metrics import severity_metrics
    from src.reporting.severity import add_severity, score_table

    fair = [run for run in runs if run.config.split == "study"]
    if len(fair) < len(runs):
        say(f"Left aside: {len(runs) - len(fair)} severity runs, for their split leaks")
    if fair:
        tables = {run.folder.name: predictions_of(run, cache, folds)[0] for run in fair}
        metrics = severity_metrics(fair, tables, cache.labels)
        add_metrics({"severity": metrics}, out)
        add_severity(page, metrics, out / "figures")
        title = f"Severity, {metrics['studies']} studies not trained on; less is better"
        show_table(title, score_table(metrics))


def report_location(
    runs: "list[Run]", cache: "Cache", folds: "DataFrame", page: "Page", out: Path
) -> None:
    """Say how far from the marked sites the location runs look."""
    import pandas as pd

    from src.imaging.overview_cache import open_overviews
    from src.learning.roles import study_roles
    from src.reading.location_metrics import location_metrics, read_locations
    from src.reading.together import found_together
    from src.reporting.location import add_location, location_table

    tables = []
    for one in runs:
        role = study_roles(folds, one.config.fold)
        tested = set(role.index[role == "test"])
        table = read_locations(one.folder / "predictions.csv", tested)
        tables.append(table.assign(run=one.folder.name))
    sites, overviews = pd.concat(tables, ignore_index=True), open_overviews(cache.path)
    metrics, together = location_metrics(sites), {}
    each = f", each of {len(runs)} runs by itself" if len(runs) > 1 else ""
    show_table(f"Sites of studies not trained on{each}", location_table(metrics))
    joint = found_together(runs, cache.table, folds, overviews)
    if joint is not None:
        sites, together = joint, location_metrics(joint)
        show_table("All runs of a fold together", location_table(together))
    add_metrics({"location": metrics, "location_together": together}, out)
    add_location(page, metrics, together, sites, overviews, out / "figures")


def outcome_of(run: "Run", cache: "Cache", folds: "DataFrame") -> "Outcome":
    """Put a condition run's predictions beside what its split gives away."""
    from src.learning.pooling import outcome

    table, roles = predictions_of(run, cache, folds)
    return outcome(run.folder.name, asdict(run.config), table, cache.table, roles)


def predictions_of(
    run: "Run", cache: "Cache", folds: "DataFrame"
) -> "tuple[DataFrame, Series]":
    """Read and check a crop run's predictions; also return the role of each crop."""
    from src.learning.predictions import read_predictions
    from src.learning.roles import crop_roles, limited

    config, sites = run.config, cache.table
    seed = config.settings["seed"]
    roles = crop_roles(sites, folds, config.split, config.fold, seed)
    roles = roles.where(limited(sites, config.limit))
    path = run.folder / "predictions.csv"
    return read_predictions(path, config.task, config.labels, sites, roles), roles


def show_condition(metrics: "Metrics") -> None:
    """Print Table 2, and beside it what its accuracies must be held against."""
    show_table("Top-1 accuracy on test crops, %", in_short(metrics))
    if rows := spread_table(metrics):
        show_table("Over folds and seeds, %", rows)
    show_table("What needs no network, on the same crops, %", references_table(metrics))
    show_table("Of the test set also in training", leakage_table(metrics))


if __name__ == "__main__":
    run(main)

"""Evaluate runs on their test studies, or score a submission file.

    python evaluate.py --cache cache --runs runs --out report
    python evaluate.py --submission submission.csv --truth train.csv

The first writes metrics.json, table2.csv, figures/ and report.html, and of location
runs found_sites.csv: where they found the sites of the studies that they tested, for
input_prep.py --sites. The second prints the competition's score, its parts and the
weighted prior's score, and with --out also adds them to metrics.json.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from src import __version__
from src.command_line import make_parser, run_script
from src.competition import submission as submissions
from src.competition.metric import score
from src.competition.prior import floors
from src.competition.tables import read_labels
from src.console import progress, say, show_table
from src.errors import UserError
from src.files import write_csv, write_json
from src.json_object import read_object
from src.metrics_schema import (
    ConditionMetrics,
    LocationMetrics,
    Metrics,
    PairedComparison,
)
from src.reporting.tables import (
    baselines_table,
    leakage_table,
    sort_as_paper,
    spread_table,
    table2_short,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from src.cache.crop_cache import CropCache
    from src.classification.aggregate import RunEvaluation
    from src.reporting.html_report import HtmlReport
    from src.reporting.paired_section import Figure
    from src.training.run_folder import Run


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, help="cache written by input_prep.py")
    add("--runs", type=Path, help="folder of runs written by train.py")
    add("--out", type=Path, help="output folder of the report")
    add("--submission", type=Path, metavar="FILE", help="submission file to score")
    add("--truth", type=Path, metavar="CSV", help="labels, in the format of train.csv")
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
    """Print a submission's score, its parts and the floor; add them to metrics.json."""
    labels = read_labels(truth)
    parts = score(labels, submissions.read_submission(submission)).to_dict()
    floor = floors(labels)["weighted_shares_by_level"].score
    show_table(f"{submission.name} against {truth.name}; lower is better", [parts])
    better = "better" if parts["score"] < floor else "no better"
    say(f"This is {better} than the weighted prior of these labels, {floor:.4f}")
    if out is not None:
        add_metrics({"submission": {**parts, "floor": floor}}, out)


def add_metrics(new: Metrics, out: Path) -> None:
    """Write entries of metrics.json and the kit's version; keep the other entries."""
    path = out / "metrics.json"
    held = read_object(path, "delete it and try again") if path.is_file() else {}
    write_json({**held, **new, "kit_version": __version__}, path)


def report_runs(cache_folder: Path, runs_folder: Path, out: Path) -> None:
    """Evaluate all runs, task by task, and write one report."""
    from src.cache.crop_cache import open_cache
    from src.competition.folds import read_folds
    from src.reporting.html_report import HtmlReport
    from src.training.run_folder import read_runs

    cache = open_cache(cache_folder)
    folds = read_folds(cache.path / "folds.csv")
    runs = read_runs(runs_folder)
    if not runs:
        raise UserError(f"{runs_folder} holds no finished run; make one with train.py")
    page = HtmlReport("Lumbar spine MRI: which condition, how severe, and where")
    metrics: Metrics = {}
    reports = {
        "condition": report_condition,
        "severity": report_severity,
        "location": report_location,
    }
    for task, report in reports.items():
        if chosen := [run for run in runs if run.config.task == task]:
            metrics.update(report(chosen, cache, folds, page, out))
    report_circumstances(runs, cache, page, metrics, out)
    page.write(out / "report.html")
    say(f"Wrote {out / 'report.html'}")


def report_circumstances(
    runs: "list[Run]",
    cache: "CropCache",
    page: "HtmlReport",
    metrics: Metrics,
    out: Path,
) -> None:
    """Add the opening, the cost, the data and the commands; metrics: of the tasks."""
    from src.cache.data_origin import read_origin
    from src.reporting.commands_section import add_commands
    from src.reporting.cost_section import add_cost
    from src.reporting.data_section import add_data
    from src.reporting.summary import open_page
    from src.training.run_commands import train_commands
    from src.training.run_cost import run_cost

    origin = read_origin(cache.path)
    metrics["cost"] = {run.folder.name: run_cost(run) for run in runs}
    metrics["phantom"] = None if origin is None else origin.phantom is not None
    add_metrics({"cost": metrics["cost"], "phantom": metrics["phantom"]}, out)
    open_page(page, metrics)
    add_cost(page, metrics, out / "figures")
    add_data(page, cache)
    names = cache.path.name, runs[0].folder.parent.name
    trainings = train_commands([run.config for run in runs], *names)
    evaluation = "python evaluate.py --cache {} --runs {} --out {}"
    add_commands(page, cache, origin, trainings, evaluation.format(*names, out.name))


def report_condition(
    runs: "list[Run]",
    cache: "CropCache",
    folds: "DataFrame",
    page: "HtmlReport",
    out: Path,
) -> Metrics:
    """Report the condition runs' accuracy beside the paper's."""
    from src.classification.aggregate import condition_metrics
    from src.classification.paired_comparison import compare_conditions
    from src.reporting.condition_section import add_condition
    from src.reporting.paired_section import add_paired
    from src.training.run_folder import read_history

    evaluations = [evaluation_of(run, cache, folds) for run in runs]
    histories = {r.folder.name: read_history(r.folder / "history.jsonl") for r in runs}
    metrics = sort_as_paper(condition_metrics(evaluations))
    paired = compare_conditions(evaluations)
    found: Metrics = {"condition": metrics, "condition_paired": paired}
    add_metrics(found, out)
    add_condition(page, cache, metrics, paired, histories, out)
    add_paired(page, paired, "top1", out / "figures" / "condition_paired.png")
    show_condition(metrics)
    show_paired(paired, "top1")
    return found


def report_severity(
    runs: "list[Run]",
    cache: "CropCache",
    folds: "DataFrame",
    page: "HtmlReport",
    out: Path,
) -> Metrics:
    """Report the competition's score of all severity runs together."""
    from src.classification.paired_comparison import compare_severities
    from src.classification.prior_comparison import prior_warnings
    from src.classification.severity_metrics import severity_metrics
    from src.reporting.paired_section import add_paired
    from src.reporting.severity_section import add_severity, score_table
    from src.reporting.site_pictures import add_site_pictures

    fair = [run for run in runs if run.config.split == "study"]
    if len(fair) < len(runs):
        skipped = len(runs) - len(fair)
        say(f"Skipped {skipped} severity runs: trained on the leaky row split")
    found: Metrics = {}
    if fair:
        tables = {run.folder.name: predictions_of(run, cache, folds)[0] for run in fair}
        metrics = severity_metrics(fair, tables, cache.labels)
        paired = compare_severities(fair, tables, cache.labels)
        found = {"severity": metrics, "severity_paired": paired}
        add_metrics(found, out)
        add_severity(page, metrics, out / "figures")
        add_site_pictures(page, cache, tables, out / "figures")
        add_paired(page, paired, "score", out / "figures" / "severity_paired.png")
        title = f"Severity, unseen studies: {metrics['studies']}; lower is better"
        show_table(title, score_table(metrics))
        for sentence in prior_warnings(metrics["calibration"]["families"]):
            say(sentence)
        show_paired(paired, "score")
    return found


def report_location(
    runs: "list[Run]",
    cache: "CropCache",
    folds: "DataFrame",
    page: "HtmlReport",
    out: Path,
) -> Metrics:
    """Report the location runs' errors against the marked sites; list what they found.

    Nothing of it is done where the cache's sites are found ones.
    """
    import pandas as pd

    from src.cache.overview_cache import open_overviews
    from src.localization.location_metrics import (
        NEAR_MM,
        location_metrics,
        read_locations,
    )
    from src.localization.location_task import StudyOverviews
    from src.localization.out_of_fold import ensemble_errors, find_unseen, found_sites
    from src.reporting.location_section import add_location, location_table
    from src.training.splits import study_splits

    if cache.has_found_sites:
        say(
            f"Skipped {len(runs)} location runs: {cache.path} has crops at found "
            "sites; evaluate them with the cache of the marked points"
        )
        return {}
    tables = []
    for run in runs:
        splits = study_splits(folds, run.config.fold)
        tested = set(splits.index[splits == "test"])
        table = read_locations(run.folder / "predictions.csv", tested)
        tables.append(table.assign(run=run.folder.name))
    sites, overviews = pd.concat(tables, ignore_index=True), open_overviews(cache.path)
    metrics = location_metrics(sites)
    near = (sites["error_mm"] <= NEAR_MM).groupby(sites["run"]).mean()
    ensemble: LocationMetrics = {}
    pooled = f", {len(runs)} runs pooled" if len(runs) > 1 else ""
    show_table(f"Located sites in unseen studies{pooled}", location_table(metrics))
    studies = StudyOverviews(overviews)
    of_run = {
        str(name): set(some["study_id"].tolist()) for name, some in sites.groupby("run")
    }
    with progress("unseen studies") as on_progress:
        unseen = find_unseen(runs, of_run, studies, on_progress)
    joint = ensemble_errors(unseen, cache.sites, studies)
    if joint is not None:
        if skipped := len(runs) - sum(len(each.runs) for each in unseen):
            say(
                f"Skipped {skipped} of {len(runs)} location runs in the ensemble: "
                "--limit gave them fewer studies than other runs of their fold"
            )
        sites, ensemble = joint, location_metrics(joint)
        show_table("Ensemble of each fold's runs", location_table(ensemble))
    reported: Metrics = {
        "location": metrics,
        "location_together": ensemble,
        "location_runs": {str(name): float(share) for name, share in near.items()},
    }
    add_metrics(reported, out)
    add_location(page, metrics, ensemble, sites, overviews, out / "figures")
    write_found_sites(found_sites(unseen, cache.labels), cache, out)
    return reported


def write_found_sites(table: "DataFrame", cache: "CropCache", out: Path) -> None:
    """Write where the sites of unseen studies were found, and count these."""
    path = out / "found_sites.csv"
    write_csv(table, path)
    found, every = table["study_id"].nunique(), cache.labels["study_id"].nunique()
    count = f"{len(table):,} sites in {found:,} of {every:,} studies"
    rest = "" if found == every else "; train location with --folds all for the others"
    say(f"Wrote {path}, for input_prep.py --sites: {count}{rest}")


def evaluation_of(
    run: "Run", cache: "CropCache", folds: "DataFrame"
) -> "RunEvaluation":
    """Evaluate a condition run: its predictions, its baselines and its leakage."""
    from src.classification.aggregate import evaluate_run

    table, splits = predictions_of(run, cache, folds)
    return evaluate_run(run.folder.name, run.config, table, cache.sites, splits)


def predictions_of(
    run: "Run", cache: "CropCache", folds: "DataFrame"
) -> "tuple[DataFrame, Series]":
    """Read and check a crop run's predictions; also return the split of each crop."""
    from src.classification.predictions import read_predictions
    from src.training.splits import crop_splits, first_studies

    config, sites = run.config, cache.sites
    seed = config.hyperparameters.seed
    splits = crop_splits(sites, folds, config.split, config.fold, seed)
    splits = splits.where(first_studies(sites, config.limit))
    path = run.folder / "predictions.csv"
    return read_predictions(path, config.task, config.labels, sites, splits), splits


def show_condition(metrics: ConditionMetrics) -> None:
    """Print Table 2, then the baselines and the train/test overlap to compare with."""
    show_table("Top-1 accuracy on test crops, %", table2_short(metrics))
    if rows := spread_table(metrics):
        show_table("Over folds and seeds, %", rows)
    show_table(
        "Baselines without a network, on the same crops, %", baselines_table(metrics)
    )
    show_table("Train/test overlap", leakage_table(metrics))


def show_paired(comparison: PairedComparison, figure: "Figure") -> None:
    """Print the paired differences, and which entry is best and where it is shown."""
    from src.reporting.paired_section import paired_table, paired_title, verdicts

    for group in comparison["groups"]:
        show_table(paired_title(group, figure), paired_table(group, figure))
    for sentence in verdicts(comparison, figure):
        say(sentence)


if __name__ == "__main__":
    run_script(main)

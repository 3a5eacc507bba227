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
    from src.imaging.cache import Cache
    from src.learning.pooling import Outcome
    from src.learning.runs import Run
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
    """Measure every condition run and write the report."""
    from src.imaging.cache import open_cache
    from src.learning.history import read_history
    from src.learning.pooling import condition_metrics
    from src.reporting.condition import write_condition_report

    cache = open_cache(cache_folder)
    runs = condition_runs(runs_folder)
    outcomes = [outcome_of(run, cache) for run in runs]
    histories = {r.folder.name: read_history(r.folder / "history.jsonl") for r in runs}
    metrics = in_papers_order(condition_metrics(outcomes))
    add_metrics({"condition": metrics}, out)
    write_condition_report(cache, metrics, histories, out)
    show_condition(metrics)
    say(f"The report is {out / 'report.html'}")


def condition_runs(folder: Path) -> "list[Run]":
    """Open the condition runs in a folder, and say which others are left aside."""
    from src.learning.runs import read_runs

    runs = read_runs(folder)
    if not runs:
        raise InputError(f"{folder} holds no finished run; make one with train.py")
    chosen = [one for one in runs if one.config.task == "condition"]
    others = sorted({one.config.task for one in runs} - {"condition"})
    if not chosen:
        raise InputError(
            f"{folder} holds runs of {', '.join(others)} only, and the report is on "
            "condition; make such a run with train.py --task condition"
        )
    if others:
        say(f"Left aside: {len(runs) - len(chosen)} runs of {', '.join(others)}")
    return chosen


def outcome_of(run: "Run", cache: "Cache") -> "Outcome":
    """Check a run's predictions, and put them beside what its split gives away."""
    from src.competition.folds import read_folds
    from src.learning.pooling import outcome
    from src.learning.predictions import read_predictions
    from src.learning.roles import crop_roles, limited

    config, sites = run.config, cache.table
    folds = read_folds(cache.path / "folds.csv")
    seed = config.settings["seed"]
    roles = crop_roles(sites, folds, config.split, config.fold, seed)
    roles = roles.where(limited(sites, config.limit))
    path = run.folder / "predictions.csv"
    table = read_predictions(path, config.labels, sites, roles)
    return outcome(run.folder.name, asdict(config), table, sites, roles)


def show_condition(metrics: "Metrics") -> None:
    """Print Table 2, and beside it what its accuracies must be held against."""
    show_table("Top-1 accuracy on test crops, %", in_short(metrics))
    if rows := spread_table(metrics):
        show_table("Over folds and seeds, %", rows)
    show_table("What needs no network, on the same crops, %", references_table(metrics))
    show_table("Of the test set also in training", leakage_table(metrics))


if __name__ == "__main__":
    run(main)

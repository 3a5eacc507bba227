"""Evaluate runs on their test studies, or score a submission file.

    python evaluate.py --cache cache --runs runs --out report
    python evaluate.py --submission submission.csv --truth train.csv

The first writes metrics.json, table2.csv, figures/ and report.html; the second prints
the competition's score with its parts and the floor, and with --out writes them too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from src.competition import submission as submissions
from src.competition.metric import score
from src.competition.prior import floors
from src.competition.tables import read_labels
from src.errors import InputError
from src.files import write_json
from src.reporting.command_line import parser_of, run
from src.reporting.console import say, show_table
from src.reporting.tables import in_short


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
    held = json.loads(path.read_text()) if path.is_file() else {}
    write_json({**held, **new}, path)


def report_runs(cache_folder: Path, runs_folder: Path, out: Path) -> None:
    """Measure every condition run and write the report."""
    from src.imaging.cache import open_cache
    from src.learning.accuracy import condition_metrics
    from src.learning.runs import read_runs
    from src.reporting.condition import write_condition_report

    cache = open_cache(cache_folder)
    runs = read_runs(runs_folder, "condition")
    if not runs:
        raise InputError(f"{runs_folder} holds no finished run; make one with train.py")
    metrics = condition_metrics(runs)
    add_metrics({"condition": metrics}, out)
    rows = write_condition_report(cache, runs, metrics, out)
    show_table("Top-1 accuracy on test crops", in_short(rows))
    say(f"The report is {out / 'report.html'}")


if __name__ == "__main__":
    run(main)

"""Predict the unlabelled test studies: a complete submission file.

    python predict_submission.py --data data --runs runs --out submission.csv

finds the 25 sites of each study with the location runs, grades them with the ensemble
of the severity runs, and writes findings.csv beside the submission: the source of each
prediction, and the condition that the condition runs predict there. A prior-only
submission is written first and replaced study by study; what cannot be read keeps the
prior, with the reason in findings.csv. Without a severity run the sites are found and
every grade stays the prior. findings.csv also tells how likely each grade is wrong;
--review 0.1 marks the tenth of them whose check by a person should save the most.
--report DIR writes a page a study: open DIR/index.html.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from src.command_line import make_parser, positive_share, run_script
from src.competition.tables import image_folder, list_test_studies, usable_test_series
from src.console import progress, say, show_table, timed
from src.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from src.inference.predict_studies import OutputFiles
    from src.reporting.study_page import StudyPages
    from src.training.run_folder import Run


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    add("--runs", type=Path, required=True, help="the folder of train.py's runs")
    text = "the submission to write"
    add("--out", type=Path, default=Path("submission.csv"), help=text)
    text = "the source of each prediction; default: findings.csv beside --out"
    add("--findings", type=Path, help=text)
    text = "stop after N minutes; the remaining studies keep the prior"
    add("--limit-minutes", type=float, default=float("inf"), metavar="N", help=text)
    text = "share of the findings to check first: 1 in the column review, else 0"
    add("--review", type=positive_share, metavar="SHARE", help=text)
    text = "write a page a study there, and index.html; not for clinical use"
    add("--report", type=Path, metavar="DIR", help=text)
    text = "show on the pages where the networks look; costs them a pass"
    add("--report-attention", action="store_true", help=text)
    args = parser.parse_args()
    if args.report_attention and not args.report:
        parser.error("--report-attention needs --report DIR")
    return args


def main() -> None:
    """Predict every test study."""
    args = parse()
    path = args.findings or args.out.with_name("findings.csv")
    if os.path.realpath(path) == os.path.realpath(args.out):
        raise UserError(f"--out and --findings are one file, {path}: name two")
    from src.inference.fallback_prior import choose_prior
    from src.inference.findings import prior_findings
    from src.inference.predict_studies import OutputFiles

    series = usable_test_series(args.data, lambda fault: say(f"Warning: {fault}"))
    studies = list_test_studies(args.data, series)
    runs = usable_runs(args.runs)
    prior, origin = choose_prior(runs, args.data)
    outputs = OutputFiles(args.out, path)
    findings = prior_findings(studies, prior, "not read yet")
    outputs.write(findings)
    pages = make_pages(args.report, findings) if args.report else None
    say(f"Wrote a prior-only submission ({args.out}), to be replaced study by study")
    findings = predict_all(args, runs, series, findings, outputs, pages)
    if args.review:
        findings = mark(findings, args.review, outputs)
    if pages:
        finish_pages(pages, findings)
    report(findings, outputs, origin)


def predict_all(
    args: argparse.Namespace,
    runs: "list[Run]",
    series: "pd.DataFrame",
    findings: "pd.DataFrame",
    outputs: "OutputFiles",
    pages: "StudyPages | None" = None,
) -> "pd.DataFrame":
    """Replace the prior's findings by the runs' predictions, study by study."""
    from src.inference.pipeline import load_pipeline
    from src.inference.predict_studies import predict_all_studies
    from src.training.device import keep_malloc_arena

    keep_malloc_arena()
    try:
        pipeline = load_pipeline(args.runs, runs, say)
    except UserError as error:
        reason = str(error)
        say(f"Warning: {reason}")
        findings = findings.assign(reason=reason)
        outputs.write(findings)
        if pages:
            pages.add_unread(findings)
        return findings
    if pages:
        pipeline = replace(pipeline, with_views=True, attends=args.report_attention)
    count = findings["study_id"].nunique()
    with timed(f"Read {count} studies"), progress("studies") as on_progress:
        return predict_all_studies(
            findings,
            image_folder(args.data, "test"),
            series,
            pipeline,
            outputs,
            60 * args.limit_minutes,
            on_progress,
            *((pages.add,) if pages else ()),
        )


def make_pages(folder: Path, findings: "pd.DataFrame") -> "StudyPages":
    """Make the folder of the studies' pages."""
    from src.reporting.study_page import StudyPages

    studies = findings["study_id"].drop_duplicates().tolist()
    return StudyPages(folder, studies, say)


def finish_pages(pages: "StudyPages", findings: "pd.DataFrame") -> None:
    """Write the list of pages, and count those that could not be drawn."""
    try:
        path = pages.finish(findings)
    except OSError as error:  # pages must not cost the submission
        say(f"Warning: the list of pages was not written ({error.strerror})")
        return
    if pages.failed:
        say(f"Warning: {len(pages.failed):,} pages are without pictures or missing")
    say(f"Wrote {len(pages.rows):,} pages: open {path} (not for clinical use)")


def mark(
    findings: "pd.DataFrame", share: float, outputs: "OutputFiles"
) -> "pd.DataFrame":
    """Mark the findings that a person should look at first."""
    from src.inference.review import mark_for_review

    findings = mark_for_review(findings, share)
    outputs.write(findings)
    marked = findings[findings["review"] == 1]
    say(
        f"Marked {len(marked):,} of {len(findings):,} findings for review, in "
        f"{marked['study_id'].nunique():,} studies"
    )
    return findings


def report(findings: "pd.DataFrame", outputs: "OutputFiles", origin: str) -> None:
    """Print the sources of the predictions, and why some are the prior."""
    from src.inference.findings import fallback_reasons, keeps_prior, sources

    show_table("Predictions by family and source", sources(findings))
    if rows := fallback_reasons(findings):
        show_table(f"Fallback reasons; the prior is from {origin}", rows)
    if keeps_prior(findings).all():
        say("ALL ROWS ARE THE PRIOR: no site was graded")
    say(f"Next: look at {outputs.findings}, then submit {outputs.submission}")


def usable_runs(folder: Path) -> "list[Run]":
    """Open the runs; only warn of missing or damaged ones, as the prior remains."""
    from src.training.run_folder import readable_runs

    if not folder.is_dir():
        say(f"Warning: --runs {folder} is not a folder; every grade is the prior")
        return []
    return readable_runs(folder, say)


if __name__ == "__main__":
    run_script(main)

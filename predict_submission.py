"""Answer the unlabelled test studies with a complete submission file.

    python predict_submission.py --data data --runs runs --out submission.csv

finds the 25 sites of each study with the location runs, grades them with all severity
runs together, and writes findings.csv beside the answer: where each came from, and what
the condition runs see there. A whole file of priors is written first and replaced as
studies are done; what cannot be read keeps the prior and says why.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from src.command_line import make_parser, run_script
from src.competition.tables import image_folder, list_test_studies, read_test_series
from src.console import progress, say, show_table, timed
from src.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from src.inference.predict_studies import OutputFiles
    from src.training.run_folder import Run


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    add("--runs", type=Path, required=True, help="the folder of train.py's runs")
    text = "the submission to write"
    add("--out", type=Path, default=Path("submission.csv"), help=text)
    text = "where each answer came from; beside --out if not given"
    add("--findings", type=Path, help=text)
    text = "stop looking after N minutes; what is left keeps the prior"
    add("--limit-minutes", type=float, default=float("inf"), metavar="N", help=text)
    return parser.parse_args()


def main() -> None:
    """Answer every test study."""
    args = parse()
    path = args.findings or args.out.with_name("findings.csv")
    if path.resolve() == args.out.resolve():
        raise UserError(f"--out and --findings are one file, {path}: name two")
    from src.inference.fallback_prior import choose_prior
    from src.inference.findings import prior_findings
    from src.inference.predict_studies import OutputFiles

    studies = list_test_studies(args.data)
    runs = usable_runs(args.runs)
    prior, origin = choose_prior(runs, args.data)
    answers = OutputFiles(args.out, path)
    findings = prior_findings(studies, prior, "not read yet")
    answers.write(findings)
    say(f"Wrote a prior-only submission ({args.out}), to be replaced study by study")
    findings = read_all(args, runs, findings, answers)
    report(findings, answers, origin)


def read_all(
    args: argparse.Namespace,
    runs: "list[Run]",
    findings: "pd.DataFrame",
    answers: "OutputFiles",
) -> "pd.DataFrame":
    """Let the runs replace the prior's findings, study by study."""
    from src.inference.pipeline import load_pipeline
    from src.inference.predict_studies import predict_all_studies

    try:
        reader = load_pipeline(args.runs, runs, say)
    except UserError as error:
        reason = str(error)
        say(f"Warning: {reason}")
        findings = findings.assign(reason=reason)
        answers.write(findings)
        return findings
    count = findings["study_id"].nunique()
    with timed(f"Read {count} studies"), progress("studies") as tick:
        return predict_all_studies(
            findings,
            image_folder(args.data, "test"),
            read_test_series(args.data),
            reader,
            answers,
            60 * args.limit_minutes,
            tick,
        )


def report(findings: "pd.DataFrame", answers: "OutputFiles", origin: str) -> None:
    """Say what was read, what fell back to the prior, and why."""
    from src.inference.findings import fallback_reasons, sources

    show_table("OutputFiles by where they came from", sources(findings))
    if rows := fallback_reasons(findings):
        show_table(f"Fallback reasons; the prior is from {origin}", rows)
    if (findings["source"] == "prior").all():
        say("ALL ROWS ARE THE PRIOR: no study was read")
    say(f"Next: look at {answers.findings}, then submit {answers.submission}")


def usable_runs(folder: Path) -> "list[Run]":
    """Open the runs; what is missing or damaged costs no answer, so only say so."""
    from src.training.run_folder import readable_runs

    if not folder.is_dir():
        say(f"Warning: --runs {folder} is no folder")
        return []
    return readable_runs(folder, say)


if __name__ == "__main__":
    run_script(main)

"""Answer the unlabelled test studies with a complete submission file.

    python predict_submission.py --data data --runs runs --out submission.csv

writes 25 rows a study, and beside it findings.csv with where each answer came from.
Until the kit can find sites without coordinates every answer is the weighted prior of
the training studies, and the output says so.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from src.competition import submission as submissions
from src.competition.tables import test_studies
from src.errors import InputError
from src.files import write_csv
from src.reporting.command_line import parser_of, run
from src.reporting.console import say

if TYPE_CHECKING:
    from src.learning.runs import Run

NO_LOCATOR = "no location run: the site was not looked for"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the unpacked competition")
    add("--runs", type=Path, required=True, help="the folder of train.py's runs")
    text = "the submission to write"
    add("--out", type=Path, default=Path("submission.csv"), help=text)
    text = "where each answer came from; beside --out if not given"
    add("--findings", type=Path, help=text)
    text = "stop looking after N minutes; what is left keeps the prior"
    add("--limit-minutes", type=float, metavar="N", help=text)
    return parser.parse_args()


def main() -> None:
    """Answer every test study."""
    args = parse()
    from src.reading.findings import prior_findings, to_submission
    from src.reading.priors import choose_prior

    studies = test_studies(args.data)
    prior, origin = choose_prior(usable_runs(args.runs), args.data)
    findings = prior_findings(studies, prior, NO_LOCATOR)
    submissions.write(to_submission(findings), args.out)
    path = args.findings or args.out.with_name("findings.csv")
    write_csv(findings, path)
    say(f"Wrote {args.out}: {len(studies)} studies, {len(findings)} rows")
    counts = findings["source"].value_counts()
    say(f"By source: {', '.join(f'{name} {n}' for name, n in counts.items())}")
    say(f"ALL ROWS ARE THE PRIOR, from {origin}; no image was read")
    say(f"Next: look at {path}, then submit {args.out}")


def usable_runs(folder: Path) -> "list[Run]":
    """Open the runs; without any the answer is still complete, so only say so."""
    from src.learning.runs import read_runs

    try:
        return read_runs(folder)
    except InputError as error:
        say(f"Warning: {error}")
        return []


if __name__ == "__main__":
    run(main)

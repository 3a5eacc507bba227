"""How far severity runs are from the ideal reader, on phantom studies they did not see.

    python -m benchmarks.excess_risk --data phantom --runs runs

The phantom knows each site's narrowing, so the chance of each severity too, and with it
what a prediction costs on average over all labels a reader might have given: the luck
of those that were given does not count. From that the ideal reader's cost is taken
off. Runs are held to the studies that they tested; `together` is the mean of their
logarithms, as predict_submission.py takes it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from src.classification.calibration import SITE
from src.command_line import make_parser, run_script
from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES, SEVERITY_WEIGHTS
from src.console import show_table
from src.errors import UserError
from src.inference.grading import MIN_PROBABILITY
from src.phantom.cohort import SEEN_SITES_FILE, truth_folder
from src.phantom.rater import ideal_probabilities, severity_probabilities
from src.training.run_folder import read_runs

SAID = [f"p_{name}" for name in SEVERITIES]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a phantom, its truth beside it")
    add("--runs", type=Path, required=True, help="severity runs trained on it")
    return parser.parse_args()


def excess(said: np.ndarray, narrowing: np.ndarray) -> tuple[float, float]:
    """Return the mean cost above ideal of chances [n, 3], and the ideal cost itself.

    Costs are the metric's: cross entropies, each site counting by its weight.
    """
    weighted = severity_probabilities(narrowing) * SEVERITY_WEIGHTS
    bounded = np.maximum(said, MIN_PROBABILITY)
    bounded = bounded / bounded.sum(axis=1, keepdims=True)
    costs = [
        -(weighted * np.log(np.maximum(told, 1e-300))).sum() / weighted.sum()
        for told in (bounded, ideal_probabilities(narrowing))
    ]
    return costs[0] - costs[1], costs[1]


def row(backbone: str, fold: str, table: pd.DataFrame) -> dict[str, object]:
    """Tell of one table of predictions with their narrowing, family by family."""
    families = table["condition"].map(FAMILY_OF)
    told: dict[str, object] = {"backbone": backbone, "fold": fold}
    told["studies"] = table["study_id"].nunique()
    costs = []
    for family in FAMILIES:
        here = table[families == family]
        costs.append(excess(here[SAID].to_numpy(float), here["narrowing"].to_numpy()))
        told[family] = costs[-1][0]
    above, ideal = np.mean(costs, axis=0)
    return {**told, "mean": float(above), "ideal": float(ideal)}


def together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Average the runs' predictions of a site by their logarithms."""
    every = pd.concat(tables, ignore_index=True)
    every[SAID] = np.log(every[SAID].clip(lower=MIN_PROBABILITY))
    mean = every.groupby([*SITE, "narrowing"], as_index=False)[SAID].mean()
    mean[SAID] = np.exp(mean[SAID])
    return mean


def main() -> None:
    """Show every run, and all together."""
    args = parse()
    path = truth_folder(args.data) / SEEN_SITES_FILE
    if not path.is_file():
        raise UserError(f"{path} is not there: only a phantom knows its narrowings")
    known = pd.read_csv(path)[[*SITE, "narrowing"]]
    runs = read_runs(args.runs, "severity")
    tables = [run.predictions().merge(known, on=SITE) for run in runs]
    rows = [
        row(one.config.backbone, one.config.fold, table)
        for one, table in zip(runs, tables, strict=True)
    ]
    rows.append(row("together", "all", together(tables)))
    show_table("Above the ideal reader", rows)


if __name__ == "__main__":
    run_script(main)

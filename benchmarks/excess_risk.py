"""How far severity runs are from the ideal observer, on phantom studies they tested.

    python -m benchmarks.excess_risk --data phantom --runs runs

The phantom knows each site's narrowing, so also the probability of each severity, and
with it the expected cost of a prediction over all labels that a rater might have given:
the luck of the draw does not count. The ideal observer's cost is subtracted. Each run
is measured on the studies that it tested; `ensemble` is all runs together, averaged as
predict_submission.py does.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from src.classification.ensemble import ensemble, ensemble_tables
from src.command_line import make_parser, run_script
from src.competition.constants import FAMILIES, FAMILY_OF, SEVERITIES, SEVERITY_WEIGHTS
from src.competition.tables import SITE
from src.console import show_table
from src.errors import UserError
from src.phantom.cohort import SEEN_SITES_FILE, truth_folder
from src.phantom.rater import ideal_probabilities, severity_probabilities
from src.training.run_folder import read_runs

COLUMNS = [f"p_{name}" for name in SEVERITIES]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a phantom, its truth beside it")
    add("--runs", type=Path, required=True, help="severity runs trained on it")
    return parser.parse_args()


def excess(predicted: np.ndarray, narrowing: np.ndarray) -> tuple[float, float]:
    """Return the mean cost of probabilities [n, 3] above ideal, and the ideal cost.

    Costs are the metric's: cross-entropies, each site counting by its weight.
    """
    weighted = severity_probabilities(narrowing) * SEVERITY_WEIGHTS
    bounded = ensemble(predicted, np.arange(len(predicted)))
    cost, ideal = (
        -(weighted * np.log(np.maximum(rows, 1e-300))).sum() / weighted.sum()
        for rows in (bounded, ideal_probabilities(narrowing))
    )
    return float(cost - ideal), float(ideal)


def excess_row(backbone: str, fold: str, table: pd.DataFrame) -> dict[str, object]:
    """Lay out one table of predictions with their narrowing, family by family."""
    families = table["condition"].map(FAMILY_OF)
    costs = {}
    for family in FAMILIES:
        chosen = table[families == family]
        predicted = chosen[COLUMNS].to_numpy(float)
        costs[family] = excess(predicted, chosen["narrowing"].to_numpy())
    above, ideal = np.mean(list(costs.values()), axis=0)
    return {
        **{"backbone": backbone, "fold": fold, "studies": table["study_id"].nunique()},
        **{family: cost for family, (cost, _) in costs.items()},
        **{"mean": float(above), "ideal": float(ideal)},
    }


def main() -> None:
    """Show every run, and their ensemble."""
    args = parse()
    path = truth_folder(args.data) / SEEN_SITES_FILE
    if not path.is_file():
        raise UserError(
            f"{path} does not exist, and only a phantom's truth has the narrowings: "
            "name a phantom made by input_prep.py --phantom"
        )
    known = pd.read_csv(path)[[*SITE, "narrowing"]]
    runs = read_runs(args.runs, "severity")
    tables = [run.predictions().merge(known, on=SITE) for run in runs]
    rows = [
        excess_row(run.config.backbone, run.config.fold, table)
        for run, table in zip(runs, tables, strict=True)
    ]
    joint = ensemble_tables(tables, [*SITE, "narrowing"], COLUMNS)
    rows.append(excess_row("ensemble", "all", joint))
    show_table("Cost above the ideal observer", rows)


if __name__ == "__main__":
    run_script(main)

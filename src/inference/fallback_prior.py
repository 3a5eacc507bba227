"""The prior for sites that cannot be graded, from the best source available."""

from pathlib import Path

import pandas as pd

from src.competition.prior import smoothed_prior, uniform
from src.competition.tables import LABEL_FILE, read_labels
from src.errors import UserError
from src.training.run_folder import Run, mean_prior


def choose_prior(runs: list[Run], data: Path) -> tuple[pd.DataFrame, str]:
    """Return the prior and its source: the runs, else train.csv, else 1/3."""
    if runs:
        return mean_prior(runs), f"the training studies of {len(runs)} runs"
    try:
        return smoothed_prior(read_labels(data / LABEL_FILE)), f"{data / LABEL_FILE}"
    except UserError:
        return uniform(), "no labels: 1/3 everywhere"

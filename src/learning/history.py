"""A run's history.jsonl, read and checked: a row an epoch."""

from pathlib import Path

import pandas as pd

from src.errors import InputError

LOSSES = ["train_loss", "validation_loss"]


def read_history(path: Path) -> pd.DataFrame:
    """Read epoch, train_loss and validation_loss, in order of epochs.

    Losses are mean cross entropies a crop, each over its own set. Raises InputError
    for a file that is not whole.
    """
    try:
        table = pd.read_json(path, lines=True)[["epoch", *LOSSES]].astype(float)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is missing or damaged; train the run {path.parent.name} again"
        ) from error
    if table.empty:
        raise InputError(f"{path} has no epoch; train the run again")
    return table.sort_values("epoch", ignore_index=True)

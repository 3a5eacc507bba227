"""How well location runs find sites in studies that they have not seen."""

from pathlib import Path
from typing import Any

import pandas as pd

from src.competition.columns import (
    Kind,
    anything,
    number,
    number_or_blank,
    whole_number,
    word,
)
from src.competition.csvfile import read_csv
from src.competition.vocab import CONDITIONS, LEVELS, SERIES_DESCRIPTIONS
from src.errors import InputError
from src.reading.comparison import COMPARED

NEAR_MM = 5.0
_KINDS: dict[str, Kind] = {
    "study_id": whole_number,
    "condition": word(CONDITIONS),
    "level": word(LEVELS),
    "series_description": word(SERIES_DESCRIPTIONS),
    "source": anything,
    "true_series_id": whole_number,
    "true_instance_number": whole_number,
    "true_x": number,
    "true_y": number,
    "level_right": word(["true", "false"], blank=True),
    "side_right": word(["true", "false"], blank=True),
}
LOCATION_COLUMNS = {name: _KINDS.get(name, number_or_blank) for name in COMPARED}


def read_locations(path: Path, tested: set[int]) -> pd.DataFrame:
    """Read a location run's predictions.csv: COMPARED, a row a marked site.

    tested: the studies that its fold tests. Raises InputError if it tells of others.
    """
    key = ["study_id", "condition", "level", "true_series_id"]
    try:
        table = read_csv(path, LOCATION_COLUMNS)
    except InputError as error:
        raise InputError(f"Run {path.parent.name} is damaged: {error}") from error
    if not set(table["study_id"]) <= tested:
        raise InputError(
            f"Run {path.parent.name} tests other studies than this cache's folds.csv "
            "give it: name the cache it was trained on, or train it again"
        )
    for name in ("level_right", "side_right"):
        table[name] = table[name] == "true"
    return table.drop_duplicates(key)


def location_metrics(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Sum up found sites by series type: metrics.json's entry `location`.

    table: COMPARED, and by `run` which run found them. studies_level_right: of the
    studies of each run, the share of those with every level right.
    Errors in mm are in the marked slice's plane and over the sites found; every share
    is of all marked sites, so that a missed one counts against it.
    """
    return {
        description: _summary(table[table["series_description"] == description])
        for description in SERIES_DESCRIPTIONS
        if (table["series_description"] == description).any()
    }


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    errors = table["error_mm"]
    median, most = errors.quantile([0.5, 0.95])
    shares = {
        "within_5mm": errors <= NEAR_MM,
        "slice_exact": table["slices_off"] == 0,
        "slice_within_one": table["slices_off"] <= 1,
        "level_right": table["level_right"],
        "side_right": table["side_right"],
        "missed": errors.isna(),
        "projected": table["source"] == "projected",
    }
    whole = table.groupby(["run", "study_id"])["level_right"].all()
    return {
        "median_mm": float(median) if errors.notna().any() else None,
        "p95_mm": float(most) if errors.notna().any() else None,
        **{name: float(hits.mean()) for name, hits in shares.items()},
        "studies_level_right": float(whole.mean()),
        "sites": len(table),
        "studies": int(table["study_id"].nunique()),
    }

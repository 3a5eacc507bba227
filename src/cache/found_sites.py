"""Found sites in place of the marked points: `input_prep.py --sites FILE`.

In a test study the sites are where a locator found them, a little off, and a network
can learn from such crops, too: evaluate.py lists where location runs found the sites of
the studies that they tested.

Nothing leaks by that. A study's sites were found by runs that have not trained on it,
so they are off as much in training as in the hidden test; and a locator learns from
positions alone, never from a grade, so it cannot carry the grades of one fold's test
studies into another's training. The folds of the location runs and those of the runs
trained on these crops therefore need not be the same.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from src.competition.csv_schema import read_csv
from src.competition.tables import (
    LABEL_FILE,
    POINT_COLUMNS,
    SERIES_FILE,
    SITE,
    Competition,
)
from src.errors import UserError

NOT_FOUND = "its site was not found"
NOT_SOUGHT = "no location run has looked for the sites of its study"


def with_found_sites(competition: Competition, path: Path) -> Competition:
    """Replace the marked points by the found sites of a CSV with the same columns.

    Raises UserError for a site that is listed twice, or is of a study or series that
    the competition's tables do not have.
    """
    sites = read_csv(path, POINT_COLUMNS, key=SITE)
    _require_known(sites, competition.labels, ["study_id"], path, LABEL_FILE)
    series = ["study_id", "series_id"]
    _require_known(sites, competition.series, series, path, SERIES_FILE)
    return replace(competition, points=sites)


def sites_not_found(competition: Competition) -> pd.DataFrame:
    """List the labels without a found site, as rejects: crop_cache.add_rejects'.

    competition: as with_found_sites returns it.
    """
    labels, sites = competition.labels, competition.points
    labelled = labels.loc[labels["severity"].notna(), SITE]
    found = pd.MultiIndex.from_frame(sites[SITE])
    lacking = labelled[~pd.MultiIndex.from_frame(labelled).isin(found)]
    sought = lacking["study_id"].isin(sites["study_id"])
    return lacking.assign(
        series_id=pd.array([pd.NA] * len(lacking), "Int64"),
        instance_number=pd.array([pd.NA] * len(lacking), "Int64"),
        reason=sought.map({True: NOT_FOUND, False: NOT_SOUGHT}),
    )


def _require_known(
    sites: pd.DataFrame, table: pd.DataFrame, key: list[str], path: Path, source: str
) -> None:
    """Raise UserError if a site's key is not in one of the competition's tables."""
    known = pd.MultiIndex.from_frame(table[key])
    unknown = sites[~pd.MultiIndex.from_frame(sites[key]).isin(known)]
    if len(unknown):
        named = " ".join(f"{name} {unknown[name].iloc[0]}" for name in key)
        more = f" (and {len(unknown) - 1:,} more rows)" if len(unknown) > 1 else ""
        raise UserError(
            f"{named} of {path.name}{more} is not in {source}; give the sites that "
            "evaluate.py found in this --data."
        )

"""Series, studies and points of the competition that others found to be bad.

Data with their sources: `input_prep.py --check` tells which of them a download holds,
and `--leave-out known` leaves them out. Nothing else uses them.
"""

from dataclasses import dataclass

import pandas as pd

from src.competition.constants import FAMILY_OF
from src.competition.tables import Competition

BASE = "kaggle.com/competitions/rsna-2024-lumbar-spine-degenerative-classification"
CERVICAL = f"{BASE}/discussion/514891"
ARTLEY = "github.com/brendanartley/RSNA-2024-Competition src/data/dataset_stage1.py"
HENG = "github.com/hengck23/solution-rsna-2024-lumbar-spine src/data_process"
CITRUS = "github.com/WhyCitrus/rsna-lspine skp/etl/0009_upsample_foramen_and_spinal"


@dataclass(frozen=True)
class KnownIssue:
    """What was reported about a study or a series.

    ids: of studies if scope is "study_id", of series if "series_id"; family: the only
    conditions whose points are concerned, or None for all of the images.
    """

    scope: str
    ids: tuple[int, ...]
    reason: str
    source: str
    family: str | None = None

    def __str__(self) -> str:
        """Return a sentence without its full stop."""
        return f"known: {self.reason} ({self.source})"


KNOWN_ISSUES = (
    KnownIssue("series_id", (3892989905,), "not a lumbar spine", CERVICAL),
    KnownIssue(
        "series_id",
        (2097107888, 2679683906, 1771893480, 996418962, 1753543608, 1848483560),
        "a bad axial series",
        ARTLEY,
    ),
    KnownIssue(
        "study_id", (2492114990, 2780132468), "left out by several teams", ARTLEY
    ),
    KnownIssue("study_id", (3008676218,), "a study without any point", ARTLEY),
    KnownIssue(
        "study_id",
        (2937953357, 1973833645),
        "canal points far from where a trained model finds them",
        CITRUS,
        "spinal",
    ),
    KnownIssue(
        "series_id",
        (8785691, 3355993164, 4066376844),
        "left foraminal points on the wrong side",
        HENG,
        "foraminal",
    ),
    KnownIssue(
        "series_id",
        (3230157587, 692927423, 2289719834, 4030602643, 856763877),
        "foraminal points of both sides on one slice",
        HENG,
        "foraminal",
    ),
)


def known_issue(table: pd.DataFrame) -> pd.Series:
    """Describe the known issue of each row, or "" where there is none.

    table: study_id, series_id and, if a row is a point, condition. A series without its
    points is concerned only by what is wrong with its images.
    """
    found = pd.Series("", table.index, dtype=object)
    for issue in KNOWN_ISSUES:
        here = table[issue.scope].isin(issue.ids)
        if issue.family is not None:
            if "condition" not in table:
                continue
            here &= table["condition"].map(FAMILY_OF) == issue.family
        found[here & (found == "")] = str(issue)
    return found


def without_known_issues(
    competition: Competition,
) -> tuple[Competition, pd.DataFrame]:
    """Leave out the known bad points and series, and list them with the reason.

    The list has a row a point, and a row without instance, condition and level for a
    series that has no point. Labels stay, so that folds and prior stay what they are.
    """
    points, series = competition.points, competition.series
    bad_points, bad_series = known_issue(points), known_issue(series)
    site = ["study_id", "series_id", "instance_number", "condition", "level"]
    left_points = points.assign(reason=bad_points)[bad_points != ""]
    left_series = series.assign(reason=bad_series)[bad_series != ""]
    key = ["study_id", "series_id"]
    marked = left_series.merge(points[key].drop_duplicates(), "left", indicator=True)
    unmarked = marked[marked["_merge"] == "left_only"]
    left = pd.concat([left_points, unmarked]).reindex(columns=[*site, "reason"])
    kept = Competition(
        competition.root,
        labels=competition.labels,
        points=points[bad_points == ""].reset_index(drop=True),
        series=series[bad_series == ""].reset_index(drop=True),
    )
    return kept, left.astype({"instance_number": "Int64"}).reset_index(drop=True)

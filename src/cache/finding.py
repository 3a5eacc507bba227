"""A finding of the check of a download: a row of check.csv."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """Something odd: of a study, a series, a file, or none of them.

    what: the kind of finding; detail: one plain sentence with numbers.
    """

    study_id: int | None
    series_id: int | None
    file: str
    what: str
    detail: str


CHECK_COLUMNS = tuple(field.name for field in fields(Finding))


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Put findings into a table of CHECK_COLUMNS; an absent id is missing."""
    table = pd.DataFrame(map(vars, findings), columns=list(CHECK_COLUMNS))
    return table.astype({"study_id": "Int64", "series_id": "Int64"})

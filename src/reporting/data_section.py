"""The report's section on the data: what was cut, what was left out and why."""

import re
from pathlib import Path

import pandas as pd

from src.cache.crop_cache import OWN, CropCache
from src.competition.constants import CONDITIONS, SERIES_DESCRIPTIONS, SEVERITIES
from src.reporting.html_report import HtmlReport
from src.reporting.tables import Row, Rows

MOST = 12  # reasons of a table
PRECISE = re.compile(r"\b\d{3,}\b|\d+\.\d+")  # an id or a measure within a reason
FILES = {
    "rejects.csv": "Points and views without a crop",
    "suspects.csv": "Labels that contradict the images' geometry or each other",
    "overview-rejects.csv": "Files and series without an overview",
}


def add_data(page: HtmlReport, cache: CropCache) -> None:
    """Add the section to the page: counts, grades, and reasons of what is lacking."""
    page.heading("The data: crops, grades and rejects")
    page.paragraph(
        "A crop is cut around each marked point, a site; with `--views all` also "
        "where the study's other series show that site. Nothing is dropped in silence: "
        "what could not be cut is in `rejects.csv` with its reason, and labels that "
        "cannot be right are kept, but listed in `suspects.csv`."
    )
    page.table(count_table(cache))
    page.heading("Grades by condition", level=3)
    page.table(grades_table(cache.sites))
    page.heading("Left out or doubtful", level=3)
    for name, title in FILES.items():
        table = reasons_table(cache.path / name)
        count = sum(int(str(row["count"]).replace(",", "")) for row in table)
        page.paragraph(f"{title}: {count:,} (`{name}`)")
        if table:
            page.table(table[:MOST])


def count_table(cache: CropCache) -> Rows:
    """Count studies, series, crops at marked points and crops of other views by type.

    series: of the studies' table, whether or not a point is marked on them.
    """
    rows: Rows = []
    for name in SERIES_DESCRIPTIONS:
        series = cache.series["series_description"] == name
        crops = cache.table["series_description"] == name
        own = cache.table["view"] == OWN
        rows.append(
            {
                "series type": name,
                "studies": _count(cache.series.loc[series, "study_id"].nunique()),
                "series": _count(int(series.sum())),
                "crops at marked points": _count(int((crops & own).sum())),
                "crops of other views": _count(int((crops & ~own).sum())),
            }
        )
    own_count = int((cache.table["view"] == OWN).sum())
    total: Row = {
        "series type": "all",
        "studies": _count(cache.labels["study_id"].nunique()),
        "series": _count(len(cache.series)),
        "crops at marked points": _count(own_count),
        "crops of other views": _count(len(cache.table) - own_count),
    }
    return [*rows, total]


def grades_table(sites: pd.DataFrame) -> Rows:
    """Count the marked sites of each condition by their severity."""
    rows: Rows = []
    for condition in CONDITIONS:
        grades = sites.loc[sites["condition"] == condition, "severity"]
        counts = {
            name.replace("normal_mild", "normal or mild"): _count(
                int((grades == name).sum())
            )
            for name in SEVERITIES
        }
        rows.append(
            {
                "condition": condition.replace("_", " "),
                **counts,
                "without a grade": _count(int(grades.isna().sum())),
            }
        )
    return rows


def reasons_table(path: Path) -> Rows:
    """Count a file's reasons, most frequent first; numbers in them become `...`.

    Empty if the file has no row or is not there.
    """
    if not path.is_file():
        return []
    reasons = (
        pd.read_csv(path)["reason"].astype(str).str.replace(PRECISE, "...", regex=True)
    )
    counts = reasons.value_counts()
    return [
        {"reason": str(reason), "count": _count(int(count))}
        for reason, count in counts.items()
    ]


def _count(number: int) -> str:
    return f"{number:,}"

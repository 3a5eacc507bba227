"""The check of a download: reads whatever is there, and lists what is odd about it."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import pandas as pd

from src.cache.finding import Finding, findings_table
from src.cache.lenient_tables import (
    REPEATED,
    SERIES_KEY,
    SPLITS,
    UNKNOWN_VALUE,
    UNREADABLE,
    DownloadTables,
    read_leniently,
)
from src.cache.series_checks import SERIES_CHECKS
from src.cache.series_facts import (
    MarkedPoint,
    SeriesTask,
    read_series_facts,
)
from src.cache.study_checks import STUDY_CHECKS, Download
from src.competition.tables import SERIES_COLUMNS, image_folder, numbered_folders
from src.errors import UserError
from src.imaging.series import is_system_file
from src.workers import Progress, map_all

MAX_EXAMPLE = 120
ODD_FOLDER = "entry not expected"
# All kinds of finding, in the order in which they are shown.
KINDS = (
    *(UNREADABLE, UNKNOWN_VALUE, REPEATED, ODD_FOLDER),
    *STUDY_CHECKS,
    *SERIES_CHECKS,
)
# Those that need --pixels.
PIXEL_KINDS = ("pixels not readable", "image blank", "picture stored twice")


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The findings, CHECK_COLUMNS in the order of KINDS, and what was looked at."""

    findings: pd.DataFrame
    studies: int
    series: int
    files: int


def check_download(
    root: Path,
    pixels: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> CheckResult:
    """Read what is in `root`, training and test, and list what is odd.

    pixels: decode all images too; executor: where series are read, here if None.
    Raises UserError if `root` is no folder or holds neither a table nor images.
    """
    _require_download(root)
    tables, findings = read_leniently(root)
    folders: dict[str, set[int] | None] = {}
    tasks: list[SeriesTask] = []
    for split in SPLITS:
        images = image_folder(root, split)
        studies, odd = _numbered(images)
        findings += _odd_entries(odd, images.name)
        folders[split] = studies if images.is_dir() else None
        listing = _Listing.of(split, tables, pixels)
        for study in sorted(studies):
            numbers, odd = _numbered(images / str(study))
            tasks += listing.tasks(study, images / str(study), numbers)
            findings += _odd_entries(odd, "", study)
    facts = list(map_all(read_series_facts, tasks, executor, progress))
    findings += _found_in(Download(root, tables, folders, facts))
    return CheckResult(
        _sorted(findings_table(findings)),
        studies=len({task.study_id for task in tasks}),
        series=len(tasks),
        files=sum(each.files for each in facts),
    )


def summarise(findings: pd.DataFrame) -> list[dict[str, object]]:
    """Count each kind of finding, with an example, for the screen."""
    rows: list[dict[str, object]] = []
    for what, group in findings.groupby("what", sort=False):
        rows.append(
            {
                "what": what,
                "findings": len(group),
                "studies": group["study_id"].nunique() or None,
                "example": _example(group.iloc[0]),
            }
        )
    return rows


def kinds_not_found(findings: pd.DataFrame, pixels: bool) -> list[str]:
    """List the kinds without a finding; pixels: whether they were decoded."""
    looked_for = [kind for kind in KINDS if pixels or kind not in PIXEL_KINDS]
    found = set(findings["what"])
    return [kind for kind in looked_for if kind not in found]


def _example(row: pd.Series) -> str:
    """Describe a finding on a line or two: where it is, and its detail."""
    ids = [str(row[name]) for name in SERIES_KEY if pd.notna(row[name])]
    if row["file"].endswith(".csv"):
        where = ", ".join([row["file"], *ids[:1]])
    else:
        where = "/".join([*ids, *([row["file"]] if row["file"] else [])])
    return shorten(f"{where}: {row['detail']}", MAX_EXAMPLE, placeholder=" ...")


def _require_download(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"{root} is no folder; give the one that holds the download.")
    images = any(image_folder(root, split).is_dir() for split in SPLITS)
    if not images and not any(root.glob("*.csv")):
        raise UserError(
            f"{root} holds neither CSVs nor train_images or test_images; give the "
            "folder of the unpacked competition."
        )


def _numbered(folder: Path) -> tuple[set[int], int]:
    """Return a folder's numbered folders, and the number of its other entries."""
    if not folder.is_dir():
        return set(), 0
    numbers = numbered_folders(folder)
    shown = [entry for entry in folder.iterdir() if not is_system_file(entry.name)]
    return numbers, len(shown) - len(numbers)


def _odd_entries(count: int, file: str, study: int | None = None) -> Iterator[Finding]:
    """Tell how many entries have names that are no ids, which could name a person."""
    if count:
        what = "an entry that is" if count == 1 else f"{count} entries that are"
        yield Finding(study, None, file, ODD_FOLDER, f"holds {what} no numbered folder")


@dataclass(frozen=True, eq=False)
class _Listing:
    """What the tables say of the series of a split: by study and series.

    words: their descriptions, None without the table; points: those marked on them.
    """

    split: str
    words: dict[int, dict[int, str]] | None
    points: dict[tuple[int, int], list[MarkedPoint]]
    pixels: bool

    @classmethod
    def of(cls, split: str, tables: DownloadTables, pixels: bool) -> "_Listing":
        listed = tables.series[split]
        words: dict[int, dict[int, str]] = defaultdict(dict)
        if listed is not None:
            described = listed.fillna({"series_description": ""})
            for study, series, text in _columns(described, *SERIES_COLUMNS):
                words[study][series] = str(text)
        points: dict[tuple[int, int], list[MarkedPoint]] = defaultdict(list)
        if split == "train" and tables.points is not None:
            numbered = tables.points.assign(row=tables.points.index)
            marks = _columns(numbered, "row", "instance_number", "x", "y")
            keys = _columns(numbered, "study_id", "series_id")
            for (study, series), mark in zip(keys, marks, strict=True):
                points[study, series].append(MarkedPoint(*mark))
        return cls(split, None if listed is None else words, points, pixels)

    def tasks(
        self, study: int, folder: Path, numbers: set[int]
    ) -> Iterator[SeriesTask]:
        """Make a task of each series of a study that has a row or a folder."""
        words = {} if self.words is None else self.words.get(study, {})
        # Without the table no series is listed, which is told once, not of each.
        absent = "" if self.words is None else None
        for series in sorted(numbers | words.keys()):
            yield SeriesTask(
                self.split,
                study,
                series,
                folder / str(series),
                words.get(series, absent),
                tuple(self.points.get((study, series), ())),
                self.pixels,
            )


def _columns(table: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of some columns, as Python's own types."""
    return zip(*(table[name].tolist() for name in names), strict=True)


def _found_in(download: Download) -> Iterator[Finding]:
    """Run all checks."""
    for what, check in STUDY_CHECKS.items():
        for study, series, file, detail in check(download):
            yield Finding(study, series, file, what, detail)
    for facts in download.series:
        for what, look in SERIES_CHECKS.items():
            for file, detail in look(facts):
                yield Finding(facts.study_id, facts.series_id, file, what, detail)


def _sorted(findings: pd.DataFrame) -> pd.DataFrame:
    rank = findings["what"].map(KINDS.index)
    keys = ["rank", "study_id", "series_id", "file", "detail"]
    ordered = findings.assign(rank=rank).sort_values(keys, ignore_index=True)
    return ordered.drop(columns="rank")

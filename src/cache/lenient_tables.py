"""The competition's CSVs read leniently: whatever is wrong becomes a finding.

The readers of tables.py stop at the first fault, since nothing may be trained on a
table that has one. A check goes on, to tell them all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from src.cache.finding import Finding
from src.competition import tables
from src.competition.csv_schema import ColumnParser, any_text, read_text
from src.errors import UserError

UNREADABLE = "table not readable"
UNKNOWN_VALUE = "value not understood"
REPEATED = "row repeated"
SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
SERIES_FILES: dict[str, str] = {
    "train": tables.SERIES_FILE,
    "test": tables.TEST_SERIES_FILE,
}
TABLES = {
    "train": (tables.LABEL_FILE, tables.POINT_FILE, tables.SERIES_FILE),
    "test": (tables.TEST_SERIES_FILE, tables.SAMPLE_FILE),
}
SERIES_KEY = ["study_id", "series_id"]
# The columns that tell rows apart: two with the same values are one too many.
KEYS = {
    tables.LABEL_FILE: ["study_id"],
    tables.POINT_FILE: list(tables.POINT_COLUMNS),
    tables.SERIES_FILE: SERIES_KEY,
    tables.TEST_SERIES_FILE: SERIES_KEY,
    tables.SAMPLE_FILE: ["row_id"],
}
MAX_VALUE_SHOWN = 40


@dataclass(eq=False)
class DownloadTables:
    """The tables of a download; None for one that is missing or not readable.

    labels: one row a label; series: by split; samples: the sample submission's studies.
    """

    labels: pd.DataFrame | None = None
    points: pd.DataFrame | None = None
    series: dict[str, pd.DataFrame | None] = field(default_factory=dict)
    samples: set[int] | None = None


def read_leniently(root: Path) -> tuple[DownloadTables, list[Finding]]:
    """Read the CSVs in `root`, and list what is wrong with them.

    A missing one is told, unless nothing of its half, training or test, is there.
    """
    reader = _LenientReader(root)
    labels = reader.read(tables.LABEL_FILE, tables.LABEL_COLUMNS)
    found = DownloadTables(
        labels=None if labels is None else tables.labels_by_site(labels),
        points=reader.read(tables.POINT_FILE, tables.POINT_COLUMNS),
        series={
            split: reader.read(SERIES_FILES[split], tables.TEST_SERIES_COLUMNS)
            for split in SPLITS
        },
    )
    samples = reader.read(tables.SAMPLE_FILE, {"row_id": any_text})
    if samples is not None:
        studies = samples["row_id"].str.extract("^([0-9]{1,18})_", expand=False)
        found.samples = set(studies.dropna().astype("int64"))
    return found, reader.findings


class _LenientReader:
    """Reads tables and collects what is wrong with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.findings: list[Finding] = []

    def read(
        self, name: str, columns: Mapping[str, ColumnParser]
    ) -> pd.DataFrame | None:
        """Read the rows of a table that can be understood, each once."""
        if not any(self._has(split) for split in SPLITS if name in TABLES[split]):
            return None
        try:
            text = read_text(self.root / name)
        except UserError as error:
            reason = str(error).replace(f"{self.root}/", "").replace(str(self.root), "")
            self._tell(name, UNREADABLE, reason.rstrip("."))
            return None
        if absent := [column for column in columns if column not in text]:
            lacks = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            self._tell(name, UNREADABLE, f"lacks {len(absent)} columns: {lacks}")
            return None
        return self._without_repeats(self._understood(text, columns, name), name)

    def _has(self, split: Literal["train", "test"]) -> bool:
        """Return whether images or tables of a half are there."""
        names = (tables.image_folder(self.root, split).name, *TABLES[split])
        return any((self.root / name).exists() for name in names)

    def _understood(
        self, text: pd.DataFrame, columns: Mapping[str, ColumnParser], name: str
    ) -> pd.DataFrame:
        """Parse the columns; a label that is not understood counts as missing."""
        text = text[list(columns)].copy()
        dropped = pd.Series(False, text.index)
        for column, parse in columns.items():
            bad = _bad_cells(text[column], parse)
            for line, value in text.loc[bad, column].items():
                self._tell_value(text, line, name, column, value)
            if name == tables.LABEL_FILE and column != "study_id":
                text.loc[bad, column] = ""
            else:
                dropped |= bad
        text = text[~dropped]
        return pd.DataFrame({c: parse(text[c], name) for c, parse in columns.items()})

    def _tell_value(
        self, text: pd.DataFrame, line: int, name: str, column: str, value: str
    ) -> None:
        shown = repr(value[:MAX_VALUE_SHOWN]) if value else "empty"
        detail = f"{column} on line {line + 2} is {shown}"
        study, series = (_id_or_none(text, line, key) for key in SERIES_KEY)
        self.findings.append(Finding(study, series, name, UNKNOWN_VALUE, detail))

    def _without_repeats(self, table: pd.DataFrame, file: str) -> pd.DataFrame:
        key = KEYS[file]
        repeated = table[table.duplicated(key, keep=False)]
        for _, rows in repeated.groupby(key, sort=False):
            differ = "" if len(rows.drop_duplicates()) == 1 else ", which differ"
            lines = ", ".join(str(line + 2) for line in rows.index[:4])
            detail = f"stands {len(rows)} times, on lines {lines}{differ}"
            ids = {name: int(rows[name].iloc[0]) for name in SERIES_KEY if name in rows}
            study, series = (ids.get(name) for name in SERIES_KEY)
            self.findings.append(Finding(study, series, file, REPEATED, detail))
        return table.drop_duplicates(key, ignore_index=True)

    def _tell(self, name: str, what: str, detail: str) -> None:
        self.findings.append(Finding(None, None, name, what, detail))


def _bad_cells(text: pd.Series, parse: ColumnParser) -> pd.Series:
    """Return which cells a column's parser refuses."""
    return text.isin(list(_refused(text.drop_duplicates(), parse)))


def _refused(values: pd.Series, parse: ColumnParser) -> Iterator[str]:
    """Find the values that are refused by halving: a parser tells only the first."""
    try:
        parse(values, "")
    except UserError:
        if len(values) == 1:
            yield values.iloc[0]
            return
        middle = len(values) // 2
        yield from _refused(values.iloc[:middle], parse)
        yield from _refused(values.iloc[middle:], parse)


def _id_or_none(text: pd.DataFrame, line: int, column: str) -> int | None:
    """Return the id on a line of a table that may lack the column or the number."""
    value = str(text.at[line, column]) if column in text else ""
    return int(value) if value.isdecimal() and len(value) <= 18 else None

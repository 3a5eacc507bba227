"""The checks across series and tables: a function a kind, listed in STUDY_CHECKS."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from src.cache.label_checks import inconsistent_points
from src.cache.lenient_tables import SERIES_FILES, SPLITS, DownloadTables
from src.cache.series_checks import all_alike
from src.cache.series_facts import SeriesFacts, SliceFacts
from src.competition.constants import (
    FAMILY_OF,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
)
from src.competition.known_issues import known_issue
from src.competition.tables import LABEL_FILE, POINT_FILE, SAMPLE_FILE, SITE

SERIES = ["study_id", "series_id"]
# A finding without its kind: study, series, file, detail.
InDownload = tuple[int | None, int | None, str, str]


@dataclass(frozen=True, eq=False)
class Download:
    """A download as it was read.

    folders: the studies' folders by split, None without a folder of images; series: the
    facts of each series.
    """

    root: Path
    tables: DownloadTables
    folders: dict[str, set[int] | None]
    series: list[SeriesFacts]

    @cached_property
    def located(self) -> pd.DataFrame:
        """The points: the table's columns, problem, x_mm, y_mm, z_mm, description.

        problem: as PointFacts has it, or "series" where that cannot be read.
        """
        points = self.tables.points
        if points is None:
            return pd.DataFrame(columns=[*SITE, "series_id", "problem", "x_mm", "z_mm"])
        train = [facts for facts in self.series if facts.split == "train"]
        found = {point.row: point for facts in train for point in facts.points}
        rows = [found.get(row) for row in points.index]
        places = [(point and point.patient_mm) or (None,) * 3 for point in rows]
        where = pd.DataFrame(places, points.index, ["x_mm", "y_mm", "z_mm"], float)
        problems = [point.problem if point else "series" for point in rows]
        types = {(f.study_id, f.series_id): _description(f) for f in train}
        return points.join(where).assign(
            problem=problems,
            shape=pd.Series([p.shape if p else None for p in rows], points.index),
            description=pd.Series(
                [types.get(key) for key in _keys(points)], points.index
            ),
        )


StudyCheck = Callable[[Download], Iterator[InDownload]]


def in_some_tables(download: Download) -> Iterator[InDownload]:
    """A study that one table or the images have and another has not."""
    tables, folders = download.tables, download.folders
    places = {
        "train": {
            f"row in {LABEL_FILE}": _studies(tables.labels),
            f"row in {POINT_FILE}": _studies(tables.points),
            f"row in {SERIES_FILES['train']}": _studies(tables.series["train"]),
            "folder in train_images": folders["train"],
        },
        "test": {
            f"row in {SERIES_FILES['test']}": _studies(tables.series["test"]),
            "folder in test_images": folders["test"],
            f"row in {SAMPLE_FILE}": tables.samples,
        },
    }
    for split in SPLITS:
        known = {name: ids for name, ids in places[split].items() if ids is not None}
        for study in sorted(set().union(*known.values())):
            absent = [f"no {name}" for name, ids in known.items() if study not in ids]
            if absent:
                yield study, None, "", f"it has {' and '.join(absent)}"


def series_types(download: Download) -> Iterator[InDownload]:
    """A study without a series of some type."""
    for study, counts in _type_counts(download).items():
        for name in SERIES_DESCRIPTIONS:
            if not counts[name]:
                yield study, None, "", f"it has no {name} series"


def several_of_a_type(download: Download) -> Iterator[InDownload]:
    """A study with more than one series of some type."""
    for study, counts in _type_counts(download).items():
        for name, ids in counts.items():
            if len(ids) > 1:
                listed = ", ".join(map(str, ids))
                yield study, None, "", f"it has {len(ids)} {name} series: {listed}"


def same_file(download: Download) -> Iterator[InDownload]:
    """Files with one UID at one place: copies of each other."""
    yield from _copies(download, lambda each: each.identity, "is a copy of")


def same_picture(download: Download) -> Iterator[InDownload]:
    """Different files with the same pixels; found only if pixels are decoded."""
    yield from _copies(download, lambda each: each.picture, "has the pixels of")


def labels_empty(download: Download) -> Iterator[InDownload]:
    """A study that is not fully labelled."""
    labels = download.tables.labels
    if labels is None:
        return
    for study, rows in _groups(labels, "study_id"):
        count = int(rows["severity"].isna().sum())
        if count:
            yield int(study), None, LABEL_FILE, f"{count} of {len(rows)} are empty"


def labels_without_points(download: Download) -> Iterator[InDownload]:
    """Labels of a condition whose levels have no point."""
    labels, points = download.tables.labels, download.tables.points
    if labels is not None and points is not None:
        labelled = labels[labels["severity"].notna()]
        yield from _only_in(labelled, points, POINT_FILE, "a label and no point")


def points_without_labels(download: Download) -> Iterator[InDownload]:
    """Points of a condition whose levels have no label."""
    labels, points = download.tables.labels, download.tables.points
    if labels is not None and points is not None:
        labelled = labels[labels["severity"].notna()]
        yield from _only_in(points, labelled, LABEL_FILE, "a point and no label")


def marked_twice(download: Download) -> Iterator[InDownload]:
    """A site with several points."""
    points = download.tables.points
    if points is None:
        return
    again = points[points.duplicated(SITE, keep=False)]
    for (study, condition, level), rows in _groups(again, SITE):
        where = "; ".join(
            f"({row.x:.0f}, {row.y:.0f}) on {row.series_id}/{row.instance_number}.dcm"
            for row in _rows(rows.head(3))
        )
        detail = f"{condition} {level} has {len(rows)} points: {where}"
        yield int(study), None, POINT_FILE, detail


def level_skipped(download: Download) -> Iterator[InDownload]:
    """Levels of a condition that are marked with a hole between them."""
    points = download.tables.points
    if points is None:
        return
    key = ["study_id", "condition"]
    ranked = points.assign(rank=points["level"].map(LEVELS.index))
    spans = ranked.groupby(key)["rank"].agg(["min", "max", "nunique"])
    open_spans = spans[spans["max"] - spans["min"] + 1 > spans["nunique"]]
    for (study, condition), rows in _groups(ranked.join(open_spans, key, "inner"), key):
        ranks = set(rows["rank"])
        holes = sorted(set(range(min(ranks), max(ranks))) - ranks)
        names = ", ".join(LEVELS[rank] for rank in holes)
        detail = f"{condition} is marked above and below {names}, and not there"
        yield int(study), None, POINT_FILE, detail


def off_its_image(download: Download) -> Iterator[InDownload]:
    """A point that lies beside its image."""
    for row in _with_problem(download, "image"):
        rows, columns = row.shape
        detail = (
            f"{row.condition} {row.level} at x = {row.x:.0f}, y = {row.y:.0f} is off "
            f"its image of {columns} columns and {rows} rows"
        )
        yield row.study_id, row.series_id, f"{row.instance_number}.dcm", detail


def on_no_slice(download: Download) -> Iterator[InDownload]:
    """A point on a file that is missing or no slice."""
    for row in _with_problem(download, "slice"):
        file = f"{row.instance_number}.dcm"
        detail = f"{row.condition} {row.level} is on {file}, which is no slice there"
        yield row.study_id, row.series_id, file, detail


def on_no_series(download: Download) -> Iterator[InDownload]:
    """Points on a series that is missing or cannot be read."""
    if download.folders["train"] is None:
        return
    rows = download.located
    lost = rows[rows["problem"] == "series"]
    for (study, series), group in _groups(lost, SERIES):
        marked = "1 point is" if len(group) == 1 else f"{len(group)} points are"
        detail = f"{marked} on this series, which cannot be read"
        yield int(study), int(series), "", detail


def on_another_type(download: Download) -> Iterator[InDownload]:
    """Points on another series type than their condition's."""
    rows = download.located
    if rows.empty:
        return
    usual = rows["condition"].map(FAMILY_OF).map(SERIES_OF)
    odd = rows[rows["description"].notna() & (rows["description"] != usual)]
    for (study, series, condition), group in _groups(odd, [*SERIES, "condition"]):
        expected = SERIES_OF[FAMILY_OF[condition]]
        found = group["description"].iloc[0]
        detail = f"{_levels(group)} of {condition} on {found}, not {expected}"
        yield int(study), int(series), "", detail


def contradicting(download: Download) -> Iterator[InDownload]:
    """Points that contradict the patient's geometry: sides, levels."""
    rows = download.located
    alike = {(f.study_id, f.series_id) for f in download.series if all_alike(f)}
    is_placed = [key not in alike for key in _keys(rows)]
    rows = rows[rows["x_mm"].notna() & pd.Series(is_placed, rows.index, dtype=bool)]
    if rows.empty:
        return
    # As a crop table has them; the note would tell the series without positions.
    numbered = rows.assign(crop=rows.index, note="")
    site = [*SITE, "series_id", "instance_number"]
    found = inconsistent_points(numbered).merge(numbered.drop_duplicates(site), on=site)
    for row in _rows(found):
        detail = (
            f"{row.condition} {row.level} at x = {row.x_mm:.1f}, z = {row.z_mm:.1f} mm "
            f"of the patient: {row.reason}"
        )
        yield row.study_id, row.series_id, f"{row.instance_number}.dcm", detail


def known_issues(download: Download) -> Iterator[InDownload]:
    """Series and points that others reported as bad."""
    series = pd.DataFrame(
        [(f.study_id, f.series_id) for f in download.series if f.split == "train"],
        columns=SERIES,
    )
    for row in _with_issue(series):
        yield row.study_id, row.series_id, "", row.issue
    points = download.tables.points
    if points is not None:
        pairs = points[[*SERIES, "condition"]].drop_duplicates()
        for row in _with_issue(pairs[known_issue(pairs[SERIES]) == ""]):
            yield row.study_id, row.series_id, "", f"{row.condition}: {row.issue}"


# In the order in which they are shown: the harmful first.
STUDY_CHECKS: dict[str, StudyCheck] = {
    "known issue": known_issues,
    "study in some tables only": in_some_tables,
    "point on no series": on_no_series,
    "point on no slice": on_no_slice,
    "point off its image": off_its_image,
    "points contradict geometry": contradicting,
    "site marked twice": marked_twice,
    "point on another series type": on_another_type,
    "label without a point": labels_without_points,
    "point without a label": points_without_labels,
    "level skipped": level_skipped,
    "file stored twice": same_file,
    "picture stored twice": same_picture,
    "study lacks a series type": series_types,
    "labels empty": labels_empty,
    "several series of one type": several_of_a_type,
}


def _studies(table: pd.DataFrame | None) -> set[int] | None:
    return None if table is None else set(table["study_id"])


def _description(facts: SeriesFacts) -> str | None:
    """Return what a series is: what its row says, else what its slices look like."""
    named = facts.words if facts.words in SERIES_DESCRIPTIONS else None
    return named or facts.type.description


def _type_counts(download: Download) -> dict[int, dict[str, list[int]]]:
    """List the readable series of each study by type."""
    studies: dict[int, dict[str, list[int]]] = {}
    for facts in download.series:
        types = studies.setdefault(facts.study_id, defaultdict(list))
        if facts.slices and facts.type.description:
            types[facts.type.description].append(facts.series_id)
    return studies


def _copies(
    download: Download, key: Callable[[SliceFacts], str | None], words: str
) -> Iterator[InDownload]:
    """Yield the slices whose key another one before them has, by pairs of series."""
    first: dict[str, tuple[str, str]] = {}
    for facts in download.series:
        copies: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for each in facts.slices:
            here = (f"{facts.study_id}/{facts.series_id}", each.file)
            value = key(each)
            if value is not None and (there := first.setdefault(value, here)) != here:
                copies[there[0]].append((each.file, there[1]))
        for series, files in copies.items():
            file, other = files[0] if len(files) == 1 else ("", "")
            detail = f"{words} {series}/{other}"
            if not file:
                count = f"{len(files)} of its {len(facts.slices)} files"
                detail = f"{count}: each {words} one of {series}"
            yield facts.study_id, facts.series_id, file, detail


def _only_in(
    here: pd.DataFrame, there: pd.DataFrame, file: str, words: str
) -> Iterator[InDownload]:
    """Yield the levels of each study and condition that one table lacks."""
    sites = here[SITE].drop_duplicates()
    merged = sites.merge(there[SITE].drop_duplicates(), "left", SITE, indicator=True)
    lonely = merged[merged["_merge"] == "left_only"]
    for (study, condition), rows in _groups(lonely, ["study_id", "condition"]):
        verb = "has" if len(rows) == 1 else "have"
        detail = f"{_levels(rows)} of {condition} {verb} {words}"
        yield int(study), None, file, detail


def _levels(rows: pd.DataFrame) -> str:
    return ", ".join(sorted(set(rows["level"])))


def _keys(table: pd.DataFrame) -> Iterator[tuple[int, int]]:
    return zip(table["study_id"].tolist(), table["series_id"].tolist(), strict=True)


def _with_problem(download: Download, problem: str) -> Iterator[Any]:
    rows = download.located
    return _rows(rows[rows["problem"] == problem])


def _with_issue(table: pd.DataFrame) -> Iterator[Any]:
    marked = table.assign(issue=known_issue(table))
    return _rows(marked[marked["issue"] != ""])


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    """Yield rows with a column an attribute, whose types pandas cannot tell."""
    yield from table.itertuples()


def _groups(
    table: pd.DataFrame, by: str | list[str]
) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield groups with their keys, whose types pandas cannot tell."""
    yield from table.groupby(by)

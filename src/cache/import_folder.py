"""Any folder of DICOM files, written as a test set in the competition's layout.

The headers are read first, then each series is written slice by slice, and the tables
last: a folder without them is an import that can be resumed. Where a source file went
is told in import.csv alone; nothing else that is written or raised here names one.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SEVERITIES,
)
from src.competition.csv_schema import category, read_csv, whole_number
from src.competition.submission import row_ids
from src.competition.tables import (
    SAMPLE_FILE,
    SERIES_COLUMNS,
    TEST_SERIES_FILE,
    image_folder,
)
from src.errors import UserError
from src.files import write_csv, write_json
from src.imaging.classify_series import ClassifiedSeries
from src.imaging.clean_slice import picture_hash, write_clean_slice
from src.imaging.dicom_errors import DicomError, quiet
from src.imaging.dicom_folder import (
    Listing,
    SourceFile,
    SourceSlice,
    list_folder,
    read_source_files,
)
from src.imaging.source_series import (
    COPY,
    SourceSeries,
    by_study,
    look_alikes,
    parted,
    without_copies,
)
from src.json_object import read_object
from src.workers import Progress, map_all

IMPORT_FILE, TYPES_FILE, MARKER = "import.csv", "series_types.csv", "import.json"
PLAN = "import_plan.json"
IMPORT_COLUMNS = (
    *("file", "study_id", "series_id", "instance_number"),
    *("series_description", "reason"),
)
TYPE_COLUMNS = (
    *("study_id", "series_id", "series_description", "confidence", "plane"),
    *("contrast", "echo_ms", "repetition_ms", "inversion_ms", "slices", "tokens"),
    "reason",
)
CORRECTION_COLUMNS = {
    "study_id": whole_number,
    "series_id": whole_number,
    "series_description": category(SERIES_DESCRIPTIONS, blank=True),
}
PLANE_OF = {SAGITTAL_T1: "sagittal", SAGITTAL_T2: "sagittal", AXIAL_T2: "axial"}
Studies = list[list[list[SourceSlice]]]  # by study and series
FILES_A_TASK = 64
CORRECTED = "corrected"  # the confidence of a type that a person gave
LEFT_OUT_BY_HAND = "left out by --series-types"
OTHER_FOLDER = "give it a fresh --data"


@dataclass(frozen=True, eq=False)
class ImportedSeries:
    """A series with its new ids; description: its type, None if it is left out."""

    study_id: int
    series_id: int
    source: SourceSeries
    found: ClassifiedSeries
    description: str | None
    reason: str

    @property
    def corrected(self) -> bool:
        """Whether a person gave another type than its header and words do."""
        return self.description != self.found.description

    @property
    def confidence(self) -> str:
        """How sure its type is."""
        return CORRECTED if self.corrected else self.found.confidence


@dataclass(frozen=True)
class _ReadTask:
    folder: Path
    names: tuple[str, ...]
    first: int


@dataclass(frozen=True)
class _WriteTask:
    """A series to be written: (file, frame, instance number) of each slice."""

    folder: Path
    target: Path
    slices: tuple[tuple[str, int, int], ...]
    keep_times: bool


@dataclass(frozen=True, eq=False)
class ImportResult:
    """The tables as they were written: TYPE_COLUMNS, IMPORT_COLUMNS."""

    types: pd.DataFrame
    files: pd.DataFrame

    def series_rows(self) -> list[dict[str, object]]:
        """Describe each series on the screen: what it is, or why it is left out."""
        return [
            {
                "study": row["study_id"],
                "series": row["series_id"],
                "type": row["series_description"] or "left out",
                "confidence": row["confidence"],
                "slices": row["slices"],
                "remark": row["reason"],
            }
            for row in self.types.to_dict("records")
        ]

    def reasons(self) -> list[dict[str, object]]:
        """Count what was left out by reason, the most common first."""
        given = self.files.loc[self.files["study_id"].isna(), "reason"]
        return [
            {"reason": reason, "files or slices": count}
            for reason, count in Counter(given).most_common()
        ]


def import_folder(
    folder: Path,
    data: Path,
    series_types: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Write the MR series of `folder` to `data`; what is there already is kept.

    series_types: a series_types.csv whose series_description a person corrected; of an
    earlier import into `data`, corrections are kept without it.
    Raises UserError if `data` holds anything but an import of this very folder, if a
    correction cannot be, or if nothing can be used.
    """
    _require_apart(folder, data)
    listing = list_folder(folder)
    held = _claim(data, listing)
    corrections = dict(held) if series_types is None else _corrections(series_types)
    files = _read(folder, listing, executor, progress)
    studies = by_study(each for file in files for each in file.slices)
    pictures = _pictures(folder, listing, studies, executor)
    series, copies = _plan(studies, pictures, corrections)
    _require_known(series, corrections, series_types)
    _require_same_plan(data, series)
    _correct(data, listing, held, series)
    failed = _write(folder, data, listing, series, executor, progress)
    return _write_tables(data, listing, files, series, copies, failed)


def _require_apart(folder: Path, data: Path) -> None:
    if not folder.is_dir():
        raise UserError("--import names no folder; give the one with the DICOM files.")
    inner, outer = folder.resolve(), data.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise UserError(
            f"{data} and the folder of --import lie in one another; choose a --data "
            "elsewhere."
        )


def _claim(data: Path, listing: Listing) -> dict[int, str]:
    """Mark `data` as an import of these files; return its corrections so far."""
    marker = data / MARKER
    if not marker.is_file():
        if data.exists() and (not data.is_dir() or any(data.iterdir())):
            raise UserError(f"{data} holds no import but other files; {OTHER_FOLDER}.")
        write_json({"source": listing.digest(), "corrections": {}}, marker)
        return {}
    held = read_object(marker, f"remove {data} and import again")
    if held.get("source") != listing.digest():
        raise UserError(
            f"{data} holds the import of another folder, or of this one with other "
            f"files in it; {OTHER_FOLDER}."
        )
    return {int(key): str(name) for key, name in held.get("corrections", {}).items()}


def _require_same_plan(data: Path, series: Sequence[ImportedSeries]) -> None:
    """Raise UserError if slices were written under numbers that now mean others.

    As where a file that could not be read the time before can be read now.
    """
    rows = [
        (each.series_id, held.file, held.frame, number)
        for each in series
        for held, number in zip(each.source.slices, each.source.numbers, strict=True)
    ]
    plan = {"plan": sha256(repr(rows).encode()).hexdigest()}
    path = data / PLAN
    if not path.is_file():
        write_json(plan, path)
    elif read_object(path, f"remove {data} and import again") != plan:
        raise UserError(
            f"{data} was written when other files of --import could be read; "
            f"{OTHER_FOLDER}."
        )


def _corrections(path: Path) -> dict[int, str]:
    """Read each listed series' type; an empty one leaves the series out."""
    table = read_csv(path, CORRECTION_COLUMNS, key=["study_id", "series_id"])
    names = table["series_description"].fillna("")
    return dict(zip(table["series_id"].tolist(), names.tolist(), strict=True))


def _read(
    folder: Path,
    listing: Listing,
    executor: Executor | None,
    progress: Progress | None,
) -> list[SourceFile]:
    tasks = [
        _ReadTask(folder, listing.files[first : first + FILES_A_TASK], first)
        for first in range(0, len(listing.files), FILES_A_TASK)
    ]
    chunks = map_all(_read_task, tasks, executor, progress)
    return [found for chunk in chunks for found in chunk]


def _read_task(task: _ReadTask) -> list[SourceFile]:
    return read_source_files(task.folder, task.names, task.first)


def _pictures(
    folder: Path, listing: Listing, studies: Studies, executor: Executor | None
) -> dict[tuple[int, int], str]:
    """Hash the pixels of the slices that nothing else tells from one another."""
    alike = [
        each for study in studies for group in study for each in look_alikes(group)
    ]
    tasks = [(folder / listing.files[each.file], each.frame) for each in alike]
    hashes = map_all(_picture_task, tasks, executor)
    keys = [(each.file, each.frame) for each in alike]
    return dict(zip(keys, hashes, strict=True))


def _picture_task(task: tuple[Path, int]) -> str:
    return picture_hash(*task)


def _plan(
    studies: Studies,
    pictures: Mapping[tuple[int, int], str],
    corrections: Mapping[int, str],
) -> tuple[list[ImportedSeries], list[SourceSlice]]:
    """Part all slices into series with new ids; return the copies beside."""
    found: list[ImportedSeries] = []
    copies: list[SourceSlice] = []
    for study_id, groups in enumerate(studies, start=1):
        sources: list[SourceSeries] = []
        for group in groups:
            kept, double = without_copies(group, pictures)
            copies += double
            sources += parted(kept)
        for number, source in enumerate(sources, start=1):
            series_id = 10_000 * study_id + number
            found.append(_typed(study_id, series_id, source, corrections))
    return found, copies


def _typed(
    study_id: int, series_id: int, source: SourceSeries, corrections: Mapping[int, str]
) -> ImportedSeries:
    found = source.classify()
    description, reason = found.description, found.reason
    given = corrections.get(series_id)
    if given is not None and given != (description or ""):
        if given and source.reason:
            raise UserError(
                f"Series {series_id} {source.reason}, so it cannot be {given} as "
                "--series-types says; leave its series_description empty."
            )
        if given and PLANE_OF[given] != found.plane:
            raise UserError(
                f"Series {series_id} has {found.plane or 'oblique'} slices, so it "
                f"cannot be {given} as --series-types says; correct its "
                "series_description."
            )
        description, reason = given or None, "" if given else LEFT_OUT_BY_HAND
    return ImportedSeries(study_id, series_id, source, found, description, reason)


def _require_known(
    series: Sequence[ImportedSeries], corrections: Mapping[int, str], path: Path | None
) -> None:
    unknown = sorted(set(corrections) - {each.series_id for each in series})
    if unknown and path is not None:
        raise UserError(
            f"series_id {unknown[0]} of {path.name} is no series of this import; take "
            f"the ids of its {TYPES_FILE}."
        )


def _correct(
    data: Path,
    listing: Listing,
    held: Mapping[int, str],
    series: Sequence[ImportedSeries],
) -> None:
    """Remove what was written under other types, and note the corrections."""
    given = {
        each.series_id: each.description or "" for each in series if each.corrected
    }
    changed = {
        key for key in held.keys() | given.keys() if held.get(key) != given.get(key)
    }
    if not changed:
        return
    (data / TEST_SERIES_FILE).unlink(missing_ok=True)
    for each in series:
        if each.series_id in changed:
            shutil.rmtree(_target(data, each), ignore_errors=True)
    corrections = {str(key): given[key] for key in sorted(given)}
    write_json({"source": listing.digest(), "corrections": corrections}, data / MARKER)


def _target(data: Path, series: ImportedSeries) -> Path:
    images = image_folder(data, "test")
    return images / str(series.study_id) / str(series.series_id)


def _write(
    folder: Path,
    data: Path,
    listing: Listing,
    series: Sequence[ImportedSeries],
    executor: Executor | None,
    progress: Progress | None,
) -> dict[tuple[int, int], str]:
    """Write all series; return why slices could not be, by file and frame."""
    used = [each for each in series if each.description]
    tasks = [
        _WriteTask(
            folder,
            _target(data, each),
            tuple(
                (listing.files[held.file], held.frame, number)
                for held, number in zip(
                    each.source.slices, each.source.numbers, strict=True
                )
            ),
            keep_times=not each.corrected,
        )
        for each in used
    ]
    failed: dict[tuple[int, int], str] = {}
    outcomes = map_all(_write_task, tasks, executor, progress)
    for each, reasons in zip(used, outcomes, strict=True):
        for index, reason in reasons.items():
            held = each.source.slices[index]
            failed[held.file, held.frame] = reason
    return failed


def _write_task(task: _WriteTask) -> dict[int, str]:
    """Write a series' slices that are not there yet; return why, of those not to be."""
    failed: dict[int, str] = {}
    for stray in task.target.glob(".*.tmp.dcm"):  # of a run that was killed
        stray.unlink(missing_ok=True)
    with quiet():
        for index, (name, frame, number) in enumerate(task.slices):
            target = task.target / f"{number}.dcm"
            if target.is_file():
                continue
            try:
                write_clean_slice(task.folder / name, frame, target, task.keep_times)
            except DicomError as error:
                failed[index] = error.reason
    return failed


def _write_tables(
    data: Path,
    listing: Listing,
    files: Sequence[SourceFile],
    series: Sequence[ImportedSeries],
    copies: Sequence[SourceSlice],
    failed: Mapping[tuple[int, int], str],
) -> ImportResult:
    types = pd.DataFrame(
        [_type_row(each, failed) for each in series], columns=list(TYPE_COLUMNS)
    )
    rows = _file_rows(listing, files, series, copies, failed)
    table = pd.DataFrame(rows, columns=list(IMPORT_COLUMNS))
    ids = ("study_id", "series_id", "instance_number")
    table = table.astype(dict.fromkeys(ids, "Int64"))
    write_csv(types, data / TYPES_FILE)
    write_csv(table, data / IMPORT_FILE)
    used = types[types["series_description"].ne("") & types["slices"].gt(0)]
    if used.empty:
        raise UserError(_nothing_usable(table, data))
    sample = pd.DataFrame({"row_id": row_ids(sorted(set(used["study_id"])))})
    evenly = dict.fromkeys(SEVERITIES, 1 / len(SEVERITIES))
    write_csv(sample.assign(**evenly), data / SAMPLE_FILE)
    write_csv(used[list(SERIES_COLUMNS)], data / TEST_SERIES_FILE)
    return ImportResult(types, table)


def _nothing_usable(table: pd.DataFrame, data: Path) -> str:
    if table.empty:
        return "The folder of --import holds no file; give the one with the DICOM files"
    reason, count = Counter(table["reason"]).most_common(1)[0]
    return (
        f"None of {len(table):,} files gives a slice that can be used; the most common "
        f"reason, of {count:,}: {reason.rstrip('.')} (all are in {data / IMPORT_FILE})."
    )


def _type_row(
    each: ImportedSeries, failed: Mapping[tuple[int, int], str]
) -> tuple[object, ...]:
    slices = each.source.slices
    middle = slices[len(slices) // 2]
    lost = sum((held.file, held.frame) in failed for held in slices)
    reason = each.reason
    if lost:
        unread = f"{lost} of its {len(slices)} slices cannot be read"
        reason = f"{reason}; {unread}" if reason else unread
    return (
        *(each.study_id, each.series_id, each.description or "", each.confidence),
        *(each.found.plane, each.found.contrast),
        *(middle.echo_ms, middle.repetition_ms, middle.inversion_ms),
        *(len(slices) - lost, " ".join(each.found.tokens), reason),
    )


def _file_rows(
    listing: Listing,
    files: Sequence[SourceFile],
    series: Sequence[ImportedSeries],
    copies: Sequence[SourceSlice],
    failed: Mapping[tuple[int, int], str],
) -> list[tuple[object, ...]]:
    """List where each slice went, in the order of the files, or why it did not."""
    found: dict[tuple[int, int], tuple[object, ...]] = {}
    for each in series:
        pairs = zip(each.source.slices, each.source.numbers, strict=True)
        for held, number in pairs:
            key = held.file, held.frame
            ids = (each.study_id, each.series_id, number, each.description)
            found[key] = (*ids, "")
            if each.description is None or key in failed:
                found[key] = _left_out(failed.get(key, each.reason))
    for held in copies:
        found[held.file, held.frame] = _left_out(COPY)
    rows = [(_shown(path), *_left_out(reason)) for path, reason in listing.odd.items()]
    for path, file in zip(listing.files, files, strict=True):
        if not file.slices:
            rows.append((_shown(path), *_left_out(file.reason)))
        told = [found[held.file, held.frame] for held in file.slices]
        rows += [(_shown(path), *row) for row in dict.fromkeys(told)]
    return sorted(rows, key=lambda row: str(row[0]))


def _left_out(reason: str) -> tuple[object, ...]:
    return (None, None, None, "", reason)


def _shown(path: str) -> str:
    """Return a path as text; bytes that are no UTF-8 are written as escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")

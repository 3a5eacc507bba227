"""What a check needs to know of a series: read from its headers, in a worker."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from src.errors import UserError, without_folder
from src.imaging.dicom import SliceHeader, read_pixels
from src.imaging.dicom_errors import DicomError, translate_errors
from src.imaging.series import Series, is_system_file, read_series
from src.imaging.series_type import SeriesType, series_type

OPTIONAL_TAGS = ("SliceThickness", "SpacingBetweenSlices")
READ_TAGS = [
    *OPTIONAL_TAGS,
    *("SOPInstanceUID", "EchoTime", "Rows", "Columns", "BitsAllocated"),
]
UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
CUT_SHORT = "is cut short: it is smaller than its own pixels; download it again"
UNKNOWN_TYPE = SeriesType(None)
ONE_GREY = "is of one grey value throughout"


@dataclass(frozen=True)
class MarkedPoint:
    """A point of a series; row is its index in the table of points."""

    row: int
    instance_number: int
    x: float
    y: float


@dataclass(frozen=True)
class SeriesTask:
    """A series to look at.

    split: train or test; words: its row's description, None if no row lists it;
    pixels: decode them too.
    """

    split: str
    study_id: int
    series_id: int
    folder: Path
    words: str | None
    points: tuple[MarkedPoint, ...] = ()
    pixels: bool = False


@dataclass(frozen=True)
class SliceFacts:
    """One slice.

    stack, position: their numbers in the series; height_mm: along the stack's normal;
    place: position and axes as stored, rounded; absent: OPTIONAL_TAGS that it lacks;
    identity: hash of its UID and place, None without a UID; picture: hash of its
    decoded pixels, None if they were not asked for or show nothing; fault: what is
    wrong with its pixels, to be read after the file's name, or empty.
    """

    file: str
    rows: int
    columns: int
    spacing_mm: tuple[float, float]
    stack: int = 0
    position: int = 0
    height_mm: float = 0.0
    normal: tuple[float, float, float] = (0.0, 0.0, 1.0)
    place: tuple[float, ...] = ()
    absent: tuple[str, ...] = ()
    echo_ms: float | None = None
    identity: str | None = None
    picture: str | None = None
    fault: str = ""


@dataclass(frozen=True)
class PointFacts:
    """Where a point lies: its patient position, or why it has none.

    problem: "" or "image" (off it), "slice" (no such file); patient_mm: x, y, z.
    """

    row: int
    problem: str
    patient_mm: tuple[float, float, float] | None = None
    shape: tuple[int, int] | None = None  # rows, columns of its image


@dataclass(frozen=True)
class SeriesFacts:
    """A series.

    is_folder: whether it has one; files: their number; rejected: from file name to why
    it is no slice; type: settled by row, planes and header; error: why no slice at all
    can be read, or empty.
    """

    split: str
    study_id: int
    series_id: int
    words: str | None
    is_folder: bool = True
    files: int = 0
    slices: tuple[SliceFacts, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    type: SeriesType = UNKNOWN_TYPE
    points: tuple[PointFacts, ...] = ()
    error: str = ""


def read_series_facts(task: SeriesTask) -> SeriesFacts:
    """Look at a series; whatever is wrong with it becomes a fact, never an error."""
    facts = SeriesFacts(task.split, task.study_id, task.series_id, task.words)
    if not task.folder.is_dir():
        return replace(facts, is_folder=False)
    names: list[str] = []
    try:
        names = visible_names(task.folder)
        facts = replace(facts, files=len(names))
        return _described(facts, read_series(task.folder), task)
    except UserError as error:
        return replace(facts, error=_without_names(str(error), names, task.folder))
    except Exception as error:  # a broken series must not cost the others
        return replace(facts, error=f"cannot be read ({type(error).__name__})")


def _without_names(sentence: str, names: Iterable[str], folder: Path) -> str:
    """Remove the study's folder and unusual file names, which could name a person."""
    for name in sorted(names, key=len, reverse=True):
        if not safe_name(name):
            sentence = sentence.replace(name, "a file")
    return without_folder(sentence, folder.parent).rstrip(".")


def visible_names(folder: Path) -> list[str]:
    """List a folder's entries but hidden ones and those of operating systems."""
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if not is_system_file(name)]


def safe_name(name: str) -> str:
    """Return the name of a slice's file, or nothing: another could name a person."""
    return name if re.fullmatch(r"[0-9]+\.dcm", name) else ""


def _described(facts: SeriesFacts, series: Series, task: SeriesTask) -> SeriesFacts:
    rejected = series.rejected.items()
    return replace(
        facts,
        slices=tuple(_slices(series, task.pixels)),
        rejected=tuple((safe_name(name), reason) for name, reason in rejected),
        type=series_type(series, task.words or ""),
        points=tuple(_points(series.headers, task.points)),
    )


def _slices(series: Series, pixels: bool) -> Iterable[SliceFacts]:
    first: dict[int, np.ndarray] = {}
    for index, header in enumerate(series.headers):
        stack = int(series.stacks[index])
        normal = first.setdefault(stack, _without_sign(header.geometry.normal))
        facts = SliceFacts(
            file=header.path.name,
            rows=header.rows,
            columns=header.columns,
            spacing_mm=header.geometry.spacing_mm,
            stack=stack,
            position=int(series.positions[index]),
            height_mm=float(header.centre_mm @ normal),
            normal=_triple(header.geometry.normal),
            place=_place(header),
        )
        yield _with_pixels(_with_tags(facts, header.path), header.path, pixels)


def _without_sign(normal: np.ndarray) -> np.ndarray:
    """Turn a normal so that parallel stacks measure heights in one direction."""
    return normal * np.sign(normal[np.abs(normal).argmax()])


def _place(header: SliceHeader) -> tuple[float, ...]:
    geometry = header.geometry
    numbers = np.concatenate([geometry.position_mm, geometry.right, geometry.down])
    return tuple(numbers.round(4).tolist())


def _with_tags(facts: SliceFacts, path: Path) -> SliceFacts:
    """Add what the other tags tell; a file that cannot be read again tells nothing."""
    try:
        with translate_errors(path):
            tags = dcmread(path, stop_before_pixels=True, specific_tags=READ_TAGS)
            absent = tuple(name for name in OPTIONAL_TAGS if tags.get(name) is None)
            uid = str(tags.get("SOPInstanceUID") or "")
            return replace(
                facts,
                absent=absent,
                echo_ms=_number(tags.get("EchoTime")),
                identity=_digest(repr((uid, facts.place)).encode()) if uid else None,
                fault=CUT_SHORT if _is_cut_short(tags, path) else "",
            )
    except DicomError as error:
        return replace(facts, fault=error.reason)


def _is_cut_short(tags: Dataset, path: Path) -> bool:
    """Return whether a file whose pixels are not compressed is smaller than these."""
    if tags.file_meta.TransferSyntaxUID not in UNCOMPRESSED:
        return False
    needed = tags.Rows * tags.Columns * tags.BitsAllocated // 8
    return path.stat().st_size < needed


def _with_pixels(facts: SliceFacts, path: Path, pixels: bool) -> SliceFacts:
    if not pixels:
        return facts
    try:
        values = read_pixels(path)
    except DicomError as error:
        return replace(facts, fault=error.reason)
    shown = values[np.isfinite(values)]
    if shown.size == 0 or shown.min() == shown.max():
        return replace(facts, fault=ONE_GREY)
    return replace(facts, picture=_digest(values.tobytes()))


def _points(
    headers: Iterable[SliceHeader], points: Iterable[MarkedPoint]
) -> Iterable[PointFacts]:
    by_number = {header.instance_number: header for header in headers}
    for point in points:
        header = by_number.get(point.instance_number)
        if header is None:
            yield PointFacts(point.row, "slice")
            continue
        inside = header.contains(point.x, point.y)
        where = _triple(header.geometry.to_patient([point.x, point.y]))
        shape = (header.rows, header.columns)
        yield PointFacts(point.row, "" if inside else "image", where, shape)


def _triple(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()

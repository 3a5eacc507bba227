"""The type of a series: what its row calls it, held against its planes and headers.

A row of a *_series_descriptions.csv can be missing, blank, misspelt or wrong. The plane
follows from the geometry of the slices; the contrast from the header, as far as it says
anything, else from the row's words. What neither of them settles has no type, since a
wrong contrast is worse than none.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydicom.dataset import Dataset

from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    normalise,
)
from src.errors import UserError
from src.imaging.dicom import WEIGHTING_TAGS, SliceHeader
from src.imaging.dicom_errors import DicomError, translate_errors
from src.imaging.dicom_tags import read_tags
from src.imaging.series import Series

Plane = Literal["sagittal", "coronal", "axial"]
Mixed = Literal["several planes"]
Contrast = Literal["T1", "T2", "another contrast"]
Name = TypeVar("Name", bound=str)

TYPE_OF: dict[tuple[str, str], str] = {
    ("sagittal", "T1"): SAGITTAL_T1,
    ("sagittal", "T2"): SAGITTAL_T2,
    ("axial", "T2"): AXIAL_T2,
}
NORMAL_OF: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # x, y, z
# Axial slices follow a disc, which leans by up to 45 degrees at L5/S1. Beyond this the
# normal says nothing, and the row's word counts.
SURE_DEGREES = 40.0
_DESCRIPTION_OF = {normalise(name): name for name in SERIES_DESCRIPTIONS}

# Words of descriptions as scanners and people write them, at the start of a token.
PLANE_WORDS: dict[Plane, str] = {
    "sagittal": r"sag",
    "coronal": r"cor",
    "axial": r"ax|tra(?!c)",
}
CONTRAST_WORDS: dict[Contrast, str] = {
    "another contrast": r"pd|dwi|dti|adc|swi|loc|scout|survey|myelo",
    "T1": r"t1",
    "T2": r"t2|stir|tirm",
}
MAX_WORDS_SHOWN = 40


@dataclass(frozen=True)
class SeriesType:
    """The type of a series.

    description: one of SERIES_DESCRIPTIONS, or None for a series of no such type;
    reason: why it is not simply what its row says, to be read after its name, or empty.
    """

    description: str | None
    reason: str = ""


def series_type(series: Series, words: str) -> SeriesType:
    """Settle the type of a series that its row describes in `words`, maybe none."""
    named = _DESCRIPTION_OF.get(normalise(words))
    said_plane, said_contrast = plane_in(words), contrast_in(words)
    plane = plane_of(series.headers)
    if named and plane and plane != said_plane:
        said_contrast = None  # the row is another series', and so is its contrast
    contrast = contrast_of(series.headers) or said_contrast
    shown = plane or said_plane
    # T2 is the only axial contrast that the competition knows.
    assumed = contrast or ("T2" if shown == "axial" else "")
    found = TYPE_OF.get((shown or "", assumed)) if said_plane != "coronal" else None
    if found is not None and found == named:
        return SeriesType(found)
    return SeriesType(found, _reason(words, shown, contrast, found))


def require_type(series: Series, folder: Path, description: str) -> None:
    """Raise UserError for a series whose planes or header contradict its row.

    Nothing must be learned from what it would not be shown of a test study.
    """
    found = series_type(series, description)
    if found.description != description:
        raise UserError(
            f"{folder} {found.reason}; correct its row of the series descriptions."
        )


def _reason(
    words: str, plane: str | None, contrast: Contrast | None, found: str | None
) -> str:
    called = "has no description"
    if words:
        called = f"is described as {textwrap.shorten(words, MAX_WORDS_SHOWN)!r}"
    slices = f"{plane or 'oblique'} slices"
    if plane == "several planes":
        slices = "slices in several planes, as a localizer has,"
    seen = {"T1": "T1 contrast", "T2": "T2 contrast"}.get(
        contrast or "", contrast or "unknown contrast"
    )
    outcome = f"read as {found}" if found else "not used"
    return f"{called} and has {slices} of {seen}: {outcome}"


def plane_in(words: str) -> Plane | None:
    """Return the plane that a description names, or None."""
    return _first_named(PLANE_WORDS, words)


def contrast_in(words: str) -> Contrast | None:
    """Return the contrast that a description names, or None."""
    return _first_named(CONTRAST_WORDS, words)


def _first_named(patterns: dict[Name, str], words: str) -> Name | None:
    text = words.lower()
    for name, pattern in patterns.items():
        # A token begins where no letter or digit stands before it, or after a plane.
        if re.search(rf"(?<![a-z0-9])(?:sag|ax|tra|cor)?(?:{pattern})", text):
            return name
    return None


def plane_of(
    headers: Sequence[SliceHeader],
) -> Plane | Literal["several planes"] | None:
    """Return the plane of most slices; None if they lie between two.

    "several planes": no plane has more than half of the slices.
    """
    normals = np.abs([header.geometry.normal for header in headers])
    sure = normals.max(axis=1) >= np.cos(np.radians(SURE_DEGREES))
    names = list(NORMAL_OF)
    counts = Counter(names[axis] for axis in normals.argmax(axis=1)[sure])
    if not counts:
        return None
    plane, count = counts.most_common(1)[0]
    if 2 * count > len(headers):
        return plane
    return "several planes" if len(counts) > 1 else None


def contrast_of(headers: Sequence[SliceHeader]) -> Contrast | None:
    """Return the contrast by the middle slice's header, or None where it is unsure."""
    middle = headers[len(headers) // 2]
    path, file = middle.path, middle.file
    try:
        with translate_errors(path):
            tags = file.dataset() if file else read_tags(path, WEIGHTING_TAGS, False)
            return contrast_of_tags(tags)
    except DicomError:
        return None


def contrast_of_tags(tags: Dataset) -> Contrast | None:
    """Return the contrast by echo, repetition and inversion time, or None.

    Conservative bounds in milliseconds for spin echoes of 1.5 and 3 T: T1 weighting
    wants a short echo and a short repetition time, or an inversion time near 1 s (T1
    FLAIR); T2 weighting a long echo and a long repetition time; STIR a short inversion
    time, which nulls fat. A gradient echo's contrast depends on its flip angle too.
    """
    echo, repetition, inversion = (
        _milliseconds(tags, name) for name in WEIGHTING_TAGS[:3]
    )
    if echo is None or repetition is None or "GR" in str(tags.get("ScanningSequence")):
        return None
    if inversion is not None and repetition >= 1500:
        if 80 <= inversion <= 300:
            return "T2"
        if 500 <= inversion <= 1300:
            return "T1" if echo <= 40 else None
        return None
    if echo <= 30 and repetition <= 1200:
        return "T1"
    return "T2" if echo >= 60 and repetition >= 1500 else None


def _milliseconds(tags: Dataset, name: str) -> float | None:
    """Read one positive time; anything else counts as missing."""
    try:
        value = float(tags.get(name) or 0)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) and value > 0 else None

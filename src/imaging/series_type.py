"""The type of a series: what its row calls it, held against its planes and headers.

A row of a *_series_descriptions.csv can be missing, blank, misspelt or wrong. The plane
follows from the geometry of the slices; the contrast from the header, as far as it says
anything, else from the row's words. What neither of them settles has no type, since a
wrong contrast is worse than none.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
from src.imaging.planes import plane_of_normals
from src.imaging.series import Series
from src.imaging.series_words import Contrast, Plane, contrast_in, plane_in
from src.imaging.weighting import contrast_of_times

TYPE_OF: dict[tuple[str, str], str] = {
    ("sagittal", "T1"): SAGITTAL_T1,
    ("sagittal", "T2"): SAGITTAL_T2,
    ("axial", "T2"): AXIAL_T2,
}
_DESCRIPTION_OF = {normalise(name): name for name in SERIES_DESCRIPTIONS}

CONTRAST_OF: dict[str, Contrast] = {"T1": "T1", "T2": "T2", "STIR": "T2"}
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


def plane_of(
    headers: Sequence[SliceHeader],
) -> Plane | Literal["several planes"] | None:
    """Return the plane of most slices; None if they lie between two.

    "several planes": no plane has more than half of the slices.
    """
    return plane_of_normals(np.array([h.geometry.normal for h in headers]))


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
    """Return T1 or T2 by echo, repetition and inversion time, or None if unsure."""
    echo, repetition, inversion, sequence = map(tags.get, WEIGHTING_TAGS)
    timed = contrast_of_times(echo, repetition, inversion, str(sequence))
    if timed is None or not timed.sure:
        return None
    return CONTRAST_OF.get(timed.name)

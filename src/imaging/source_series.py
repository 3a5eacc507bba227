"""The slices of a folder sorted into series that can each be read as one.

A source's series can hold several: planes, stations, echoes, phases. It is parted by
what tells the images of one position apart; images that nothing tells apart are copies,
or a time series that is not used.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from src.imaging.classify_series import (
    ClassifiedSeries,
    SeriesEvidence,
    classify_series,
)
from src.imaging.contrast import stations, tells_apart
from src.imaging.dicom_folder import SourceSlice
from src.imaging.slice_order import SAME_POSITION_MM, linked_groups

COPY = "is a copy of another file"
TOO_MANY = "belongs to a series of more than 2,000 images: a time series or diffusion"
REPEATED = "belongs to a series with several images of each position: a time series"
MAX_IMAGES = 2000
MAX_CONTRASTS = 8  # echoes or phases of a series; a time series has more
PLANES_APART_DEGREES = 45.0  # blocks along the discs differ by less from each other
MIN_PLANE_SLICES = 6  # a localizer has fewer of each plane, and stays whole
COPIES_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """Slices that are one series, in the order of their instance numbers.

    reason: why it cannot be used, or empty.
    """

    slices: tuple[SourceSlice, ...]
    reason: str = ""

    @property
    def numbers(self) -> list[int]:
        """The instance number of each slice to be written: the source's if usable."""
        held = [each.instance_number for each in self.slices]
        if min(held) > 0 and len(set(held)) == len(held):
            return held
        return list(range(1, len(held) + 1))

    def classify(self) -> ClassifiedSeries:
        """Settle its type by its planes, its middle slice's times and its words."""
        middle = self.slices[len(self.slices) // 2]
        found = classify_series(
            SeriesEvidence(
                np.stack([each.geometry.normal for each in self.slices]),
                middle.echo_ms,
                middle.repetition_ms,
                middle.inversion_ms,
                middle.scanning_sequence,
                middle.image_type,
                middle.words,
                middle.contrast_agent,
            )
        )
        if not self.reason:
            return found
        return replace(found, description=None, reason=self.reason)


def look_alikes(slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """List the slices of a series that only their pixels can tell from one another."""
    if len(slices) > MAX_IMAGES:
        return []
    alike = _groups(slices, [_where(each) for each in slices])
    return [each for group in alike if len(group) > 1 for each in group]


def without_copies(
    slices: Sequence[SourceSlice], pictures: Mapping[tuple[int, int], str]
) -> tuple[list[SourceSlice], list[SourceSlice]]:
    """Part the slices of a series from their copies: the first file is kept.

    A copy has the place and contrast of another, and its UID or its pixels. pictures: a
    hash of the pixels of look_alikes, by file and frame.
    """
    seen: set[Hashable] = set()
    kept: list[SourceSlice] = []
    copies: list[SourceSlice] = []
    for each in slices:
        names = (each.image, each.frame), pictures.get((each.file, each.frame), "")
        keys = {(name, each.place, each.contrast) for name in names if name and name[0]}
        (copies if keys & seen else kept).append(each)
        seen |= keys
    return kept, copies


def _where(each: SourceSlice) -> Hashable:
    """Return what a slice shares with its copies."""
    return each.frame_of_reference, each.place, each.contrast


def by_study(
    slices: Iterable[SourceSlice],
) -> list[list[list[SourceSlice]]]:
    """Group slices by study and series, both in an order that tells nothing of them.

    Studies stand by a hash of their UID, and their series by the source's number.
    """
    studies: dict[str, dict[str, list[SourceSlice]]] = {}
    for each in slices:
        studies.setdefault(each.study, {}).setdefault(each.series, []).append(each)
    return [
        [held[uid] for uid in sorted(held, key=lambda uid: _rank(held[uid]))]
        for _, held in sorted(studies.items(), key=lambda item: _hash(item[0]))
    ]


def _rank(series: Sequence[SourceSlice]) -> tuple[int, str]:
    return min(each.series_number for each in series), _hash(series[0].series)


def _hash(uid: str) -> str:
    return sha256(uid.encode()).hexdigest()


def parted(slices: Sequence[SourceSlice]) -> list[SourceSeries]:
    """Part a source's series, without copies, into series that can be read as one."""
    if len(slices) > MAX_IMAGES:
        return [SourceSeries(tuple(slices), TOO_MANY)]
    found = []
    for frame in _groups(slices, [each.frame_of_reference for each in slices]):
        for plane in _groups(frame, _planes(frame)):
            found += _by_contrast(plane)
    return found


def _by_contrast(slices: Sequence[SourceSlice]) -> list[SourceSeries]:
    positions = _positions(slices)
    properties: list[Sequence[Hashable]] = [
        *zip(*(each.contrast for each in slices), strict=True),
        [(each.rows, each.columns, *each.geometry.spacing_mm) for each in slices],
        stations(slices).tolist(),
    ]
    telling = [held for held in properties if tells_apart(held, positions)]
    keys = list(zip(*telling, strict=True)) or [()] * len(slices)
    groups = _groups(slices, keys)
    if len(groups) > MAX_CONTRASTS:
        return [SourceSeries(tuple(slices), REPEATED)]
    return [_checked(group) for group in groups]


def _checked(slices: Sequence[SourceSlice]) -> SourceSeries:
    """Sort a series' slices; refuse one whose positions mostly have several."""
    positions = _positions(slices)
    order = sorted(
        range(len(slices)),
        key=lambda index: (slices[index].instance_number, positions[index]),
    )
    counts = Counter(positions.tolist())
    shared = sum(count > 1 for count in counts.values())
    reason = REPEATED if shared > COPIES_SHARE * len(counts) else ""
    return SourceSeries(tuple(slices[index] for index in order), reason)


def _groups(
    slices: Sequence[SourceSlice], keys: Sequence[Hashable]
) -> list[list[SourceSlice]]:
    """Group slices by a key, in the order in which the keys come first."""
    found: dict[Hashable, list[SourceSlice]] = {}
    for each, key in zip(slices, keys, strict=True):
        found.setdefault(key, []).append(each)
    return list(found.values())


def _planes(slices: Sequence[SourceSlice]) -> list[int]:
    """Number the planes [slices]: orientations that a chain of small turns links.

    A localizer, which has few slices of each, stays whole: its planes tell what it is.
    """
    normals = np.stack([each.geometry.normal for each in slices]).round(3)
    distinct, index = np.unique(normals, axis=0, return_inverse=True)
    cosine = np.abs(distinct @ distinct.T)
    linked = linked_groups(cosine >= np.cos(np.radians(PLANES_APART_DEGREES)))
    numbers = linked[index.ravel()].tolist()
    if max(Counter(numbers).values()) < MIN_PLANE_SLICES:
        return [0] * len(numbers)
    return numbers


def _positions(slices: Sequence[SourceSlice]) -> np.ndarray:
    """Number the positions [slices] along each orientation, from 0; they can share."""
    normals = np.stack([each.geometry.normal for each in slices])
    normals *= np.sign(normals[range(len(normals)), np.abs(normals).argmax(1)])[:, None]
    centres = np.stack([each.centre_mm for each in slices])
    _, stacks = np.unique(normals.round(2), axis=0, return_inverse=True)
    numbers, first = np.zeros(len(slices), int), 0
    for stack in np.unique(stacks):
        members = np.flatnonzero(stacks.ravel() == stack)
        heights = centres[members] @ normals[members[0]]
        order = np.argsort(heights, kind="stable")
        steps = np.diff(heights[order]) > SAME_POSITION_MM
        numbers[members[order]] = first + np.cumsum(np.append(0, steps))
        first = int(numbers[members].max()) + 2
    return numbers

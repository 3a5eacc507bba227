"""Pixels that show no tissue: padding, and text burnt into an image.

A file may tag its padding; often it does not. An untagged value counts as no tissue if
it is one of the few outermost values of the image, is held by several pixels, and is
separated from the other values by a gap that is wide beside their whole range: half of
it for the least or greatest value of a number format, as -32768 or 4095, and many times
for any other. Tissue fills its range, and a scanner that clips bright tissue leaves no
gap below the top, so the rule finds nothing in an ordinary image.
"""

from itertools import pairwise

import numpy as np
from pydicom.dataset import Dataset

from src.imaging.dicom_tags import tag_of

PADDING_TAGS = ["PixelPaddingValue", "PixelPaddingRangeLimit"]
SAMPLE = 1000  # pixels, which are enough to tell an ordinary image
MIN_DISTINCT = 32  # values: with fewer an image is a drawing, and a gap says nothing
FEW_VALUES = 4
MIN_PIXELS = 16
# Of the range of the other values: the first costs a third of the grey levels if it is
# missed. Beyond the second 15 levels would be left, while a single bright object of one
# value, as a marker, is still drawn.
EXTREME_GAP, ANY_GAP = 0.5, 16.0
EXTREMES = {
    *(2**bits - 1 for bits in range(7, 17)),
    *(-(2**bits) for bits in range(7, 16)),
    2**15,
}


def blank_non_tissue(values: np.ndarray, tagged: np.ndarray | None) -> np.ndarray:
    """Set the pixels of float32 [rows, columns] that show no tissue to NaN.

    tagged: bool [rows, columns], the padding that the file names. It is not believed
    where it leaves no tissue at all. Returns `values` itself if there is nothing to
    set.
    """
    if tagged is None or not tagged.any() or tagged.all():
        blank = _untagged(values)
    else:
        blank = tagged.copy()
        found = _untagged(values[~tagged])
        blank[~tagged] = False if found is None else found
    return values if blank is None else np.where(blank, np.float32(np.nan), values)


def tagged_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Return which of the stored values the file names as padding; None if it does not.

    The two ends of a range may come in either order, and either sign: many files write
    signed padding as an unsigned number and the reverse.
    """
    if tag_of(PADDING_TAGS[0]) not in dataset:
        return None
    ends = [_stored_value(dataset.get(name), dataset) for name in PADDING_TAGS]
    if ends[0] is None:
        return None
    known = [end for end in ends if end is not None]
    return (stored >= min(known)) & (stored <= max(known))


def _stored_value(value: object, dataset: Dataset) -> int | None:
    """Read a padding tag as a pixel is read; None if it is no number."""
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")  # a file that lost the tag's type
    if not isinstance(value, int):
        return None
    wrapped = value % 2**dataset.BitsStored
    negative = dataset.PixelRepresentation == 1 and 2 * wrapped >= 2**dataset.BitsStored
    return wrapped - 2**dataset.BitsStored if negative else wrapped


def _untagged(values: np.ndarray) -> np.ndarray | None:
    """Return which values lie beyond a gap at either end; None if there is no gap."""
    few = values.ravel()[:: values.size // SAMPLE | 1]
    sample = np.unique(np.append(few, (values.min(), values.max())))
    if len(sample) < MIN_DISTINCT:
        return None
    inner = float(sample[-1 - FEW_VALUES] - sample[FEW_VALUES])
    # Every gap of the values is one of the sample too, so that an ordinary image is
    # told from a few pixels.
    ends = [
        _beyond(values, sign, edge, inner)
        for sign in (1, -1)
        if (edge := _edge(sign * sample[::sign], sign, inner)) is not None
    ]
    found = [end for end in ends if end is not None]
    return np.logical_or.reduce(found) if found else None


def _beyond(
    values: np.ndarray, sign: int, from_value: float, inner: float
) -> np.ndarray | None:
    """Return which values lie beyond a gap that begins at or beyond `from_value`.

    sign: 1 for the upper end of the values, -1 for the lower, and both are multiplied
    by it; inner: the range of the values without the outermost.
    """
    signed = sign * values
    edge = _edge(np.unique(signed[signed >= from_value]), sign, inner)
    if edge is None:
        return None
    beyond = signed > edge
    return beyond if np.count_nonzero(beyond) >= MIN_PIXELS else None


def _edge(distinct: np.ndarray, sign: int, inner: float) -> float | None:
    """Return the value below the first wide gap near the top of sorted values."""
    upper = distinct[-1 - FEW_VALUES :].tolist()
    for below, above in pairwise(upper):
        extreme = sign * above in EXTREMES
        if above - below > (EXTREME_GAP if extreme else ANY_GAP) * inner:
            return below
    return None

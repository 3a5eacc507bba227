"""From pixel values of any scale to the 256 grey levels of a crop."""

import math

import numpy as np

WINDOW_PERCENTILES = (0.5, 99.5)
# The percentiles are looked for among the values outside of these, which are estimated
# from a few pixels, so that few need to be sorted.
TAIL_PERCENTILES = (1.5, 98.5)
FEW = 16  # one pixel in so many


def intensity_window(pixels: np.ndarray) -> tuple[float, float]:
    """Return the values to show as black and as white; NaN pixels do not count."""
    # A third of the pixels has the same percentiles at a third of the time, and an odd
    # step does not pick every other pixel of an interpolated image.
    sample = np.ascontiguousarray(pixels.ravel()[::3])
    if np.isnan(sample.min()):
        tissue = pixels[~np.isnan(pixels)]
        return intensity_window(tissue) if tissue.size else (0.0, 0.0)
    few = np.sort(sample[::FEW])
    lower, upper = (few[round(p / 100 * (len(few) - 1))] for p in TAIL_PERCENTILES)
    low, high = WINDOW_PERCENTILES
    return (
        _percentile(sample, low, sample <= lower),
        _percentile(sample, high, sample >= upper),
    )


def _percentile(values: np.ndarray, percent: float, tail: np.ndarray) -> float:
    """Return a percentile of [n], between the nearest ranks: numpy's, to the last bit.

    tail: bool [n], all values up to some value or from one on, of which most likely
    both ranks are.
    """
    rank = (len(values) - 1) * (percent / 100)
    first, last = math.floor(rank), math.ceil(rank)
    tailed = values[tail]
    before = len(values) - len(tailed) if percent > 50 else 0
    if not before <= first <= last < before + len(tailed):
        tailed, before = values, 0
    ranks = (first - before, last - before)
    below, above = np.partition(tailed, ranks)[list(ranks)]
    share, step = rank - first, float(above - below)  # a step in float32, as numpy's
    if share < 0.5:
        return float(below) + step * share
    return float(above) - step * (1 - share)


def to_uint8(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values to uint8, low and below and NaN to 0, high and above to 255."""
    grey = np.asarray(pixels - low)
    grey *= 255 / (high - low) if high > low else 0
    # fmax and fmin, unlike clip, take the number where one of the two is NaN.
    np.fmax(grey, 0, out=grey)
    np.fmin(grey, 255, out=grey)
    return np.rint(grey, out=grey).astype(np.uint8)

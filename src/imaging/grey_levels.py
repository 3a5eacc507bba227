"""From pixel values of any scale to the 256 grey levels of a crop."""

import numpy as np

WINDOW_PERCENTILES = (0.5, 99.5)


def intensity_window(pixels: np.ndarray) -> tuple[float, float]:
    """Return the values to show as black and as white; NaN pixels do not count."""
    # A third of the pixels has the same percentiles at a third of the time, and an odd
    # step does not pick every other pixel of an interpolated image.
    low, high = np.percentile(pixels.ravel()[::3], WINDOW_PERCENTILES)
    if np.isnan(low):
        tissue = pixels[~np.isnan(pixels)]
        return intensity_window(tissue) if tissue.size else (0.0, 0.0)
    return float(low), float(high)


def to_uint8(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values to uint8, low and below and NaN to 0, high and above to 255."""
    grey = np.asarray(pixels - low)
    grey *= 255 / (high - low) if high > low else 0
    # fmax and fmin, unlike clip, take the number where one of the two is NaN.
    np.fmax(grey, 0, out=grey)
    np.fmin(grey, 255, out=grey)
    return np.rint(grey, out=grey).astype(np.uint8)

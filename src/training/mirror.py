"""Left/right flips of crops, and the label swap that each needs.

An axial crop is flipped along its columns. A sagittal one stays as it is and its
slices change order, since they run from the patient's right to left. Either way patient
left becomes patient right, so the label must follow: a flip that forgets to swap
labels was the competition's most expensive known bug.
"""

import numpy as np
import pandas as pd

from src.competition.constants import AXIAL_T2, CONDITIONS, swap_side

SWAPPED_CLASS = np.array([CONDITIONS.index(swap_side(name)) for name in CONDITIONS])


def swap_classes(target: np.ndarray) -> np.ndarray:
    """Swap sides in condition classes [n], or in probabilities [n, conditions]."""
    # The swap is its own inverse, so it also says which column comes where.
    return SWAPPED_CLASS[target] if target.ndim == 1 else target[:, SWAPPED_CLASS]


def is_axial(table: pd.DataFrame) -> np.ndarray:
    """Mark [n] the crops of a crop table that are axial."""
    return (table["series_description"] == AXIAL_T2).to_numpy()


def mirror(crops: np.ndarray, axial: np.ndarray) -> np.ndarray:
    """Mirror crops [n, slices, px, px], each in its own plane; axial: [n] bool."""
    flipped = crops[:, ::-1].copy()
    flipped[axial] = crops[axial][..., ::-1]
    return flipped


def mirror_where(
    crops: np.ndarray, chosen: np.ndarray, axial: np.ndarray
) -> np.ndarray:
    """Mirror the chosen crops and leave the others; chosen, axial: [n] bool."""
    if not chosen.any():
        return crops
    out = crops.copy()
    out[chosen] = mirror(crops[chosen], axial[chosen])
    return out

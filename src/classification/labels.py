"""What a crop is asked: which condition it shows, or how severe it is."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.competition.constants import (
    CONDITIONS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
    SIDES,
    SPINAL,
)


@dataclass(frozen=True)
class CropLabels:
    """The classes of a crop task.

    column: of a crop table, the class; labels: its values; weights: class weights of
    the loss, or None for equal ones; canonical_side: whether crops of the patient's
    right are always flipped to the left, so that one model serves both sides.
    """

    column: str
    labels: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    canonical_side: bool = False

    def classes(self, table: pd.DataFrame) -> np.ndarray:
        """Return a crop table's class ids [n], int64; -1 where missing."""
        ids = {label: index for index, label in enumerate(self.labels)}
        return table[self.column].map(ids).fillna(-1).to_numpy(np.int64)

    def mirrored(self, conditions: pd.Series) -> np.ndarray | None:
        """Mark [n] the sites whose crops are always flipped; None if none is."""
        if not self.canonical_side:
            return None
        return conditions.str.startswith(SIDES[1]).to_numpy(bool)

    def mirror_invariant(self, conditions: pd.Series) -> np.ndarray | None:
        """Mark [n] the sites whose class a flip leaves true; None without flips."""
        return (conditions == SPINAL).to_numpy(bool) if self.canonical_side else None


CROP_LABELS = {
    "condition": CropLabels("condition", CONDITIONS),
    "severity": CropLabels(
        "severity", SEVERITIES, SEVERITY_WEIGHTS, canonical_side=True
    ),
}

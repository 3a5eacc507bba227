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
    TARGETS,
)


@dataclass(frozen=True)
class CropTask:
    """A question with one answer a crop.

    column: of a crop table, the answer; labels: its words; weights: how much each
    counts, or None for alike; one_sided: whether the patient's right is always seen in
    the mirror, so that one model serves both sides.
    """

    column: str
    labels: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    canonical_side: bool = False

    def classes(self, table: pd.DataFrame) -> np.ndarray:
        """Turn a crop table's answers into class ids [n], int64; -1 where missing."""
        ids = {label: index for index, label in enumerate(self.labels)}
        return table[self.column].map(ids).fillna(-1).to_numpy(np.int64)

    def mirrored(self, conditions: pd.Series) -> np.ndarray | None:
        """Mark [n] the sites that are seen in the mirror; None if none ever is."""
        if not self.canonical_side:
            return None
        return conditions.str.startswith(SIDES[1]).to_numpy(bool)

    def mirror_invariant(self, conditions: pd.Series) -> np.ndarray | None:
        """Mark [n] the sites whose answer a mirror leaves true; None if not asked."""
        return (conditions == SPINAL).to_numpy(bool) if self.canonical_side else None


CROP_TASKS = {
    "condition": CropTask("condition", CONDITIONS),
    "severity": CropTask("severity", SEVERITIES, SEVERITY_WEIGHTS, canonical_side=True),
}
# What the outputs of a task's models are called, in order.
LABELS = {
    **{name: task.labels for name, task in CROP_TASKS.items()},
    "location": TARGETS,
}

"""What a crop is asked: which condition it shows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.competition.vocab import CONDITIONS


@dataclass(frozen=True)
class CropTask:
    """A question with one answer a crop: the column that has it, and its words."""

    name: str
    column: str
    labels: tuple[str, ...]

    def classes(self, table: pd.DataFrame) -> np.ndarray:
        """Turn a crop table's answers into class ids [n], int64."""
        ids = {label: index for index, label in enumerate(self.labels)}
        return np.array(table[self.column].map(ids), dtype=np.int64)


CROP_TASKS = {"condition": CropTask("condition", "condition", CONDITIONS)}

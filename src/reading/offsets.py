"""Where a study's sites lie from its spinal canal: learnt from marked studies.

With the canal found on the sagittal T2, every other site has a place to be looked for
in patient space, whichever series shows it; which side and which level it is follows
from that place. Offsets are in DICOM's patient axes, as `geometry.py` has them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from src.competition.vocab import CONDITIONS, LEVELS, SPINAL, mirrored

POINT_MM = ["x_mm", "y_mm", "z_mm"]
TARGET = ["condition", "level"]
LEAST_MM = 5.0  # a place is never taken to be surer than this, one deviation
WIDER = 2.0  # nor than so many deviations of the marked studies
Target = tuple[str, str]  # condition, level


@dataclass(frozen=True, eq=False)
class Offset:
    """A target's mean place from the canal of its level, and its deviation; [3] mm."""

    mean_mm: np.ndarray
    spread_mm: np.ndarray


def fit_offsets(sites: pd.DataFrame) -> list[dict[str, Any]]:
    """Measure each target's offset over studies: rows for a run's config.json.

    sites: condition, level and POINT_MM of marked sites, a study's canal and others. A
    site counts for its mirror image too, so that both sides are alike.
    """
    keys = ["study_id", "level"]
    canal = sites[sites["condition"] == SPINAL].drop_duplicates(keys)
    both = sites.merge(canal[[*keys, *POINT_MM]], on=keys, suffixes=("", "_canal"))
    canal_mm = both[[f"{name}_canal" for name in POINT_MM]].to_numpy()
    away = both[TARGET].join(
        pd.DataFrame(both[POINT_MM].to_numpy() - canal_mm, columns=POINT_MM)
    )
    turned = away.assign(condition=away["condition"].map(mirrored), x_mm=-away["x_mm"])
    rows = []
    for (condition, level), some in pd.concat([away, turned]).groupby(TARGET):
        values = some[POINT_MM].to_numpy()
        # Robust, since a few marked points are on a wrong level or side.
        mean = np.median(values, axis=0)
        spread = 1.4826 * np.median(np.abs(values - mean), axis=0)
        rows.append(
            {
                "condition": condition,
                "level": level,
                "mean_mm": mean.round(2).tolist(),
                "spread_mm": spread.round(2).tolist(),
            }
        )
    return rows


def read_offsets(rows: list[dict[str, Any]] | None) -> dict[Target, Offset]:
    """Turn config.json's rows back into offsets by target."""
    return {
        (row["condition"], row["level"]): Offset(
            np.array(row["mean_mm"], float),
            np.maximum(WIDER * np.array(row["spread_mm"], float), LEAST_MM),
        )
        for row in rows or []
        if row["condition"] in CONDITIONS and row["level"] in LEVELS
    }

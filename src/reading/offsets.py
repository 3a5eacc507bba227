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
CANAL_KEYS = ["study_id", "level"]
LEAST_MM = 5.0  # nothing learnt is taken to be surer than this, one deviation
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
    both = sites.merge(canal_of(sites), on=CANAL_KEYS, suffixes=("", "_canal"))
    canal_mm = both[[f"{name}_canal" for name in POINT_MM]].to_numpy()
    away = both[TARGET].join(
        pd.DataFrame(both[POINT_MM].to_numpy() - canal_mm, columns=POINT_MM)
    )
    turned = away.assign(condition=away["condition"].map(mirrored), x_mm=-away["x_mm"])
    rows = []
    for (condition, level), some in pd.concat([away, turned]).groupby(TARGET):
        usual = robust(some[POINT_MM].to_numpy())
        rows.append({"condition": condition, "level": level, **usual})
    return rows


def canal_of(sites: pd.DataFrame) -> pd.DataFrame:
    """Take the canal's points, one a study and level: CANAL_KEYS and POINT_MM."""
    canal = sites[sites["condition"] == SPINAL].drop_duplicates(CANAL_KEYS)
    return canal[[*CANAL_KEYS, *POINT_MM]]


def robust(values: np.ndarray) -> dict[str, Any]:
    """Return the middle and the deviation of values [n, ...], in mm.

    Robust, since a few marked points are on a wrong level or side.
    """
    mean = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - mean), axis=0)
    return {"mean_mm": mean.round(2).tolist(), "spread_mm": spread.round(2).tolist()}


def believed(spread_mm: Any) -> np.ndarray:
    """Widen deviations to what is taken for them in studies not marked."""
    return np.maximum(WIDER * np.array(spread_mm, float), LEAST_MM)


def read_offsets(rows: list[dict[str, Any]] | None) -> dict[Target, Offset]:
    """Turn config.json's rows back into offsets by target."""
    return {
        (row["condition"], row["level"]): Offset(
            np.array(row["mean_mm"], float),
            believed(row["spread_mm"]),
        )
        for row in rows or []
        if row["condition"] in CONDITIONS and row["level"] in LEVELS
    }

"""How far found sites lie from the marked ones."""

from typing import Any

import numpy as np
import pandas as pd

from src.competition.vocab import FAMILY_OF
from src.imaging.overview import Overview
from src.reading.locate import Located, Sites
from src.reading.offsets import POINT_MM

TRUE = {name: f"true_{name}" for name in ("series_id", "instance_number", "x", "y")}
COMPARED = (
    *("study_id", "condition", "level", "series_description", "series_id"),
    *("instance_number", "x", "y", "confidence", "source", *TRUE.values()),
    *("error_mm", "slices_off", "level_right", "side_right"),
)


def compare(
    sites: Sites, marked: pd.DataFrame, overviews: dict[str, Overview]
) -> pd.DataFrame:
    """Hold a study's found sites against its marked ones: rows of COMPARED.

    marked: the study's rows of the crop table; overviews: by series type. A site that
    was missed has no place. error_mm: within the marked slice's plane; slices_off:
    counted within its stack, missing if the site is in another; level_right,
    side_right: whether of the marked sites of its family the nearest one has the level,
    or lies on the side, that was asked for.
    """
    rows = []
    for truth in marked.itertuples():
        row: dict[str, Any] = {
            **{name: getattr(truth, name) for name in COMPARED[:4]},
            **{new: getattr(truth, name) for name, new in TRUE.items()},
        }
        found = sites.get((truth.condition, truth.level))
        overview = overviews[truth.series_description]
        if found is not None:
            row |= {name: getattr(found, name) for name in COMPARED[4:10]}
            row |= _errors(found, truth, overview)
            row |= _confusions(found, truth, marked)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(COMPARED))


def _errors(found: Located, truth: Any, overview: Overview) -> dict[str, Any]:
    here = overview.index_of(truth.series_id, truth.instance_number)
    there = overview.index_of(found.series_id, found.instance_number)
    plane = overview.planes[here]
    point_mm = np.array([truth.x_mm, truth.y_mm, truth.z_mm])
    across = plane.to_pixel(found.point_mm) - plane.to_pixel(point_mm)
    same = there is not None and overview.stacks[here] == overview.stacks[there]
    places = overview.slices["place"].to_numpy()
    return {
        "error_mm": float(np.linalg.norm(across) * overview.pitch_mm),
        "slices_off": int(abs(places[here] - places[there])) if same else None,
    }


def _confusions(found: Located, truth: Any, marked: pd.DataFrame) -> dict[str, bool]:
    family = marked["condition"].map(FAMILY_OF) == FAMILY_OF[truth.condition]
    others = marked[family]
    away = np.linalg.norm(others[POINT_MM].to_numpy() - found.point_mm, axis=1)
    nearest = others.iloc[int(away.argmin())]
    return {
        "level_right": nearest["level"] == truth.level,
        "side_right": nearest["condition"] == truth.condition,
    }

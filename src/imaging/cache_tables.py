"""Assembling a cache: shards to one array and the tables that say what is in it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.vocab import FAMILY_OF, SERIES_OF
from src.errors import InputError
from src.files import replacing, write_csv
from src.imaging.cache import CROP_COLUMNS, REJECT_COLUMNS
from src.imaging.shards import SeriesTask, Shard, read_shard

POINT_ORDER = ["study_id", "condition", "level", "series_id", "instance_number"]


def sorted_points(points: pd.DataFrame) -> pd.DataFrame:
    """Put points in the cache's order; a point's row number is its index here."""
    return points.sort_values([*POINT_ORDER, "x", "y"], ignore_index=True)


def write_cache(
    cache: Path,
    points: pd.DataFrame,
    labels: pd.DataFrame,
    series: pd.DataFrame,
    tasks: Sequence[SeriesTask],
) -> dict[str, int]:
    """Write the cache's array and tables from every task's shard, and count them.

    points: as from sorted_points. Raises InputError if there is no crop at all.
    """
    described = _described(points, labels, series)
    kept, rejected = _outcomes(tasks)
    rejects = described.join(rejected, how="inner")
    write_csv(rejects[list(REJECT_COLUMNS)], cache / "rejects.csv")
    if kept.empty:
        raise InputError(
            f"None of {len(points)} points gave a crop, and the first says: "
            f"{rejects['reason'].iloc[0]}"
        )
    table = described.join(kept, how="inner")
    table.insert(0, "crop", range(len(table)))
    table["note"] = table["remark"].str.cat(table["note"], sep="; ").str.strip("; ")
    write_crops(cache / "crops.npy", table["crop"], tasks)
    write_csv(table[list(CROP_COLUMNS)], cache / "crops.csv")
    write_csv(labels, cache / "labels.csv")
    write_csv(series, cache / "series.csv")
    return {"crops": len(table), "rejects": len(rejects)}


def write_crops(path: Path, crop_of: pd.Series, tasks: Sequence[SeriesTask]) -> None:
    """Write shards' crops, one shard in memory at a time, to their numbers' places.

    crop_of: crop number by row. By plain writes, because on a full disk a memory map
    ends the process where a write raises.
    """
    spec = tasks[0].spec
    shape = (len(crop_of), spec.slices, spec.crop_px, spec.crop_px)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for shard in _shards(tasks):
            for row, crop in zip(shard.rows, shard.crops, strict=True):
                file.seek(start + int(crop_of[row]) * crop.nbytes)
                file.write(crop.tobytes())


def _shards(tasks: Sequence[SeriesTask]) -> Iterator[Shard]:
    return (read_shard(task.shard) for task in tasks)


def _described(
    points: pd.DataFrame, labels: pd.DataFrame, series: pd.DataFrame
) -> pd.DataFrame:
    """Add severity, series_description and remark to the points, in their order."""
    site, place = ["study_id", "condition", "level"], ["study_id", "series_id"]
    severities = labels[[*site, "severity"]]
    descriptions = series[[*place, "series_description"]]
    table = points.merge(severities, "left", site, validate="m:1")
    table = table.merge(descriptions, "left", place, validate="m:1")
    expected = table["condition"].map(FAMILY_OF).map(SERIES_OF)
    surprise = table["series_description"] != expected
    remark = "on " + table["series_description"] + ", not " + expected
    return table.assign(remark=remark.where(surprise, "").fillna(""))


def _outcomes(tasks: Sequence[SeriesTask]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather what became of each row: crops' columns, and reasons for rejects."""
    kept, rejected = [], []
    for shard in _shards(tasks):
        x_mm, y_mm, z_mm = shard.points_mm.T.round(3)
        columns = {"slice": shard.slices, "x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm}
        kept.append(pd.DataFrame({**columns, "note": shard.notes}, shard.rows))
        rejected.append(pd.DataFrame({"reason": shard.reasons}, shard.rejected_rows))
    return pd.concat(kept), pd.concat(rejected)

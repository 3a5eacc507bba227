"""The sagittal overview: the levels as they were named, and where axial slices cut."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from src.competition.constants import (
    AXIAL_T2,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SPINAL,
)
from src.errors import UserError
from src.imaging.dicom import SliceHeader
from src.imaging.geometry import SliceGeometry
from src.inference.predicted_study import PredictedStudy
from src.inference.site_views import Views
from src.localization.locate import LocatedSite
from src.localization.spine_prior import Target
from src.reporting.slice_pictures import SlicePictures, in_plane


@dataclass(frozen=True)
class LevelMark:
    """Where a level's canal lies on the overview, in mm of its slice."""

    level: str
    x: float
    y: float


@dataclass(frozen=True)
class AxialLine:
    """Where an axial slice crosses the overview: from (x1, y1) to (x2, y2), in mm.

    series_id, index: of the slice; levels: those whose sites lie on it.
    """

    series_id: int
    index: int
    x1: float
    y1: float
    x2: float
    y2: float
    levels: tuple[str, ...]


@dataclass(frozen=True)
class SagittalOverview:
    """A whole sagittal slice, the marks of the levels and the axial slices' lines.

    number: of its picture.
    """

    number: int
    description: str
    marks: list[LevelMark]
    lines: list[AxialLine]


def make_overview(
    predicted: PredictedStudy, pictures: SlicePictures
) -> SagittalOverview | None:
    """Choose the slice in the middle of the canal's sites; None without a sagittal one.

    The sagittal T2 is preferred. Without any site it is the series' middle slice.
    """
    study = predicted.study
    for description in (SAGITTAL_T2, SAGITTAL_T1):
        if description not in study.overviews:
            continue
        sites = {
            level: site
            for level in LEVELS
            if (site := predicted.views.get((SPINAL, level), {}).get(description))
        }
        series_id, index = _middle(predicted, description, sites)
        try:
            number = pictures.add(series_id, index)
        except UserError:
            continue
        series = study.series[series_id]
        marks = []
        for level, site in sites.items():
            own = study.series[site.series_id]
            stored = own.headers[own.index_of(site.instance_number)].geometry
            point_mm = stored.to_patient((site.x, site.y))
            marks.append(LevelMark(level, *in_plane(series, index, point_mm)))
        lines = _axial_lines(predicted, series.headers[index])
        return SagittalOverview(number, description, marks, lines)
    return None


def _middle(
    predicted: PredictedStudy, description: str, sites: Mapping[str, LocatedSite]
) -> tuple[int, int]:
    """Return the series and index of the slice in the middle of the sites'."""
    study = predicted.study
    ids = [site.series_id for site in sites.values()]
    if not ids:
        slices = study.overviews[description].slices
        row = slices.iloc[len(slices) // 2]
        series_id = int(row["series_id"])
        return series_id, study.series[series_id].index_of(int(row["instance_number"]))
    series_id = max(dict.fromkeys(ids), key=ids.count)
    series = study.series[series_id]
    numbers = [s.instance_number for s in sites.values() if s.series_id == series_id]
    indices = sorted(series.index_of(number) for number in numbers)
    return series_id, indices[len(indices) // 2]


def _axial_lines(predicted: PredictedStudy, sagittal: SliceHeader) -> list[AxialLine]:
    study = predicted.study
    if AXIAL_T2 not in study.overviews:
        return []
    levels = _levels_by_slice(predicted.views)
    lines = []
    for series_id in study.overviews[AXIAL_T2].slices["series_id"].unique().tolist():
        series = study.series[series_id]
        for index, header in enumerate(series.headers):
            if int(series.stacks[index]) in series.warnings:
                continue  # its position is unknown
            crossing = crossing_mm(header, sagittal.canonical_plane)
            if crossing is not None:
                own = levels.get((series_id, header.instance_number), {})
                x1, y1, x2, y2 = crossing.ravel().tolist()
                lines.append(AxialLine(series_id, index, x1, y1, x2, y2, tuple(own)))
    return lines


def _levels_by_slice(
    views: Mapping[Target, Views],
) -> dict[tuple[int, int], dict[str, None]]:
    """Return the levels whose sites lie on each axial slice, by series and file."""
    found: dict[tuple[int, int], dict[str, None]] = {}
    for (_, level), shown in views.items():
        if site := shown.get(AXIAL_T2):
            key = (site.series_id, site.instance_number)
            found.setdefault(key, {})[level] = None
    return found


def crossing_mm(header: SliceHeader, plane: SliceGeometry) -> np.ndarray | None:
    """Return the ends [2, 2] of the line in which a slice's image crosses a plane.

    In mm of the plane from its first pixel; None where the image does not reach it. The
    ends lie on the image's border, at which the distance to the plane changes sign.
    """
    columns, rows = header.columns - 0.5, header.rows - 0.5
    border = [(-0.5, -0.5), (columns, -0.5), (columns, rows), (-0.5, rows)]
    corners_mm = header.geometry.to_patient(border)
    distances_mm = plane.distance_mm(corners_mm)
    ends = []
    for start in range(4):
        stop = (start + 1) % 4
        before, after = distances_mm[start], distances_mm[stop]
        if (before < 0) != (after < 0):
            share = before / (before - after)
            ends.append(
                corners_mm[start] + share * (corners_mm[stop] - corners_mm[start])
            )
    if len(ends) != 2:
        return None
    return np.asarray(plane.to_pixel(np.stack(ends)) * plane.spacing_mm)

"""One phantom study: a person, their severities, and their scans as DICOM."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.constants import FAMILY_OF, SERIES_OF
from src.phantom.anatomy import Anatomy, draw_anatomy
from src.phantom.dicom_writer import write_slice
from src.phantom.header import with_headers
from src.phantom.protocol import Scan, draw_scans
from src.phantom.rater import draw_narrowing, draw_severity
from src.phantom.scanner import render
from src.phantom.variants import Variant

UNGRADED_STUDIES = 0.1  # share of studies with a level without labels
MARGIN_PX = 4  # a site closer to the border is not marked


@dataclass(frozen=True)
class StudyPlan:
    """The recipe of a study: the same plan always makes the same files."""

    study_id: int
    index: int  # of the study in its cohort, which picks the quirks
    seed: int
    marking_mm: float  # std of the marked points, in each pixel direction
    variant: Variant = "usual"


@dataclass(frozen=True, eq=False)
class StudyTruth:
    """A written study's tables.

    sites: study_id, condition, level, narrowing, severity (None without a label);
    points: as the competition's coordinates; series: study_id, series_id, description;
    variant: the person's, which may be unusual although the plan's is not.
    """

    sites: pd.DataFrame
    points: pd.DataFrame
    series: pd.DataFrame
    variant: Variant = "usual"


def write_study(plan: StudyPlan, images: Path) -> StudyTruth:
    """Draw the study's person, scan them into images/<study>/<series>/, mark sites."""
    rng = np.random.default_rng(plan.seed)
    sites = draw_narrowing(rng)
    sites["severity"] = draw_severity(sites["narrowing"].to_numpy(), rng)
    anatomy = draw_anatomy(rng, sites, plan.variant)
    scans = dict(
        zip(
            _series_ids(rng),
            with_headers(draw_scans(rng, anatomy, plan.index), _header_rng(plan)),
            strict=False,
        )
    )
    ungraded = _ungraded(rng, sites)
    sites.loc[ungraded, "severity"] = None
    sites.insert(0, "study_id", plan.study_id)
    graded = sites.loc[~ungraded, ["condition", "level"]]
    points = _mark(rng, plan, anatomy, scans, graded.merge(anatomy.sites))
    for series_id, scan in scans.items():
        folder = images / str(plan.study_id) / str(series_id)
        for index, number in enumerate(scan.numbers):
            image = render(
                anatomy, scan.planes[index], scan.shapes[index], scan.contrast, rng
            )
            write_slice(folder / f"{number}.dcm", image, scan, index)
    series = pd.DataFrame(
        [(plan.study_id, number, scan.description) for number, scan in scans.items()],
        columns=["study_id", "series_id", "series_description"],
    )
    return StudyTruth(sites, points, series, anatomy.variant)


def _header_rng(plan: StudyPlan) -> np.random.Generator:
    """Make the headers' own generator, so that they change no picture."""
    return np.random.default_rng([plan.seed, 1])


def _series_ids(rng: np.random.Generator) -> list[int]:
    return [int(value) for value in rng.integers(10**6, 2**32, 8)]


def _ungraded(rng: np.random.Generator, sites: pd.DataFrame) -> np.ndarray:
    """Choose the sites [25] whose label is missing: none, or a family at one level."""
    if rng.random() >= UNGRADED_STUDIES:
        return np.zeros(len(sites), bool)
    row = sites.iloc[int(rng.integers(len(sites)))]
    family = sites["condition"].map(FAMILY_OF)
    same_family = family == FAMILY_OF[row["condition"]]
    return (same_family & (sites["level"] == row["level"])).to_numpy()


def _mark(
    rng: np.random.Generator,
    plan: StudyPlan,
    anatomy: Anatomy,
    scans: dict[int, Scan],
    sites: pd.DataFrame,
) -> pd.DataFrame:
    """Mark each site on the nearest slice of its series type, as annotators do."""
    positions = anatomy.spine.to_patient(sites[["a", "b", "t"]].to_numpy())
    rows = []
    names = zip(sites["condition"], sites["level"], strict=True)
    for (condition, level), point in zip(names, positions, strict=True):
        description = SERIES_OF[FAMILY_OF[condition]]
        found = _nearest_slice(scans, description, point)
        shift = rng.normal(0, plan.marking_mm, 2)
        if found is not None:
            series_id, number, xy, spacing = found
            x, y = xy + shift / spacing
            site = (plan.study_id, series_id, number, condition, level)
            rows.append((*site, round(float(x), 4), round(float(y), 4)))
    columns = ["study_id", "series_id", "instance_number", "condition", "level"]
    return pd.DataFrame(rows, columns=[*columns, "x", "y"])


def _nearest_slice(
    scans: dict[int, Scan], description: str, point: np.ndarray
) -> tuple[int, int, np.ndarray, float] | None:
    """Return series, instance, pixel [2] and spacing of the slice nearest a point."""
    best = None
    nearest = 4.0  # mm; a site farther away is not marked
    for series_id, scan in scans.items():
        if scan.description != description:
            continue
        for plane, shape, number in zip(
            scan.planes, scan.shapes, scan.numbers, strict=True
        ):
            distance = abs(float(plane.distance_mm(point)))
            if distance >= nearest:
                continue
            xy = plane.to_pixel(point)
            limit = np.array([shape[1], shape[0]]) - MARGIN_PX
            if (xy > MARGIN_PX).all() and (xy < limit).all():
                nearest = distance
                best = (series_id, number, xy, plane.spacing_mm[0])
    return best

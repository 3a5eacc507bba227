"""A cohort to learn the canal from: real T2 series, thickened ones, and phantoms.

The real ones have slices 1 mm apart in the middle 15 mm of the body. A usual T2 has
slices of 4 mm from side to side: averaged neighbours show a locator such slices, and
phantoms such series.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from src.competition.constants import SAGITTAL_T2, SPINAL
from src.competition.folds import FOLDS
from src.competition.tables import (
    LABEL_FILE,
    POINT_FILE,
    SERIES_FILE,
    image_folder,
    read_training,
)
from src.errors import UserError
from src.files import replacing, write_csv
from src.imaging.series import Series, read_series
from src.phantom.cohort import write_cohort

THICKNESSES = (3, 4)  # slices of 1 mm in an averaged one
MIN_SLICES = 3  # of a thickened series: one before and one after the marked one
TABLES = (LABEL_FILE, POINT_FILE, SERIES_FILE)
Tables = dict[str, pd.DataFrame]  # by file name


@dataclass(frozen=True)
class Person:
    """A study of the mixture: whose it is, and what its slices are.

    patient: the real study that it is of, 0 for a phantom; thickness: slices averaged
    into one, 0 for a phantom.
    """

    study_id: int
    patient: int
    thickness: int


def write_mixture(
    source: Path, phantoms: int, target: Path, executor: Executor
) -> list[Person]:
    """Write the cohort to `target` in the competition's layout; list its studies.

    source: real studies in that layout with canals marked on one sagittal T2 each.
    Raises UserError where it is none.
    """
    real = read_training(source)
    images = image_folder(source, "train")
    raw = {name: pd.read_csv(source / name) for name in TABLES}
    parts, people = [raw], []
    for study_id, series_id in _series_of(real.series):
        people.append(Person(study_id, study_id, 1))
        folder = images / str(study_id) / str(series_id)
        _copy(folder, image_folder(target, "train"))
        for thickness in THICKNESSES:
            new = Person(study_id * 10 + thickness, study_id, thickness)
            if part := _thicken(raw, folder, new, image_folder(target, "train")):
                parts.append(part)
                people.append(new)
    made = target.with_name(f"{target.name}-phantoms")
    if not (made / LABEL_FILE).is_file():
        write_cohort(made, phantoms, executor)
    drawn, ids = _phantoms(made, image_folder(target, "train"))
    people += [Person(study_id, 0, 0) for study_id in ids]
    for name in TABLES:
        whole = pd.concat([part[name] for part in [*parts, drawn]], ignore_index=True)
        write_csv(whole, target / name)
    return people


def mixture_folds(people: list[Person], unseen: int) -> pd.DataFrame:
    """Deal out folds by patient: study_id, split, fold.

    A thickened series goes where its patient goes. In the holdout the patient `unseen`
    is tested and a tenth of the phantoms validates: all other patients are learned
    from.
    """
    patients = sorted({person.patient for person in people} - {0})
    if unseen not in patients:
        raise UserError(
            f"Study {unseen} is not among the real studies: name one of {patients}"
        )
    order = np.random.default_rng(0).permutation(patients).tolist()
    fold_of = {patient: index % FOLDS for index, patient in enumerate(order)}
    rows, phantoms = [], 0
    for person in people:
        split = "test" if person.patient == unseen else "train"
        if not person.patient:
            split = "train" if phantoms % 10 else "validation"
            phantoms += 1
        fold = fold_of.get(person.patient, phantoms % FOLDS)
        rows.append((person.study_id, split, fold))
    return pd.DataFrame(rows, columns=["study_id", "split", "fold"])


def _series_of(series: pd.DataFrame) -> Iterator[tuple[int, int]]:
    chosen = series[series["series_description"] == SAGITTAL_T2]
    chosen = chosen.drop_duplicates("study_id")[["study_id", "series_id"]]
    yield from map(tuple, chosen.astype(int).to_numpy().tolist())


def _copy(folder: Path, images: Path) -> None:
    for path in sorted(folder.glob("*.dcm")):
        target = images / folder.parent.name / folder.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_bytes(path.read_bytes())


def _thicken(raw: Tables, folder: Path, new: Person, images: Path) -> Tables | None:
    """Write a series of averaged neighbours; None where it would be too short."""
    series, series_id = read_series(folder), int(folder.name)
    points = raw[POINT_FILE]
    points = points[points["series_id"] == series_id]
    marked = series.index_of(int(points["instance_number"].mode()[0]))
    # The marked slice lies in the middle of its group.
    first = (marked - (new.thickness - 1) // 2) % new.thickness
    groups = [
        range(start, start + new.thickness)
        for start in range(first, len(series.headers), new.thickness)
        if start + new.thickness <= len(series.headers)
    ]
    if len(groups) < MIN_SLICES:
        return None
    target = images / str(new.study_id) / str(series_id)
    group_of: dict[int, int] = {}
    for number, group in enumerate(groups, start=1):
        _write_average(series, group, number, target)
        group_of |= {series.headers[i].instance_number: number for i in group}
    part = {name: _renamed(raw[name], new) for name in TABLES}
    moved = part[POINT_FILE]
    moved = moved.assign(instance_number=moved["instance_number"].map(group_of))
    part[POINT_FILE] = moved.dropna().astype({"instance_number": int})
    return part


def _renamed(table: pd.DataFrame, new: Person) -> pd.DataFrame:
    return table[table["study_id"] == new.patient].assign(study_id=new.study_id)


def _write_average(series: Series, group: range, number: int, folder: Path) -> None:
    """Write the mean of a series' slices, at the middle of their positions."""
    headers = [series.headers[index] for index in group]
    mean = np.mean([series.pixels(index) for index in group], axis=0)
    dataset: Dataset = dcmread(headers[0].path, stop_before_pixels=True)
    position = np.mean([header.geometry.position_mm for header in headers], axis=0)
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.InstanceNumber = number
    dataset.SliceThickness = dataset.SpacingBetweenSlices = str(len(group))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = np.rint(np.nan_to_num(mean)).astype(np.uint16)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelRepresentation = 0
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{number}.dcm") as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _phantoms(made: Path, images: Path) -> tuple[Tables, list[int]]:
    """Take the sagittal T2 series and canals of a phantom cohort."""
    raw = {name: pd.read_csv(made / name) for name in TABLES}
    series = raw[SERIES_FILE]
    series = series[series["series_description"] == SAGITTAL_T2]
    raw[SERIES_FILE] = series
    points = raw[POINT_FILE]
    canal = points["condition"].str.lower().str.replace(" ", "_") == SPINAL
    raw[POINT_FILE] = points[canal & points["series_id"].isin(series["series_id"])]
    for row in series.itertuples():
        _copy(image_folder(made, "train") / f"{row.study_id}/{row.series_id}", images)
    raw[LABEL_FILE] = _without_grades(raw[LABEL_FILE], series["study_id"])
    return raw, sorted(series["study_id"].unique().tolist())


def _without_grades(labels: pd.DataFrame, studies: pd.Series) -> pd.DataFrame:
    """Blank the phantoms' grades: of real patients there are none."""
    kept = labels[labels["study_id"].isin(studies)]
    return kept[["study_id"]].reindex(columns=labels.columns)

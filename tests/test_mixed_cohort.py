"""The mixture that the canal locator learns from: averaged slices, folds by patient."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import plane, write_series

from src.competition.constants import TARGETS
from src.competition.tables import read_training
from src.errors import UserError
from src.imaging.series import read_series
from src.workers import worker_pool
from weights.mixed_cohort import Person, mixture_folds, write_mixture

SLICES, MARKED = 13, 7  # 1 mm apart; the marked instance


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Person]]:
    """Write one real study of numbered slices, and mix it."""
    root = tmp_path_factory.mktemp("mixture")
    source, images = root / "real", root / "real" / "train_images"
    volume = np.empty((SLICES, 40, 30), "u2")
    volume[:] = 100 * np.arange(1, SLICES + 1)[:, None, None]
    volume[:, :20] += 7  # so that no slice is blank
    planes = [plane((float(index), 0, 0)) for index in range(SLICES)]
    write_series(images / "11" / "5", volume, planes)
    study = {"study_id": [11]}
    pd.DataFrame(study | {name: [None] for name in TARGETS}).to_csv(
        source / "train.csv", index=False
    )
    series = study | {"series_id": [5], "series_description": ["Sagittal T2/STIR"]}
    pd.DataFrame(series).to_csv(source / "train_series_descriptions.csv", index=False)
    point = {"instance_number": [MARKED], "x": [12.0], "y": [9.0]}
    site = {"condition": ["Spinal Canal Stenosis"], "level": ["L4/L5"]}
    points = study | {"series_id": [5]} | site | point
    pd.DataFrame(points).to_csv(source / "train_label_coordinates.csv", index=False)
    with worker_pool(1) as executor:
        return root / "mixed", write_mixture(source, 3, root / "mixed", executor)


def test_a_thick_slice_is_the_mean_of_its_neighbours(
    mixture: tuple[Path, list[Person]],
) -> None:
    data, _ = mixture
    series = read_series(data / "train_images" / "113" / "5")
    # Three of 13 slices each, the marked seventh in the middle of its three; the first
    # two and the last two are left over.
    values = [float(series.pixels(index)[30, 3]) for index in range(3)]
    assert values == [400, 700, 1000]
    centres = [float(header.geometry.position_mm[0]) for header in series.headers]
    assert centres == [3, 6, 9]


def test_a_mark_lies_on_the_thick_slice_that_holds_its_slice(
    mixture: tuple[Path, list[Person]],
) -> None:
    points = read_training(mixture[0]).points.set_index("study_id")
    for study, thickness in ((113, 3), (114, 4)):
        folder = mixture[0] / "train_images" / str(study) / "5"
        series = read_series(folder)
        index = series.index_of(int(points.loc[study, "instance_number"]))
        centre = float(series.headers[index].geometry.position_mm[0])
        assert abs(centre - (MARKED - 1)) < thickness / 2
        assert (points.loc[study, "x"], points.loc[study, "y"]) == (12.0, 9.0)


def test_phantoms_bring_their_sagittal_t2_and_no_grade(
    mixture: tuple[Path, list[Person]],
) -> None:
    data, people = mixture
    competition = read_training(data)
    phantoms = {person.study_id for person in people if not person.patient}
    of_phantoms = competition.series[competition.series["study_id"].isin(phantoms)]
    assert set(of_phantoms["series_description"]) == {"Sagittal T2/STIR"}
    assert competition.labels["severity"].isna().all()
    assert set(competition.points["condition"]) == {"spinal_canal_stenosis"}


def people_of(patients: int, phantoms: int) -> Iterator[Person]:
    """Invent studies: each patient with two thick ones."""
    for patient in range(100, 100 + patients):
        yield Person(patient, patient, 1)
        yield from (Person(10 * patient + t, patient, t) for t in (3, 4))
    yield from (Person(index, 0, 0) for index in range(phantoms))


def test_a_patient_is_never_on_both_sides() -> None:
    people = list(people_of(24, 30))
    folds = mixture_folds(people, 107).set_index("study_id")
    for patient in range(100, 124):
        own = folds.loc[[patient, 10 * patient + 3, 10 * patient + 4]]
        assert own["fold"].nunique() == own["split"].nunique() == 1
        assert (own["split"] == "test").all() == (patient == 107)
    validates = folds.index[folds["split"] == "validation"]
    assert len(validates) == 3
    assert set(validates) <= set(range(30))
    sizes = folds.loc[range(100, 124)].groupby("fold").size()
    assert sizes.min() >= 4


def test_an_unseen_patient_has_to_be_there() -> None:
    with pytest.raises(UserError, match="99 is not among the real studies"):
        mixture_folds(list(people_of(2, 3)), 99)

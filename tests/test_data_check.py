"""The check of a download: a sound one, and the same with one damage each."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import SAGITTAL
from download_cohort import (
    AX,
    STUDY,
    T1,
    T2,
    TEST_STUDY,
    edit,
    write_test,
    write_training,
)
from pydicom import dcmread

from src.cache.data_check import KINDS, check_download, kinds_not_found, summarise
from src.cache.finding import CHECK_COLUMNS
from src.competition.constants import TARGETS
from src.errors import UserError

POINTS, SERIES = "train_label_coordinates", "train_series_descriptions"
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound download; not to be written to."""
    return write_training(tmp_path_factory.mktemp("download") / "data")


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def folder(series: int, study: int = STUDY) -> str:
    split = "train" if study == STUDY else "test"
    return f"{split}_images/{study}/{series}"


def retag(series: int, number: int | None = None, **tags: Any) -> Damage:
    """Set tags of a series' slices, of all or of one; None takes a tag away."""

    def damage(root: Path) -> None:
        name = "*" if number is None else number
        for path in (root / folder(series)).glob(f"{name}.dcm"):
            dataset = dcmread(path)
            for tag, value in tags.items():
                if value is None:
                    del dataset[tag]
                else:
                    setattr(dataset, tag, value(dataset) if callable(value) else value)
            dataset.save_as(path)

    return damage


def shifted(axis: int, by_mm: float) -> Callable[[Any], list[float]]:
    def value(dataset: Any) -> list[float]:
        position = [float(number) for number in dataset.ImagePositionPatient]
        position[axis] += by_mm
        return position

    return value


def neighbour_pixels(dataset: Any) -> bytes:
    return dcmread(Path(dataset.filename).with_name("2.dcm")).PixelData


def remove(*names: str) -> Damage:
    def damage(root: Path) -> None:
        for name in names:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def copy(source: str, target: str) -> Damage:
    def damage(root: Path) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        work = shutil.copytree if (root / source).is_dir() else shutil.copy
        work(root / source, root / target)

    return damage


def write(name: str, data: bytes | Callable[[bytes], bytes]) -> Damage:
    def damage(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data(path.read_bytes()) if callable(data) else data)

    return damage


def cells(name: str, where: dict[str, Any], **values: Any) -> Damage:
    """Set cells of a table, in the rows that have the given values."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        chosen = np.ones(len(table), bool)
        for column, value in where.items():
            chosen &= (table[column] == str(value)).to_numpy()
        assert chosen.any()
        for column, value in values.items():
            table.loc[chosen, column] = str(value)
        return table

    return lambda root: edit(root, name, change)


def rows(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda root: edit(root, name, change)


def doubled(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.head(1)])


def both(*damages: Damage) -> Damage:
    return lambda root: [damage(root) for damage in damages]


def site(condition: str, level: str) -> dict[str, str]:
    return {"condition": condition, "level": level}


SPINAL, RECESS = "Spinal Canal Stenosis", "Left Subarticular Stenosis"
EMPTIED = folder(213, TEST_STUDY)
# The damage, and all that is found then: what, study, series, file, words of detail.
DAMAGES: dict[str, tuple[Damage, list[tuple]]] = {
    "no train.csv": (
        remove("train.csv"),
        [("table not readable", None, None, "train.csv", "train.csv is not in")],
    ),
    "a table of other bytes": (
        write(f"{POINTS}.csv", b"\xff\xfe\x00"),
        [("table not readable", None, None, f"{POINTS}.csv", "UTF-8")],
    ),
    "a table without its columns": (
        rows(POINTS, lambda table: table.drop(columns=["x", "y"])),
        [("table not readable", None, None, f"{POINTS}.csv", "lacks 2 columns: x, y")],
    ),
    "an unknown severity": (
        cells("train", {}, spinal_canal_stenosis_l1_l2="Sever"),
        [
            ("value not understood", STUDY, None, "train.csv", "line 2 is 'Sever'"),
            ("labels empty", STUDY, None, "train.csv", "1 of 25"),
            ("point without a label", STUDY, None, "train.csv", "l1_l2 of spinal"),
        ],
    ),
    "a coordinate that is no number": (
        cells(POINTS, site(SPINAL, "L3/L4"), x="1,5"),
        [
            ("value not understood", STUDY, T2, f"{POINTS}.csv", "x on line"),
            ("label without a point", STUDY, None, f"{POINTS}.csv", "l3_l4 of spinal"),
            ("level skipped", STUDY, None, f"{POINTS}.csv", "above and below l3_l4"),
        ],
    ),
    "a doubled point": (
        rows(POINTS, doubled),
        [("row repeated", STUDY, T1, f"{POINTS}.csv", "2 times, on lines 2, 27")],
    ),
    "a doubled study": (
        rows("train", doubled),
        [("row repeated", STUDY, None, "train.csv", "2 times, on lines 2, 3")],
    ),
    "a doubled series": (
        rows(SERIES, doubled),
        [("row repeated", STUDY, T1, f"{SERIES}.csv", "2 times, on lines 2, 5")],
    ),
    "a folder that is no study": (
        write("train_images/Jane Doe/1.dcm", b""),
        [("entry not expected", None, None, "train_images", "an entry that is no")],
    ),
    "files beside the series": (
        both(
            write(f"train_images/{STUDY}/a", b""), write(f"train_images/{STUDY}/b", b"")
        ),
        [("entry not expected", STUDY, None, "", "2 entries that are no")],
    ),
    "a study without images": (
        remove(f"train_images/{STUDY}"),
        [
            ("study in some tables only", STUDY, None, "", "no folder in train_images"),
            *(("point on no series", STUDY, s, "", "points") for s in (T1, T2, AX)),
        ],
    ),
    "a test study without rows": (
        both(write_test, rows("sample_submission", lambda table: table.iloc[:0])),
        [
            (
                *("study in some tables only", TEST_STUDY, None, ""),
                "no row in sample_submission.csv",
            )
        ],
    ),
    "a series without a folder": (
        remove(folder(T2)),
        [
            ("series without a folder", STUDY, T2, "", "'Sagittal T2/STIR'"),
            ("point on no series", STUDY, T2, "", "5 points"),
            ("study lacks a series type", STUDY, None, "", "no Sagittal T2/STIR"),
        ],
    ),
    "an empty folder": (
        both(write_test, remove(EMPTIED), write(f"{EMPTIED}/._1", b"")),
        [
            ("series folder empty", TEST_STUDY, 213, "", "no file"),
            ("study lacks a series type", TEST_STUDY, None, "", "no Axial T2"),
        ],
    ),
    "a series in no row": (
        rows(SERIES, lambda table: table[table["series_id"] != str(AX)]),
        [("series in no row", STUDY, AX, "", "15 files looks like Axial T2")],
    ),
    "a damaged file": (
        write(f"{folder(T2)}/4.dcm", b"damaged"),
        [
            ("file not readable", STUDY, T2, "4.dcm", "is not a DICOM file"),
            *(("point on no slice", STUDY, T2, "4.dcm", "spinal") for _ in range(5)),
            ("slice step uneven", STUDY, T2, "", "1 of 6 slice steps differ from 4.0"),
            ("number of slices unusual", STUDY, T2, "", "7 slices"),
        ],
    ),
    "a file with a person's name": (
        write(f"{folder(T2)}/Jane Doe.dcm", b"damaged"),
        [("file not readable", STUDY, T2, "", "a file with an unusual name")],
    ),
    "a series of one file with a person's name": (
        both(remove(folder(T2)), write(f"{folder(T2)}/Jane Doe.dcm", b"damaged")),
        [
            ("file not readable", STUDY, T2, "", "no readable slice: a file is not"),
            ("point on no series", STUDY, T2, "", "5 points"),
            ("study lacks a series type", STUDY, None, "", "no Sagittal T2/STIR"),
        ],
    ),
    "files of the system": (write(f"{folder(T2)}/.DS_Store", b"x"), []),
    "a file cut in its pixels": (
        write(f"{folder(T2)}/8.dcm", lambda data: data[:-1100]),
        [("file cut short", STUDY, T2, "8.dcm", "smaller than its own pixels")],
    ),
    "a wrong description": (
        cells(SERIES, {"series_id": AX}, series_description="Sagittal T1"),
        [
            ("series unlike its description", STUDY, AX, "", "axial slices"),
            ("point on another series type", STUDY, AX, "", "left_subarticular"),
            ("point on another series type", STUDY, AX, "", "right_subarticular"),
        ],
    ),
    "a blank description": (
        cells(SERIES, {"series_id": T1}, series_description=""),
        [("description unknown", STUDY, T1, "", "read as Sagittal T1")],
    ),
    "all positions alike": (
        retag(T2, ImagePositionPatient=[0, 0, 0]),
        [("positions all alike", STUDY, T2, "", "all 8 slices")],
    ),
    "all positions of marked sides alike": (
        retag(T1, ImagePositionPatient=[0, 0, 0]),
        [("positions all alike", STUDY, T1, "", "all 8 slices")],
    ),
    "two echoes": (
        both(
            *(
                copy(f"{folder(T2)}/{n}.dcm", f"{folder(T2)}/{n + 20}.dcm")
                for n in (2, 3)
            ),
            retag(T2, 22, EchoTime="12", SOPInstanceUID="1.2.3"),
            retag(T2, 23, EchoTime="12", SOPInstanceUID="1.2.4"),
        ),
        [
            (
                *("several slices at one position", STUDY, T2, ""),
                "2 positions have 2 slices each, with echo times of 12, 102 ms",
            )
        ],
    ),
    "a slice out of step": (
        retag(T2, 8, ImagePositionPatient=shifted(0, 2)),
        [("slice step uneven", STUDY, T2, "", "1 of 7 slice steps differ from 4.0 mm")],
    ),
    "a gap": (
        both(*(retag(AX, n, ImagePositionPatient=shifted(2, -40)) for n in (14, 15))),
        [("gap between slices", STUDY, AX, "", "44 mm lie between 13.dcm and 14.dcm")],
    ),
    "wide pixels": (
        retag(T2, PixelSpacing=[1.3, 1.3]),
        [("pixel spacing unusual", STUDY, T2, "", "1.30 mm a pixel, beyond the 0.28")],
    ),
    "oblong pixels": (
        retag(T2, PixelSpacing=[0.7, 0.8]),
        [("pixel spacing unusual", STUDY, T2, "", "not square: 0.800 by 0.700")],
    ),
    "two spacings": (
        retag(T2, 8, PixelSpacing=[0.5, 0.5]),
        [("pixel spacing varies", STUDY, T2, "", "0.500 to 0.700")],
    ),
    "two image sizes": (
        retag(T2, 8, Rows=31, PixelData=bytes(31 * 32 * 2)),
        [("image sizes vary", STUDY, T2, "", "7 of 32 x 32, 1 of 31 x 32")],
    ),
    "stacks at angles": (
        both(
            *(
                retag(
                    *(AX, n),
                    ImageOrientationPatient=[1, 0, 0, 0, np.cos(0.2), np.sin(0.2)],
                )
                for n in range(11, 16)
            )
        ),
        [("stacks at several angles", STUDY, AX, "", "2 stacks of 5 to 10 slices, up")],
    ),
    "absent tags": (
        both(retag(T2, SliceThickness=None), retag(AX, 3, SpacingBetweenSlices=None)),
        [
            ("tag absent", STUDY, T2, "", "SliceThickness is absent in 8 of 8"),
            ("tag absent", STUDY, AX, "", "SpacingBetweenSlices is absent in 1 of 15"),
        ],
    ),
    "a file stored twice": (
        copy(f"{folder(T2)}/2.dcm", f"{folder(T2)}/9.dcm"),
        [
            ("file stored twice", STUDY, T2, "9.dcm", f"a copy of {STUDY}/{T2}/2.dcm"),
            ("several slices at one position", STUDY, T2, "", "1 position has 2"),
        ],
    ),
    "one UID for all files": (retag(T2, SOPInstanceUID="1.2.3"), []),
    "a series stored twice": (
        both(
            copy(folder(AX), folder(114)),
            rows(
                SERIES,
                lambda table: pd.concat(
                    [table, table.tail(1).assign(series_id="114")], ignore_index=True
                ),
            ),
        ),
        [
            ("file stored twice", STUDY, 114, "", "15 of its 15 files: each is a copy"),
            ("several series of one type", STUDY, None, "", "2 Axial T2 series"),
        ],
    ),
    "two axial series": (
        both(
            copy(folder(AX), folder(114)),
            retag(114, ImagePositionPatient=shifted(1, 60)),
            rows(
                SERIES,
                lambda table: pd.concat(
                    [table, table.tail(1).assign(series_id="114")], ignore_index=True
                ),
            ),
        ),
        [
            (
                *("several series of one type", STUDY, None, ""),
                "2 Axial T2 series: 113, 114",
            )
        ],
    ),
    "an empty label": (
        cells("train", {}, spinal_canal_stenosis_l1_l2=""),
        [
            ("labels empty", STUDY, None, "train.csv", "1 of 25 are empty"),
            ("point without a label", STUDY, None, "train.csv", "l1_l2 of spinal"),
        ],
    ),
    "a point off its image": (
        cells(POINTS, site(SPINAL, "L3/L4"), x="32.6"),
        [("point off its image", STUDY, T2, "4.dcm", "x = 33, y = 14 is off its")],
    ),
    "a point on no slice": (
        cells(POINTS, site(SPINAL, "L3/L4"), instance_number=77),
        [("point on no slice", STUDY, T2, "77.dcm", "spinal_canal_stenosis l3_l4")],
    ),
    "a point on no series": (
        cells(POINTS, site(SPINAL, "L3/L4"), series_id=77),
        [("point on no series", STUDY, 77, "", "1 point is")],
    ),
    "a canal point on T1": (
        cells(POINTS, site(SPINAL, "L5/S1"), series_id=T1),
        [
            (
                *("point on another series type", STUDY, T1, ""),
                "l5_s1 of spinal_canal_stenosis on Sagittal T1, not Sagittal T2/STIR",
            )
        ],
    ),
    "levels exchanged": (
        both(
            cells(POINTS, site(SPINAL, "L3/L4"), y="20"),
            cells(POINTS, site(SPINAL, "L4/L5"), y="14"),
        ),
        [("points contradict geometry", STUDY, T2, "4.dcm", "l4_l5 at x = 0.0")],
    ),
    "sides exchanged": (
        both(
            cells(POINTS, site(RECESS, "L1/L2"), x="6"),
            cells(POINTS, site(RECESS.replace("Left", "Right"), "L1/L2"), x="26"),
        ),
        [
            ("points contradict geometry", STUDY, AX, "1.dcm", "left_subarticular"),
            ("points contradict geometry", STUDY, AX, "1.dcm", "right_subarticular"),
        ],
    ),
    "a site marked twice": (
        rows(POINTS, lambda table: pd.concat([table, table.tail(1).assign(x="15")])),
        [
            (
                *("site marked twice", STUDY, None, f"{POINTS}.csv"),
                "l5_s1 has 2 points: (16, 24) on 112/4.dcm; (15, 24) on 112/4.dcm",
            )
        ],
    ),
    "a known bad series": (
        both(
            copy(folder(AX), folder(3892989905)),
            remove(folder(AX)),
            cells(POINTS, {"series_id": AX}, series_id=3892989905),
            cells(SERIES, {"series_id": AX}, series_id=3892989905),
        ),
        [("known issue", STUDY, 3892989905, "", "not a lumbar spine (kaggle.com/")],
    ),
    "known bad points": (
        both(
            copy(folder(T1), folder(8785691)),
            remove(folder(T1)),
            cells(POINTS, {"series_id": T1}, series_id=8785691),
            cells(SERIES, {"series_id": T1}, series_id=8785691),
        ),
        [
            (
                "known issue",
                STUDY,
                8785691,
                "",
                "left_neural_foraminal_narrowing: kn",
            ),
            (
                "known issue",
                STUDY,
                8785691,
                "",
                "right_neural_foraminal_narrowing: k",
            ),
        ],
    ),
}
PIXEL_DAMAGES: dict[str, tuple[Damage, list[tuple]]] = {
    "pixels of an unknown syntax": (
        write(
            f"{folder(T2)}/2.dcm",
            # The same length, so that the file stays a DICOM file: an unknown syntax.
            lambda data: data.replace(
                b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"
            ),
        ),
        [("pixels not readable", STUDY, T2, "2.dcm", "")],
    ),
    "a blank image": (
        retag(T2, 2, PixelData=b"\5\0" * 32 * 32),
        [("image blank", STUDY, T2, "2.dcm", "one grey value")],
    ),
    "the same pixels elsewhere": (
        retag(
            T2,
            3,
            PixelData=neighbour_pixels,
        ),
        [("picture stored twice", STUDY, T2, "3.dcm", f"of {STUDY}/{T2}/2.dcm")],
    ),
}


def found(root: Path, **options: Any) -> pd.DataFrame:
    return check_download(root, **options).findings


def require(findings: pd.DataFrame, expected: list[tuple]) -> None:
    """Hold findings against the expected ones: all of them, and no more."""
    rows = findings.astype(object).where(findings.notna(), None).to_dict("records")
    told = [
        (tuple(row[name] for name in ("what", "study_id", "series_id", "file")), row)
        for row in rows
    ]
    assert sorted(str(place) for place, _ in told) == sorted(
        str(each[:4]) for each in expected
    )
    for *place, words in expected:
        details = [row["detail"] for at, row in told if at == tuple(place)]
        assert any(words in detail for detail in details), details


def test_nothing_is_odd_in_a_sound_download(root: Path) -> None:
    result = check_download(write_test(root), pixels=True)
    require(result.findings, [])
    assert tuple(result.findings.columns) == CHECK_COLUMNS
    assert (result.studies, result.series, result.files) == (2, 6, 62)
    assert kinds_not_found(result.findings, pixels=True) == list(KINDS)


def test_half_a_download_is_no_fault(sound: Path, tmp_path: Path) -> None:
    require(found(sound), [])
    require(found(write_test(tmp_path)), [])


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_told_and_nothing_else(name: str, root: Path) -> None:
    damage, expected = DAMAGES[name]
    damage(root)
    require(found(root), expected)


@pytest.mark.parametrize("name", PIXEL_DAMAGES)
def test_a_damage_of_pixels_is_told_when_they_are_decoded(
    name: str, root: Path
) -> None:
    damage, expected = PIXEL_DAMAGES[name]
    damage(root)
    require(found(root, pixels=True), expected)
    require(found(root), [])


def test_every_kind_of_finding_has_a_damage() -> None:
    told = {row[0] for _, rows in {**DAMAGES, **PIXEL_DAMAGES}.values() for row in rows}
    assert told == set(KINDS)


def test_images_without_tables_are_checked(root: Path) -> None:
    for path in root.glob("*.csv"):
        path.unlink()
    findings = found(root)
    assert findings["what"].value_counts().to_dict() == {
        "table not readable": 3,
        "description unknown": 3,
    }


def test_tables_without_images_are_checked(root: Path) -> None:
    shutil.rmtree(root / "train_images")
    edit(root, "train", doubled)
    require(found(root), [("row repeated", STUDY, None, "train.csv", "2 times")])


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_a_download_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} (is no folder|holds neither)"):
        check_download(tmp_path / name)


def test_no_name_of_a_person_is_told(root: Path) -> None:
    retag(T2, PatientName="Jane^Doe", SeriesDescription="Jane Doe")(root)
    write(f"{folder(T2)}/Jane Doe.dcm", b"damaged")(root)
    write(f"train_images/{STUDY}/Jane Doe/1.dcm", b"")(root)
    write("train_images/Jane Doe/1.dcm", b"")(root)
    assert "Jane" not in found(root).to_csv()


def test_kinds_are_counted_with_an_example(root: Path) -> None:
    retag(T2, SliceThickness=None)(root)
    retag(AX, SliceThickness=None)(root)
    write(f"{folder(T1)}/1.dcm", b"damaged")(root)
    rows = summarise(found(root))
    assert [row["what"] for row in rows][-1] == "tag absent"
    assert rows[-1]["findings"] == 2
    assert rows[-1]["studies"] == 1
    text = f"{STUDY}/{T2}: SliceThickness is absent in 8 of 8 files"
    assert rows[-1]["example"] == text


def test_examples_name_the_table_first_and_are_cut(root: Path) -> None:
    cells("train", {}, **dict.fromkeys(TARGETS[:1], "x" * 90))(root)
    text = summarise(found(root))[0]["example"]
    assert str(text).startswith(f"train.csv, {STUDY}: {TARGETS[0]} on line 2 is 'x")
    assert len(str(text)) <= 120


def test_a_phantom_has_the_quirks_of_its_protocol_and_no_faults(phantom: Path) -> None:
    findings = found(phantom)
    quirks = {"image sizes vary", "stacks at several angles", "tag absent"}
    quirks |= {"several series of one type", "number of slices unusual"}
    quirks |= {"labels empty", "label without a point", "point without a label"}
    assert set(findings["what"]) <= quirks
    folders = [path for path in phantom.glob("*_images/*/*") if path.is_dir()]
    headers = {
        int(folder.name): [dcmread(path, stop_before_pixels=True) for path in files]
        for folder in folders
        if (files := list(folder.iterdir()))
    }
    for what, is_odd in (
        ("tag absent", lambda each: "SliceThickness" not in each[0]),
        ("image sizes vary", lambda each: len({(h.Rows, h.Columns) for h in each}) > 1),
        (
            "stacks at several angles",
            lambda each: len({tuple(h.ImageOrientationPatient) for h in each}) > 1,
        ),
    ):
        odd = {series for series, each in headers.items() if is_odd(each)}
        assert odd, what
        assert set(findings.loc[findings["what"] == what, "series_id"]) == odd


def test_the_planes_of_a_localizer_are_told(root: Path) -> None:
    for number in range(1, 9):
        retag(AX, number, ImageOrientationPatient=np.ravel(SAGITTAL).tolist())(root)
    kinds = set(found(root)["what"])
    assert {"stacks at several angles"} <= kinds

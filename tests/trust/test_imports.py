"""Damages to the files of a folder that is imported: each file's fate is told once.

One series of a small study is damaged, in the ways of the other proofs and at random.
Every file must stand in import.csv once, as a slice that is there or with its reason,
and the series that are whole must come out with their pixels and positions.
"""

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import damaged_dicom
import pandas as pd
import pytest
from damage import Damage
from in_process import Result, run
from mutated_files import case_random, mutated_bytes, mutated_dicom
from pydicom import dcmread
from scattered import TIMES
from small_cohort import TEST, series_id, write_cohort

from src.competition.constants import SAGITTAL_T1, SERIES_DESCRIPTIONS

pytestmark = pytest.mark.trust

STUDY = TEST[0]
DAMAGED = str(series_id(STUDY, SAGITTAL_T1))
RANDOM_CASES = 60
COPY = "is a copy of another file"
SENTENCE = re.compile(r"[a-z]+ \S.*")
EXCEPTION = re.compile(r"Traceback|\b[A-Z]\w*(?:Exception|Warning):")
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study as a scanner writes it: with UIDs and times."""
    root = tmp_path_factory.mktemp("sound")
    write_cohort(root / "data")
    folder = root / "data" / "test_images" / str(STUDY)
    for description in SERIES_DESCRIPTIONS:
        series = series_id(STUDY, description)
        for path in (folder / str(series)).iterdir():
            held = dcmread(path)
            held.StudyInstanceUID, held.SeriesInstanceUID = "1.2.3", f"1.2.3.{series}"
            held.EchoTime, held.RepetitionTime = map(str, TIMES[description])
            held.ScanningSequence, held.InstanceNumber = "SE", int(path.stem)
            held.save_as(path)
    return folder


def imported(source: Path, data: Path) -> Result:
    return run("input_prep.py", "--import", source, "--data", data, "--workers", 1)


def check(source: Path, data: Path, result: Result, record: Record) -> pd.DataFrame:
    """Check how an import ended, and each row of its import.csv."""
    assert not result.crash, result.crash
    assert result.code == 0, result.err
    assert not EXCEPTION.search(result.out + result.err), result.out + result.err
    table = pd.read_csv(data / "import.csv", keep_default_na=False, dtype=str)
    assert Counter(table["file"]) == Counter(entries(source))
    for row in table.to_dict("records"):
        ids = [row[name] for name in ("study_id", "series_id", "instance_number")]
        if row["reason"]:
            assert not any(ids), row
            assert SENTENCE.match(row["reason"]), row
            assert row["reason"].isprintable()
            continue
        study, series, number = ids
        new = data / "test_images" / study / series / f"{number}.dcm"
        assert row["series_description"] in SERIES_DESCRIPTIONS
        if not row["file"].startswith(DAMAGED):
            same_slice(new, source / row["file"])
    whole = table[~table["file"].str.startswith(DAMAGED)]
    assert set(whole["reason"]) <= {"", COPY}
    record("files", len(table))
    record("most files left out", int((table["reason"] != "").sum()))
    return table


def entries(source: Path) -> list[str]:
    """List what a folder holds, however deep, links to folders with the files."""
    found = []
    for here, folders, files in os.walk(source):
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        found += [Path(here, name).relative_to(source) for name in files + links]
    # A name that is no UTF-8 is written with escapes.
    return [str(path).encode("utf-8", "backslashreplace").decode() for path in found]


def same_slice(new: Path, old: Path) -> None:
    ours, theirs = dcmread(new), dcmread(old)
    assert ours.PixelData == theirs.PixelData
    assert ours.ImagePositionPatient == theirs.ImagePositionPatient
    assert ours.ImageOrientationPatient == theirs.ImageOrientationPatient


def test_a_whole_folder_is_imported_whole(
    sound: Path, tmp_path: Path, record_property: Record
) -> None:
    result = imported(sound, tmp_path / "data")
    table = check(sound, tmp_path / "data", result, record_property)
    assert (table["reason"] == "").all()
    assert table["series_id"].nunique() == len(SERIES_DESCRIPTIONS)


# The rights of an ordinary user are a matter of the other proof.
DAMAGES = [damage for damage in damaged_dicom.DAMAGES if not damage.ordinary]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_a_damaged_series_costs_no_other(
    damage: Damage, sound: Path, tmp_path: Path, record_property: Record
) -> None:
    source = shutil.copytree(sound, tmp_path / "source")
    damage.apply(source / DAMAGED)
    result = imported(source, tmp_path / "data")
    check(source, tmp_path / "data", result, record_property)


@pytest.mark.parametrize("case", range(RANDOM_CASES))
def test_files_that_are_damaged_at_random_cost_no_other(
    case: int, sound: Path, tmp_path: Path, record_property: Record
) -> None:
    source = shutil.copytree(sound, tmp_path / "source")
    draw = case_random("import", case)
    for path in sorted((source / DAMAGED).iterdir()):
        path.write_bytes(damaged(path.read_bytes(), draw))
    result = imported(source, tmp_path / "data")
    check(source, tmp_path / "data", result, record_property)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Cut a file, set a block of it to zero, flip a bit, or mutate it otherwise."""
    place = draw.randrange(len(data))
    ways: list[Callable[[], bytes]] = [
        lambda: data[:place],
        lambda: data[:place] + bytes(min(512, len(data) - place)) + data[place + 512 :],
        lambda: (
            data[:place]
            + bytes([data[place] ^ 1 << draw.randrange(8)])
            + data[place + 1 :]
        ),
        lambda: mutated_bytes(data, draw),
        lambda: mutated_dicom(data, draw),
    ]
    return draw.choice(ways)()

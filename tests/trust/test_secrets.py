"""No planted name in any output, no pickle, no foreign path, no script in a page."""

import pickle
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from child_preparations import fork_workers
from dicom_files import write_dataset
from fake_condition_runs import description, predicted, write_cache
from fake_condition_runs import write_run as write_condition_run
from planted_names import DATE, MARK, UMLAUT, damaged, leaks, text_tags, with_names
from pydicom import dcmread
from script_child import run_script, succeed
from small_cohort import TEST, TRAINING, planes, series_id
from small_commands import Workplace, make_workplace
from watched import forbid_network, forbid_pickles, note_paths, work_here

from src.cache.crop_cache import open_cache
from src.cache.mapped_array import MappedArray
from src.cache.shards import UNREADABLE, read_shard
from src.competition.constants import SERIES_DESCRIPTIONS
from src.competition.tables import (
    POINT_FILE,
    SERIES_FILE,
    TEST_SERIES_FILE,
    read_points,
    read_series,
    read_test_series,
)
from src.errors import UserError
from src.training.checkpoint import CheckpointError, load_checkpoint
from src.training.run_folder import read_runs

pytestmark = pytest.mark.trust

Record = Callable[[str, object], None]
# Header values that a reader's sentence could quote.
QUOTED = (
    *("RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagePositionPatient"),
    *("ImageOrientationPatient", "PhotometricInterpretation", "NumberOfFrames"),
    *("EchoTime", "ImageType", "ScanningSequence", "BodyPartExamined"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return make_workplace(tmp_path_factory.mktemp("secrets"))


def plant(data: Path) -> int:
    """Plant names in every slice, and damaged files beside them; count the files."""
    count = 0
    for split, studies in (("train", TRAINING), ("test", TEST)):
        for study in studies:
            for kind in SERIES_DESCRIPTIONS:
                number = str(series_id(study, kind))
                folder = data / f"{split}_images" / str(study) / number
                count += _plant_series(folder, kind)
    return count


def _plant_series(folder: Path, kind: str) -> int:
    geometry = planes(kind)
    pixels = [dcmread(path).pixel_array for path in _in_order(folder)]
    for number, (one, where) in enumerate(zip(pixels, geometry, strict=True), start=1):
        write_dataset(with_names(one, where), folder / f"{number}.dcm")
    number = len(pixels)
    for content in damaged(with_names(pixels[0], geometry[0])):
        number += 1
        (folder / f"{number}.dcm").write_bytes(content)
    for name in QUOTED:
        number += 1
        _write_quoted(folder / f"{number}.dcm", pixels[0], kind, name)
    (folder / f"{MARK}_ERIKA.dcm").write_bytes(b"no DICOM")
    (folder / f"{MARK}_ERIKA.txt").write_text(UMLAUT)
    return number + 2


def _write_quoted(path: Path, pixels: np.ndarray, kind: str, name: str) -> None:
    """Write a slice with a planted text where a number or a word is expected."""
    dataset = with_names(pixels, planes(kind)[0])
    if name in dataset:
        del dataset[name]
    dataset.add_new(name, "LO", f"{MARK}{name.upper()}"[:64])
    write_dataset(dataset, path)


def _in_order(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem))


def test_no_planted_name_reaches_an_output(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    here = Workplace(tmp_path / "work")
    shutil.copytree(place.data, here.data)
    files = plant(here.data)
    cache, runs, out = (here.folder / name for name in ("cache", "trained", "out"))
    logs = [here.folder / f"log{number}" for number in range(8)]
    checked = (*("input_prep.py", "--data", here.data), "--check", "--pixels")
    report = ("evaluate.py", "--cache", cache, "--runs", runs, "--out", out / "report")
    bundle = ("src/kaggle/bundle.py", "--runs", runs, "--owner", "owner")
    shutil.copytree(place.folder / "runs", here.folder / "runs")
    succeed(logs[0], *here.prep(cache), prepare=[fork_workers])
    check = (*checked, "--cache", here.folder / "checked")
    succeed(logs[1], *check, prepare=[fork_workers])
    for number, task in enumerate(("condition", "severity", "location"), start=2):
        succeed(logs[number], *here.train(runs, task=task))
    succeed(logs[5], *report)
    succeed(logs[6], *here.predict(out))
    succeed(logs[7], *bundle, "--out", here.folder / "staged")
    left = [
        path
        for path in here.folder.rglob("*")
        if path.is_file() and here.data not in path.parents
    ]
    assert any(path.name == "report.html" for path in left)
    assert any(path.name == "findings.csv" for path in left)
    found = {
        str(path.relative_to(here.folder)): sorted(set(said))
        for path in left
        if (said := leaks(path.read_bytes()) + leaks(str(path).encode()))
    }
    record_property("tags with a planted text", len(list(text_tags())))
    record_property("DICOM files with them", files)
    record_property("output files searched", len(left))
    record_property("output files that hold one", len(found))
    assert found == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "latin-1"])
def test_the_search_finds_what_is_there(tmp_path: Path, encoding: str) -> None:
    for text in (f"a {MARK}0010", f"born {DATE}", UMLAUT.lower()):
        content = text.encode(encoding)
        assert leaks(b"\0" + content)
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", content)
        assert leaks(archive.read_bytes())
    assert not leaks(b"nothing of the kind")


HOSTILE = ("../../x", "/etc/passwd", "..", "1/../../2", "-1", "1\\..\\2", "%2e%2e")
READERS: dict[str, Callable[[Path], object]] = {
    POINT_FILE: lambda root: read_points(root / POINT_FILE),
    SERIES_FILE: lambda root: read_series(root / SERIES_FILE),
    TEST_SERIES_FILE: read_test_series,
}


@pytest.mark.parametrize("name", READERS)
def test_an_id_that_is_a_path_is_refused(
    place: Workplace, tmp_path: Path, name: str, record_property: Record
) -> None:
    here, noted = Workplace(tmp_path / "work"), tmp_path / "paths"
    shutil.copytree(place.data, here.data)
    shutil.copytree(place.folder / "runs", here.folder / "runs")
    whole = (here.data / name).read_text().splitlines()
    for column in (0, 1):
        for hostile in HOSTILE:
            cells = whole[1].split(",")
            cells[column] = hostile
            (here.data / name).write_text("\n".join([*whole, ",".join(cells)]))
            with pytest.raises(UserError, match=name):
                READERS[name](here.data)
    out = here.folder / "out"
    command = here.predict(out) if "test" in name else here.prep(out)
    watch = [work_here, partial(note_paths, noted)]
    ended = run_script(here.log, *command, prepare=watch)
    if name == TEST_SERIES_FILE:  # its whole rows are used, as each study has to be
        assert ended.code == 0, ended.err
        assert "1 of its" in ended.out
        assert HOSTILE[-1] not in (out / "submission.csv").read_text()
    else:
        assert name in ended.sentence()
    assert foreign(noted, here.folder) == []
    record_property("ids that are paths refused", 2 * len(HOSTILE))


def foreign(noted: Path, own: Path) -> list[str]:
    """List the paths that a script touched that climb out of a folder of its own."""
    lines = noted.read_text().splitlines()
    assert any(str(own) in line for line in lines)  # or nothing was watched
    return [
        line
        for line in lines
        if "passwd" in line or (str(own) in line and "/.." in line)
    ]


def test_nothing_is_written_through_a_link(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    """Images may lie behind a link, as on another disk; they are read, no more."""
    here, outside = Workplace(tmp_path / "work"), tmp_path / "outside"
    shutil.copytree(place.data, here.data)
    shutil.copytree(place.folder / "runs", here.folder / "runs")
    shutil.move(here.data / "train_images", outside)
    (here.data / "train_images").symlink_to(outside)
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    succeed(here.log, *here.prep(here.folder / "cache"), prepare=[fork_workers])
    assert before == {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    assert (here.folder / "cache" / "crops.npy").is_file()
    record_property("files behind a link, none written to", len(before))


def test_no_load_path_loads_a_pickle_or_asks_the_network(
    place: Workplace, tmp_path: Path, record_property: Record
) -> None:
    noted = tmp_path / "noted"
    noted.touch()
    guard = [work_here, partial(forbid_pickles, noted), partial(forbid_network, noted)]
    cache, runs, out = (tmp_path / name for name in ("cache", "runs", "out"))
    shutil.copytree(place.folder / "cache", cache)
    report = ("evaluate.py", "--cache", cache, "--runs", runs, "--out", out / "report")
    commands = [
        place.prep(tmp_path / "new"),
        place.prep(cache),
        *(place.train(runs, task=task) for task in ("condition", "severity")),
        report,
        place.predict(out),
    ]
    for command in commands:
        succeed(tmp_path / "log", *command, prepare=guard)
    assert noted.read_text() == ""
    name = "scripts that load no pickle and ask no network"
    record_property(name, len(commands))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Say which file."""
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle as a call of what makes the file."""
        return Path.touch, (self.path,)


def _pickled(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps({"weight": payload}, protocol=2))  # as torch does


def _saved_by_torch(path: Path, payload: Payload) -> None:
    torch.save({"weight": payload}, path)


def _object_array(path: Path, payload: Payload) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([payload], dtype=object), allow_pickle=True)


def _object_archive(path: Path, payload: Payload) -> None:
    with path.open("wb") as file:
        np.savez(file, crops=np.array([payload], dtype=object))


WRITERS: list[Callable[[Path, Payload], None]] = [
    *(_pickled, _saved_by_torch, _object_array, _object_archive)
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_payload_runs_where_it_is_unpickled(
    tmp_path: Path, write: Callable[[Path, Payload], None]
) -> None:
    """Otherwise its not running elsewhere would show nothing."""
    ran, path = tmp_path / "ran", tmp_path / "file"
    write(path, Payload(ran))
    if write in (_object_array, _object_archive):
        held = np.load(path, allow_pickle=True)
        assert held is not None
        if write is _object_archive:
            assert held["crops"].shape == (1,)
    elif write is _saved_by_torch:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert ran.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_a_malicious_file_is_refused_and_does_not_run(
    place: Workplace,
    tmp_path: Path,
    write: Callable[[Path, Payload], None],
    record_property: Record,
) -> None:
    ran = tmp_path / "ran"
    payload = Payload(ran)
    here = Workplace(tmp_path / "work")
    for name in ("cache", "runs"):
        shutil.copytree(place.folder / name, here.folder / name)
    _put_in_place_of_weights(here.folder / "runs", write, payload)
    for run in read_runs(here.folder / "runs"):
        with pytest.raises(UserError):
            run.model()
    for name in ("crops.npy", "overviews.npy"):
        write(here.folder / "cache" / name, payload)
        with pytest.raises(UNREADABLE):
            MappedArray(here.folder / "cache" / name)
    with pytest.raises(UserError):
        open_cache(here.folder / "cache")
    write(tmp_path / "shard.safetensors", payload)
    with pytest.raises(UNREADABLE):
        read_shard(tmp_path / "shard.safetensors")
    _refuse_checkpoint(tmp_path / "state.safetensors", write, payload)
    _refuse_weights(place, tmp_path, write, payload)
    assert not ran.exists()
    record_property("malicious files refused, none ran", 9)


def _put_in_place_of_weights(
    runs: Path, write: Callable[[Path, Payload], None], payload: Payload
) -> None:
    weights = sorted(runs.glob("*/weights.safetensors"))
    assert weights
    for path in weights:
        write(path, payload)


def _refuse_checkpoint(
    path: Path, write: Callable[[Path, Payload], None], payload: Payload
) -> None:
    """A checkpoint that cannot be read is told, and the training starts over."""
    write(path, payload)
    try:
        assert load_checkpoint(path, {}) is None
    except CheckpointError:
        return


def _refuse_weights(
    place: Workplace,
    tmp_path: Path,
    write: Callable[[Path, Payload], None],
    payload: Payload,
) -> None:
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"weights.{suffix}"
        write(path, payload)
        command = place.train(tmp_path / "trained", "--weights", path)
        assert path.name in run_script(tmp_path / "log", *command).sentence()


HOSTILE_NAME = "<img src=x onerror=alert(1)>"


def test_names_of_a_run_are_escaped_in_the_report(
    tmp_path: Path, record_property: Record
) -> None:
    cache, runs, out = (tmp_path / name for name in ("cache", "runs", "out"))
    table = write_cache(cache, 12)
    tested = table[table["study_id"] > 10].reset_index(drop=True)
    write_condition_run(runs, description(weights=HOSTILE_NAME), predicted(tested))
    report = ("evaluate.py", "--cache", cache, "--runs", runs, "--out", out)
    succeed(tmp_path / "log", *report)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert HOSTILE_NAME not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    record_property("names escaped in report.html", 1)

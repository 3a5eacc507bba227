"""Fetching the competition with the real CLI from a loopback server."""

import io
import json
import os
import random
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kaggle_stub import RULES, Fault, KaggleStub, etag

from src.errors import UserError
from src.kaggle import download
from src.kaggle.cli import UnavailableError
from src.kaggle.names import COMPETITION
from src.kaggle.polling import Polling

FILES = {
    "train.csv": b"study_id\n1\n",
    "train_images/1/2/3.dcm": bytes(5000),
    "train_images/1/2/4.dcm": random.Random(0).randbytes(5000),
}


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleStub]:
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(download, "ARCHIVE_BYTES", 0)
    monkeypatch.setattr(download, "UNPACKED_BYTES", 0)
    with KaggleStub() as stub:
        for name, value in stub.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        stub.rules.archive = zipped(FILES)
        yield stub


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def held(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_competition_is_fetched_and_unpacked(
    stub: KaggleStub, tmp_path: Path
) -> None:
    download.fetch_competition(tmp_path / "data")
    assert held(tmp_path / "data") == FILES
    before = len(stub.log)
    download.fetch_competition(tmp_path / "data")
    assert len(stub.log) == before


def test_an_interrupted_download_resumes(stub: KaggleStub, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    archive, whole = data / f"{COMPETITION}.zip", stub.rules.archive
    archive.write_bytes(whole[:4000])
    # As the CLI leaves it when it is killed.
    marker = {"validator": etag(whole), "size": len(whole)}
    Path(f"{archive}.kaggle-partial").write_text(json.dumps(marker))
    download.fetch_competition(data)
    assert [e["range"] for e in stub.calls("GET") if e["range"]] == ["bytes=4000-"]
    assert held(data) == FILES


def test_missing_credentials_are_explained(
    stub: KaggleStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(UserError, match=r"make a token at https://www\.kaggle"):
        download.fetch_competition(tmp_path / "data")
    assert stub.log == []


@pytest.mark.parametrize(
    ("message", "sentence"), [(RULES, "/rules"), ("Unauthenticated", "make a token")]
)
def test_a_refusal_is_explained(
    stub: KaggleStub, tmp_path: Path, message: str, sentence: str
) -> None:
    body = {"code": 403, "message": message}
    stub.faults.append(Fault("DownloadDataFiles", 403, body))
    with pytest.raises(UserError, match=sentence):
        download.fetch_competition(tmp_path / "data")


def test_the_script_downloads_and_stops_at_what_is_wrong(
    stub: KaggleStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import input_prep

    data = tmp_path / "data"
    flags = ["--download", "--data", str(data), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["input_prep.py", *flags, "--workers", "1"])
    with pytest.raises(UserError, match=r"train\.csv has no column"):
        input_prep.main()
    assert held(data) == FILES


def test_a_disk_that_is_too_small_is_refused_before_anything_is_fetched(
    stub: KaggleStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "UNPACKED_BYTES", 10**18)
    with pytest.raises(UserError, match=r"GB free and 1000000000\.0 GB are needed"):
        download.fetch_competition(tmp_path / "data")
    assert stub.log == []


def unpack(archive: bytes, data: Path) -> list[int]:
    data.mkdir(exist_ok=True)
    path = data.with_suffix(".zip")
    path.write_bytes(archive)
    ticks: list[int] = []
    download.unpack(path, data, lambda done, _: ticks.append(done))
    return ticks


def test_unpacking_resumes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    there = data / "train_images" / "1" / "2"
    there.mkdir(parents=True)
    (there / "3.dcm").write_bytes(FILES["train_images/1/2/3.dcm"])
    (there / "4.dcm").write_bytes(b"half of i")
    kept = (there / "3.dcm").stat().st_mtime_ns
    assert unpack(zipped(FILES), data) == [1, 2]
    assert held(data) == FILES
    assert (there / "3.dcm").stat().st_mtime_ns == kept


def test_a_damaged_file_is_refused_and_the_folder_stays_incomplete(
    tmp_path: Path,
) -> None:
    archive = bytearray(zipped(FILES))
    place = archive.index(FILES["train_images/1/2/4.dcm"][:64])
    archive[place + 100] ^= 255
    with pytest.raises(UserError, match=r"4\.dcm is damaged"):
        unpack(bytes(archive), tmp_path / "data")
    assert set(held(tmp_path / "data")) == {"train_images/1/2/3.dcm"}


@pytest.mark.parametrize(
    "name",
    ["../evil.csv", "/evil.csv", "a/../../evil.csv", "..\\evil.csv", "C:x"],
)
def test_an_archive_with_outside_paths_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="outside of its own folder"):
        unpack(zipped({**FILES, name: b"x"}), tmp_path / "data")
    assert held(tmp_path) == {"data.zip": zipped({**FILES, name: b"x"})}


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    buffer, link = io.BytesIO(), zipfile.ZipInfo("train_images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", b"x")
        archive.writestr(link, "/etc")
    with pytest.raises(UserError, match="has train_images, a link or a path"):
        unpack(buffer.getvalue(), tmp_path / "data")
    assert held(tmp_path / "data") == {}


def spoil(position: int, value: bytes) -> Callable[[bytes, int], bytes]:
    """Return what overwrites bytes at a position of the table of contents."""
    return lambda data, start: (
        data[: start + position] + value + data[start + position + len(value) :]
    )


@pytest.mark.parametrize(
    "damage",
    [
        *(spoil(0, b"XXXX"), spoil(0, bytes(60)), spoil(28, b"\xff\xff")),
        *(spoil(10, b"\x63"), spoil(8, b"\x01")),  # unknown compression, encrypted
        spoil(42, b"\xff\xff\xff\x7f"),  # the file's position
        lambda data, start: data[:start] + data[start + 30 :],
        lambda data, start: data[: start - 3000] + data[start:],
    ],
)
def test_a_damaged_table_of_contents_is_one_sentence(
    tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    whole = zipped(dict(reversed(FILES.items())))
    archive = damage(whole, whole.index(b"PK\x01\x02"))
    with pytest.raises(UserError, match=r"damaged.*delete the archive and run this"):
        unpack(archive, tmp_path / "data")
    # No half of a file is left, and the rest is taken up.
    assert held(tmp_path / "data").items() <= FILES.items()
    assert "train.csv" not in held(tmp_path / "data")
    unpack(whole, tmp_path / "data")
    assert held(tmp_path / "data") == FILES


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train_images").touch()
    with pytest.raises(UserError, match=r"cannot be unpacked .*run this again"):
        unpack(zipped(FILES), tmp_path / "data")


@pytest.mark.parametrize(
    "there",
    [
        {"train.csv": FILES["train.csv"]},
        {"train.csv": FILES["train.csv"], "train_images/7/1/1.dcm": b"another"},
        {"train.csv": b"\xff\xfe\x00"},
        {"train.csv": b""},
    ],
)
def test_labels_without_their_images_are_no_competition(
    stub: KaggleStub, tmp_path: Path, there: dict[str, bytes]
) -> None:
    data = tmp_path / "data"
    for name, content in there.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    download.fetch_competition(data)
    assert held(data) == {**there, **FILES}
    before = len(stub.log)
    download.fetch_competition(data)
    assert len(stub.log) == before


def test_an_archive_beside_its_files_is_unpacked_to_the_end(
    stub: KaggleStub, tmp_path: Path
) -> None:
    """Killed between the last file and the archive's removal."""
    data = tmp_path / "data"
    unpack(stub.rules.archive, data)
    more = {**FILES, "test_images/9/9/1.dcm": b"pixels"}
    (data / f"{COMPETITION}.zip").write_bytes(zipped(more))
    download.fetch_competition(data)
    assert held(data) == more
    assert stub.log == []


def test_a_download_goes_on_for_as_long_as_bytes_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, whole = tmp_path / f"{COMPETITION}.zip", zipped(FILES)
    arrives = iter([1000, 2000, 2000, 3000, len(whole)])

    def fetch(command: list[str], live: bool) -> None:
        archive.write_bytes(whole[: next(arrives)])
        if archive.stat().st_size < len(whole):
            raise UnavailableError("The line is down", "wait")

    monkeypatch.setattr(download, "PATIENCE", Polling(every_s=0, limit_s=0))
    monkeypatch.setattr(download, "run_checked", fetch)
    free(monkeypatch, 10**12)
    with pytest.raises(UnavailableError):  # no byte came from 2000 to 2000
        download.fetch_competition(tmp_path)
    download.fetch_competition(tmp_path)
    assert held(tmp_path) == FILES


def test_a_full_disk_is_found_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=9000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="make room"):
        unpack(zipped(FILES), tmp_path / "data")
    assert held(tmp_path / "data") == {}


def free(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Let every disk have so many bytes left."""
    usage = shutil.disk_usage("/")._replace(free=room)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_the_whole_competition_is_known_to_need_its_70_gb() -> None:
    assert 60e9 <= download.ARCHIVE_BYTES + download.UNPACKED_BYTES <= 80e9


@pytest.mark.parametrize(("room", "enough"), [(2600, True), (2599, False)])
def test_a_download_needs_room_for_the_rest_of_the_archive_and_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, enough: bool
) -> None:
    archive = tmp_path / f"{COMPETITION}.zip"
    archive.write_bytes(bytes(400))
    asked = []

    def fetch(command: list[str], live: bool) -> None:
        asked.append(command)
        archive.write_bytes(zipped({"train.csv": b"study_id"}))

    monkeypatch.setattr(download, "ARCHIVE_BYTES", 1000)
    monkeypatch.setattr(download, "UNPACKED_BYTES", 2000)
    monkeypatch.setattr(download, "run_checked", fetch)
    free(monkeypatch, room)
    if enough:
        download.fetch_competition(tmp_path)
        assert held(tmp_path) == {"train.csv": b"study_id"}
    else:
        with pytest.raises(UserError, match="make room"):
            download.fetch_competition(tmp_path)
    assert len(asked) == enough


@pytest.mark.parametrize(("room", "enough"), [(5011, True), (5010, False)])
def test_unpacking_needs_room_for_missing_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, enough: bool
) -> None:
    there = tmp_path / "data" / "train_images" / "1" / "2" / "4.dcm"
    there.parent.mkdir(parents=True)
    there.write_bytes(FILES["train_images/1/2/4.dcm"])
    free(monkeypatch, room)
    if enough:
        assert unpack(zipped(FILES), tmp_path / "data") == [1, 2]
    else:
        with pytest.raises(UserError, match="make room"):
            unpack(zipped(FILES), tmp_path / "data")


def test_the_bar_counts_missing_files(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    archive.write_bytes(zipped(FILES))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_bytes(FILES["train.csv"])
    ticks: list[tuple[int, int]] = []
    download.unpack(archive, tmp_path / "data", lambda *tick: ticks.append(tick))
    assert ticks == [(1, 2), (2, 2)]


@pytest.mark.parametrize("whole", [True, False])
def test_an_incomplete_archive_is_fetched_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    archive, asked = tmp_path / f"{COMPETITION}.zip", []
    archive.write_bytes(zipped(FILES) if whole else zipped(FILES)[:4000])
    monkeypatch.setattr(download, "run_checked", lambda *_, **__: asked.append("again"))
    free(monkeypatch, 10**12)
    if whole:
        download.fetch_competition(tmp_path)
        assert held(tmp_path) == FILES
    else:
        with pytest.raises(UserError, match="incomplete after the download"):
            download.fetch_competition(tmp_path)
        assert archive.stat().st_size == 4000
    assert len(asked) == (not whole)

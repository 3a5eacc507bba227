"""Writing files whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from src.files import replacing, write_csv, write_json, write_text


class InterruptedWriteError(Exception):
    """Stands for whatever stops a writer half way."""


def interrupt_writing(path: Path) -> None:
    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of")
            raise InterruptedWriteError

    with pytest.raises(InterruptedWriteError):
        write_half()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.txt"
    path.write_text("old")
    interrupt_writing(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_first_write_leaves_nothing(tmp_path: Path) -> None:
    interrupt_writing(tmp_path / "scores.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_shares_the_folder_and_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "crops.npy") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npy"
        temporary.touch()


def test_two_processes_do_not_share_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for process in (11, 12):
        monkeypatch.setattr("os.getpid", lambda number=process: number)
        with replacing(tmp_path / "scores.txt") as temporary:
            temporary.touch()
            names.add(temporary)
    assert len(names) == 2


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_text("µ", tmp_path / "a" / "b.txt")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "µ".encode()


def test_json_that_is_not_a_number_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json({"score": 0.79}, path)
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"score": float("nan")}, path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_csv_is_written_without_its_index(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"a": [1], "b": [2]}, index=[9]), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().split() == ["a,b", "1,2"]

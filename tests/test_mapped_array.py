"""A mapped array: rows of a file, pickled as the file's path."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from src.cache.mapped_array import MappedArray


def written(path: Path, rows: int) -> np.ndarray:
    """Write `rows` rows of 4 x 5 values, each value its own index, and return them."""
    values = np.arange(20 * rows, dtype=np.uint16).reshape(rows, 4, 5)
    np.save(path, values)
    return values


def test_it_reads_as_the_array_that_was_saved(tmp_path: Path) -> None:
    values = written(tmp_path / "a.npy", 6)
    mapped = MappedArray(tmp_path / "a.npy")
    assert (mapped.shape, mapped.dtype, len(mapped)) == ((6, 4, 5), np.uint16, 6)
    np.testing.assert_array_equal(np.asarray(mapped), values)
    np.testing.assert_array_equal(mapped[[4, 1]], values[[4, 1]])
    np.testing.assert_array_equal(mapped[2, 1:3], values[2, 1:3])


@pytest.mark.parametrize("rows", [2, 2000])
def test_a_pickle_is_small_for_an_array_of_any_size(tmp_path: Path, rows: int) -> None:
    values = written(tmp_path / "a.npy", rows)
    data = pickle.dumps(MappedArray(tmp_path / "a.npy"))
    assert len(data) < 500 + len(str(tmp_path))
    np.testing.assert_array_equal(np.asarray(pickle.loads(data)), values)


def test_a_window_of_a_window_counts_from_its_own_start(tmp_path: Path) -> None:
    values = written(tmp_path / "a.npy", 9)
    inner = MappedArray(tmp_path / "a.npy").window(2, 8).window(1, 4)
    for rows in (inner, pickle.loads(pickle.dumps(inner))):
        np.testing.assert_array_equal(np.asarray(rows), values[3:6])


def test_a_window_ends_where_its_array_ends(tmp_path: Path) -> None:
    values = written(tmp_path / "a.npy", 9)
    inner = MappedArray(tmp_path / "a.npy").window(2, 5).window(1, 99)
    np.testing.assert_array_equal(np.asarray(inner), values[3:5])


def test_it_cannot_be_written_to(tmp_path: Path) -> None:
    values = written(tmp_path / "a.npy", 3)
    rows = MappedArray(tmp_path / "a.npy")[:]
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), values)


def test_an_archive_of_arrays_is_refused_under_an_arrays_name(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, rows=np.zeros(3))
    with pytest.raises(ValueError, match="magic"):
        MappedArray(tmp_path / "a.npy")

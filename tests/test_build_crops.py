"""Building a crop cache: killed, resumed, on a full disk, by many workers."""

import errno
import multiprocessing
import shutil
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cache_cohort import LABELS, POINTS, SERIES, build, contents, write_images

from src.cache import shards
from src.cache.crop_cache import open_cache
from src.cache.overview_cache import build_overviews, claim_overviews
from src.cache.shards import read_shard
from src.competition.constants import AXIAL_T2
from src.errors import UserError
from src.imaging.crops import CropSpec
from src.imaging.series import read_series


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def kill_after(series: int) -> Callable[[int, int], None]:
    """A progress callback that ends the run as Ctrl-C does."""

    def progress(done: int, _total: int) -> None:
        if done == series:
            raise KeyboardInterrupt

    return progress


def kill(images: Path, cache: Path, after: int, **changes: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(images, cache, progress=kill_after(after), **changes)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The series folders that are read from now on."""
    folders = []

    def read(folder: Path) -> Any:
        folders.append(folder)
        return read_series(folder)

    monkeypatch.setattr(shards, "read_series", read)
    return folders


def test_finished_cache_is_not_cut_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(images, tmp_path / "cache")
    before, folders = contents(tmp_path / "cache"), counted(monkeypatch)
    summary = build(images, tmp_path / "cache")
    assert (summary.reused, summary.crops, folders) == (True, 6, [])
    assert contents(tmp_path / "cache") == before


def test_overviews_come_from_the_same_reading_of_the_files(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = pd.concat([SERIES, pd.DataFrame([(2, 23, AXIAL_T2)], columns=list(SERIES))])
    shutil.copytree(images / "2/22", images / "2/23")  # which no point is marked on
    build_overviews(more, images, tmp_path / "apart")
    build(images, tmp_path / "apart", series=more)
    folders = counted(monkeypatch)
    beside = claim_overviews(more, images, tmp_path / "cache")
    build(images, tmp_path / "cache", series=more, beside=beside)
    build_overviews(more, images, tmp_path / "cache")
    assert sorted(int(folder.name) for folder in folders) == [11, 12, 21, 22, 23]
    assert contents(tmp_path / "cache") == contents(tmp_path / "apart")
    assert claim_overviews(more, images, tmp_path / "cache") == []


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"spec": CropSpec(32, None)},
            r"holds crops of 3 slices of 16 px over 12 mm, not the requested crops of "
            r"3 slices of 32 px over native pixels; delete it or .* --cache",
        ),
        ({"points": POINTS[1:]}, "crops of points table .*, not the requested"),
        ({"labels": LABELS[1:]}, "crops of labels table .*, not the requested"),
        ({"series": SERIES[1:]}, "crops of series table .*, not the requested"),
        ({"spec": CropSpec(16, 12, 5)}, "3 slices of .*, not .* 5 slices of"),
    ],
)
def test_other_crops_never_land_in_a_cache(
    images: Path, tmp_path: Path, finished: bool, changes: dict, message: str
) -> None:
    if finished:
        build(images, tmp_path / "cache")
    else:
        kill(images, tmp_path / "cache", 1)
    with pytest.raises(UserError, match=message):
        build(images, tmp_path / "cache", **changes)


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_killed_run_resumes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    build(images, tmp_path / "whole")
    kill(images, tmp_path / "cache", after)
    with pytest.raises(UserError, match="unfinished"):
        open_cache(tmp_path / "cache")
    folders = counted(monkeypatch)
    build(images, tmp_path / "cache")
    assert len(folders) == 4 - after
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_half_written_files_of_a_killed_run_are_removed(
    images: Path, tmp_path: Path
) -> None:
    kill(images, tmp_path / "cache", 4)
    (tmp_path / "cache/.crops.npy.123.tmp.npy").write_bytes(b"half")
    build(images, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tmp*"))
    assert not (tmp_path / "cache/parts").exists()


def test_killed_run_leaves_no_work_in_its_executor(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, folders = threading.Event(), []

    def read(folder: Path) -> Any:
        if folders:
            over.wait()
        folders.append(folder)
        return read_series(folder)

    monkeypatch.setattr(shards, "read_series", read)
    with ThreadPoolExecutor(1) as executor:
        kill(images, tmp_path / "cache", 1, executor=executor)
        over.set()
    assert len(folders) <= 2


def test_shards_with_a_damaged_key_are_to_be_deleted(
    images: Path, tmp_path: Path
) -> None:
    kill(images, tmp_path / "cache", 2)
    (tmp_path / "cache/parts/cache.json").write_text("{}")
    with pytest.raises(UserError, match=r"damaged: .* delete .*cache/parts and run"):
        build(images, tmp_path / "cache")


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_damaged_shard_is_cut_again(
    images: Path, tmp_path: Path, damage: bytes | None
) -> None:
    build(images, tmp_path / "whole")
    kill(images, tmp_path / "cache", 3)
    for shard in (tmp_path / "cache/parts").glob("*.safetensors"):
        half = shard.read_bytes()[: shard.stat().st_size // 2]
        shard.write_bytes(half if damage is None else damage)
    build(images, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_a_shard_with_a_flipped_bit_is_cut_again(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "whole")
    kill(images, tmp_path / "cache", 3)
    for shard in (tmp_path / "cache/parts").glob("*.safetensors"):
        crops = read_shard(shard, ["crops"])["crops"].tobytes()
        flipped = bytes([crops[0] ^ 1]) + crops[1:]
        shard.write_bytes(shard.read_bytes().replace(crops, flipped))
        with pytest.raises(ValueError, match="crops is not what was written"):
            read_shard(shard)
    build(images, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_files_fixed_since_a_killed_run_are_cut(images: Path, tmp_path: Path) -> None:
    lost = (images / "1/11").rename(tmp_path / "lost")
    kill(images, tmp_path / "cache", 3)
    lost.rename(images / "1/11")
    assert build(images, tmp_path / "cache").rejects == 0


@pytest.mark.parametrize(
    "writer", ["pathlib.Path.write_bytes", "numpy.lib.format.write_array_header_1_0"]
)
def test_full_disk_is_reported_and_leaves_nothing_half_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def fill(file: Any, *_args: Any) -> None:
        with (
            file.open("wb")
            if isinstance(file, Path)
            else nullcontext(file) as open_file
        ):
            open_file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    build(images, tmp_path / "whole")
    with monkeypatch.context() as full:
        full.setattr(writer, fill)
        with pytest.raises(
            UserError, match=r"disk of .*cache is full; free some space"
        ):
            build(images, tmp_path / "cache")
    assert not (tmp_path / "cache/crops.npy").exists()
    assert not list((tmp_path / "cache").rglob("*.tmp*"))
    build(images, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_a_rival_that_removes_the_shards_is_named(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"

    def end_first(*_arguments: Any) -> None:
        shutil.rmtree(cache / "parts")

    monkeypatch.setattr("src.cache.shards.run_all", end_first)
    with pytest.raises(UserError, match="being written by another"):
        build(images, cache)


def spawned() -> Executor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context)


@pytest.mark.parametrize("start", [spawned, lambda: ThreadPoolExecutor(4)])
def test_executor_makes_the_same_cache(
    images: Path, tmp_path: Path, start: Callable[[], Executor]
) -> None:
    build(images, tmp_path / "whole")
    reported = []
    with start() as executor:
        progress = lambda *counts: reported.append(counts)  # noqa: E731
        build(images, tmp_path / "cache", executor=executor, progress=progress)
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_a_dead_worker_is_reported(images: Path, tmp_path: Path) -> None:
    class Dying(Executor):
        def submit(self, *_task: Any) -> Future:
            future: Future = Future()
            future.set_exception(BrokenExecutor())
            return future

    with pytest.raises(UserError, match="fewer --workers"):
        build(images, tmp_path / "cache", executor=Dying())


def peak_bytes(images: Path, cache: Path, count: int) -> int:
    points = pd.concat([POINTS[3:4].assign(series_id=100 + i) for i in range(count)])
    spec = CropSpec(256, 12)
    tracemalloc.start()
    build(images, cache, points=points, spec=spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_cohort(images: Path, tmp_path: Path) -> None:
    for i in range(100, 124):
        (images / f"1/{i}").symlink_to(images / "1/11")
    few, many = (peak_bytes(images, tmp_path / str(n), n) for n in (3, 24))
    assert many - few < 4 * 3 * 256 * 256

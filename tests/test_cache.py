"""The crop cache: what it holds, what it refuses, and how it survives being killed."""

import errno
import json
import multiprocessing
import tracemalloc
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import AXIAL, SAGITTAL, plane, write_series, write_slice

from src.competition.vocab import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.errors import InputError
from src.imaging import shards
from src.imaging.cache import CROP_COLUMNS, open_cache
from src.imaging.cache_build import CacheSummary, build_cache
from src.imaging.cache_key import cache_key
from src.imaging.crop_spec import CropSpec
from src.imaging.crops import cut
from src.imaging.series import read_series

SPEC = CropSpec(crop_px=16, field_mm=12)
SPINAL, FORAMINAL = "spinal_canal_stenosis", "left_neural_foraminal_narrowing"
SUBARTICULAR = "right_subarticular_stenosis"
SITE = ["study_id", "condition", "level"]
POINTS = pd.DataFrame(
    [
        (2, 21, 5, SPINAL, "l2_l3", 11.25, 14.0),
        (2, 21, 5, SPINAL, "l1_l2", 12.5, 3.75),
        (2, 22, 8, SUBARTICULAR, "l4_l5", 15.0, 15.5),
        (1, 11, 3, SPINAL, "l4_l5", 20.0, 19.0),
        (1, 12, 1, FORAMINAL, "l1_l2", 9.0, 10.0),
        (1, 12, 7, SPINAL, "l5_s1", 17.0, 16.0),
    ],
    columns=["study_id", "series_id", "instance_number", *SITE[1:], "x", "y"],
)
SERIES = pd.DataFrame(
    [
        (1, 11, SAGITTAL_T2),
        (1, 12, SAGITTAL_T1),
        (2, 21, SAGITTAL_T2),
        (2, 22, AXIAL_T2),
    ],
    columns=["study_id", "series_id", "series_description"],
)
LABELS = POINTS[SITE].assign(
    severity=["severe", "moderate", "normal_mild", None, "moderate", "severe"]
)
# Files of three slices, in the order that they have in the patient.
NUMBERS = {11: (9, 3, 5), 12: (1, 7, 4), 21: (5, 6, 2), 22: (1, 8, 3)}
AXES = {11: SAGITTAL, 12: SAGITTAL, 21: SAGITTAL, 22: AXIAL}


def write_images(images: Path) -> Path:
    """The cohort's four series, 32 x 32 px of 0.75 mm, slices 4 mm apart."""
    for study_id, series_id, _ in SERIES.itertuples(index=False):
        volume = np.random.default_rng(series_id).integers(0, 900, (3, 32, 32), "u2")
        across = np.abs(np.cross(*np.array(AXES[series_id], float))) * (4, 4, -4)
        planes = [plane(i * across, AXES[series_id], (0.75, 0.75)) for i in range(3)]
        folder = images / str(study_id) / str(series_id)
        write_series(folder, volume, planes, NUMBERS[series_id])
    return images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def build(images: Path, cache: Path, **changes: Any) -> CacheSummary:
    given = {"points": POINTS, "labels": LABELS, "series": SERIES, "spec": SPEC}
    return build_cache(images=images, cache=cache, **{**given, **changes})


def contents(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.iterdir()}


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


def test_every_row_is_the_crop_of_its_point(images: Path, tmp_path: Path) -> None:
    summary = build(images, tmp_path / "cache")
    assert (summary.crops, summary.rejects, summary.reused) == (6, 0, False)
    cache = open_cache(tmp_path / "cache")
    assert cache.crops.shape == (6, 3, 16, 16)
    assert cache.spec == SPEC
    for row in cache.table.itertuples():
        series = read_series(images / str(row.study_id) / str(row.series_id))
        index = NUMBERS[row.series_id].index(row.instance_number)
        expected = cut(series, index, row.x, row.y, SPEC).pixels
        np.testing.assert_array_equal(cache.crops[row.crop], expected)


def test_table_tells_all_that_is_known_of_a_crop(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "cache")
    table = open_cache(tmp_path / "cache").table
    assert tuple(table.columns) == CROP_COLUMNS
    assert table["crop"].tolist() == list(range(6))
    assert table[SITE].equals(POINTS[SITE].sort_values(SITE, ignore_index=True))
    found = table.set_index(["study_id", "level"])
    assert found.loc[(2, "l2_l3"), "severity"] == "severe"
    assert found["severity"].isna().sum() == 1
    assert found.loc[(2, "l4_l5"), "series_description"] == AXIAL_T2
    assert found.loc[(2, "l4_l5"), ["slice", "x_mm", "y_mm", "z_mm"]].tolist() == [
        *(1, 15.0 * 0.75, 15.5 * 0.75, -4.0)
    ]
    assert found.loc[(1, "l4_l5"), ["slice", "x_mm", "y_mm", "z_mm"]].tolist() == [
        *(1, 4.0, 20 * 0.75, -19 * 0.75)
    ]


def test_point_on_another_series_is_kept_with_a_note(
    images: Path, tmp_path: Path
) -> None:
    build(images, tmp_path / "cache")
    table = open_cache(tmp_path / "cache").table.set_index("level")
    assert table.loc["l5_s1", "note"] == "on Sagittal T1, not Sagittal T2/STIR"
    assert (table.drop("l5_s1")["note"] == "").all()


def test_labels_and_series_come_along(images: Path, tmp_path: Path) -> None:
    series = SERIES.assign(series_description=[None, *SERIES["series_description"][1:]])
    build(images, tmp_path / "cache", series=series)
    cache = open_cache(tmp_path / "cache")
    for found, given in [(cache.labels, LABELS), (cache.series, series)]:
        assert found.isna().equals(given.isna())
        assert (
            found.fillna("").to_numpy().tolist() == given.fillna("").to_numpy().tolist()
        )


def test_order_of_rows_makes_no_other_cache(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "one")
    shuffled = {"points": POINTS[::-1], "labels": LABELS.sample(frac=1, random_state=0)}
    build(images, tmp_path / "two", **shuffled)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.pop("labels.csv") != two.pop("labels.csv")
    assert one == two


def test_every_point_without_a_crop_is_listed_with_its_reason(
    images: Path, tmp_path: Path
) -> None:
    (images / "1/12/7.dcm").unlink()
    pixels, above = np.ones((32, 32), "u2"), plane((0, 0, -4), AXIAL)
    write_slice(images / "2/22/8.dcm", pixels, above, PixelData=b"")
    for path in (images / "1/11").iterdir():
        path.unlink()
    points = POINTS.assign(x=POINTS["x"].replace(12.5, 32.0))
    summary = build(images, tmp_path / "cache", points=points)
    assert (summary.crops, summary.rejects) == (2, 4)
    rejects = pd.read_csv(tmp_path / "cache/rejects.csv")
    assert rejects["series_id"].tolist() == [11, 12, 22, 21]
    for reason, said in zip(
        rejects["reason"],
        [
            "11 is empty",
            "7.dcm is not there",
            "8.dcm is cut short",
            "(32, 3.75) is out",
        ],
        strict=True,
    ):
        assert said in reason
    table = open_cache(tmp_path / "cache").table
    assert table["level"].tolist() == ["l1_l2", "l2_l3"]


def test_cohort_without_a_crop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"None of 6 points gave a crop.*1/12 cannot"):
        build(tmp_path / "nowhere", tmp_path / "cache")
    assert len(pd.read_csv(tmp_path / "cache/rejects.csv")) == 6
    write_images(tmp_path / "nowhere")
    assert build(tmp_path / "nowhere", tmp_path / "cache").crops == 6


def test_finished_cache_is_not_cut_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(images, tmp_path / "cache")
    before, folders = contents(tmp_path / "cache"), counted(monkeypatch)
    summary = build(images, tmp_path / "cache")
    assert (summary.reused, summary.crops, folders) == (True, 6, [])
    assert contents(tmp_path / "cache") == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"spec": CropSpec(32, None)},
            r"holds crops of 3 slices of 16 px over 12 mm, and asked for are crops of "
            r"3 slices of 32 px over native pixels; delete it or .* --cache",
        ),
        ({"points": POINTS[1:]}, "crops of points table .*, and asked for"),
        ({"labels": LABELS[1:]}, "crops of labels table .*, and asked for"),
    ],
)
def test_other_crops_never_land_in_a_cache(
    images: Path, tmp_path: Path, finished: bool, changes: dict, said: str
) -> None:
    if finished:
        build(images, tmp_path / "cache")
    else:
        kill(images, tmp_path / "cache", 1)
    with pytest.raises(InputError, match=said):
        build(images, tmp_path / "cache", **changes)


def test_key_changes_with_every_value_of_the_tables() -> None:
    tables = {"points": POINTS, "labels": LABELS, "series": SERIES}
    key = cache_key(**tables, spec=SPEC)
    moved = POINTS.assign(x=POINTS["x"].replace(9.0, 9.0000001))
    assert cache_key(**{**tables, "points": moved}, spec=SPEC) != key
    assert json.loads(json.dumps(key)) == key


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_killed_run_goes_on_where_it_was(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    build(images, tmp_path / "whole")
    kill(images, tmp_path / "cache", after)
    with pytest.raises(InputError, match="unfinished"):
        open_cache(tmp_path / "cache")
    folders = counted(monkeypatch)
    build(images, tmp_path / "cache")
    assert len(folders) == 4 - after
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_damaged_shard_is_cut_again(
    images: Path, tmp_path: Path, damage: bytes | None
) -> None:
    build(images, tmp_path / "whole")
    kill(images, tmp_path / "cache", 3)
    for shard in (tmp_path / "cache/parts").glob("*.npz"):
        half = shard.read_bytes()[: shard.stat().st_size // 2]
        shard.write_bytes(half if damage is None else damage)
    build(images, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_files_mended_since_a_killed_run_are_cut(images: Path, tmp_path: Path) -> None:
    lost = (images / "1/11").rename(tmp_path / "lost")
    kill(images, tmp_path / "cache", 3)
    lost.rename(images / "1/11")
    assert build(images, tmp_path / "cache").rejects == 0


@pytest.mark.parametrize("writer", ["savez", "lib.format.write_array_header_1_0"])
def test_full_disk_is_told_and_leaves_nothing_half_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def fill(file: Any, *_args: Any, **_arrays: Any) -> None:
        getattr(file, "write", lambda text: Path(file).write_bytes(text))(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    build(images, tmp_path / "whole")
    with monkeypatch.context() as full:
        full.setattr(f"numpy.{writer}", fill)
        with pytest.raises(InputError, match=r"disk of .*cache is full; make room"):
            build(images, tmp_path / "cache")
    assert not (tmp_path / "cache/crops.npy").exists()
    assert not list((tmp_path / "cache").rglob("*.tmp*"))
    build(images, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def spawned() -> Executor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context)


@pytest.mark.parametrize("start", [spawned, lambda: ThreadPoolExecutor(4)])
def test_executor_makes_the_same_cache(
    images: Path, tmp_path: Path, start: Callable[[], Executor]
) -> None:
    build(images, tmp_path / "whole")
    told = []
    with start() as executor:
        progress = lambda *counts: told.append(counts)  # noqa: E731
        build(images, tmp_path / "cache", executor=executor, progress=progress)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_worker_that_dies_is_told(images: Path, tmp_path: Path) -> None:
    class Dying(Executor):
        def submit(self, *_task: Any) -> Future:
            future: Future = Future()
            future.set_exception(BrokenExecutor())
            return future

    with pytest.raises(InputError, match="fewer --workers"):
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


def test_nothing_of_a_header_gets_into_a_cache(images: Path, tmp_path: Path) -> None:
    for path in images.rglob("*.dcm"):
        secret = {"PatientName": "Secret", "SeriesDescription": "Secret"}
        write_slice(path, np.ones((32, 32), "u2"), plane((0, 0, 0)), **secret)
    (images / "1/12/7.dcm").write_bytes(b"Secret")
    build(images, tmp_path / "cache")
    assert not any(b"Secret" in data for data in contents(tmp_path / "cache").values())


def break_array(cache: Path) -> None:
    (cache / "crops.npy").write_bytes((cache / "crops.npy").read_bytes()[:-1])


def break_table(cache: Path) -> None:
    lines = (cache / "crops.csv").read_text().splitlines()
    (cache / "crops.csv").write_text("\n".join(lines[:-1]))


def break_key(cache: Path) -> None:
    (cache / "cache.json").write_text("{}")


def age_key(cache: Path) -> None:
    key = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps({**key, "cut_version": 0}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (break_array, "is damaged; delete"),
        (break_table, "is damaged; delete"),
        (break_key, "is damaged; delete"),
        (lambda cache: (cache / "labels.csv").unlink(), "is damaged; delete"),
        (lambda cache: (cache / "cache.json").unlink(), "is no crop cache; make one"),
        (age_key, "was cut by version 0"),
    ],
)
def test_cache_that_is_not_whole_is_not_opened(
    images: Path, tmp_path: Path, harm: Callable[[Path], Any], said: str
) -> None:
    build(images, tmp_path / "cache")
    harm(tmp_path / "cache")
    with pytest.raises(InputError, match=said):
        open_cache(tmp_path / "cache")


def test_cache_cannot_be_a_file(images: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="choose another --cache"):
        build(images, tmp_path / "cache")

"""The crop cache: what it holds, and what is no cache."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cache_cohort import (
    LABELS,
    NUMBERS,
    POINTS,
    SERIES,
    SITE,
    SPEC,
    assert_crops_are_of_their_points,
    build,
    contents,
    write_images,
)
from dicom_files import AXIAL, SAGITTAL, plane, write_slice

from src import __version__
from src.cache.crop_cache import CROP_COLUMNS, open_cache
from src.cache.fingerprint import crop_fingerprint
from src.competition.constants import AXIAL_T2
from src.errors import UserError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def test_every_row_is_the_crop_of_its_point(images: Path, tmp_path: Path) -> None:
    summary = build(images, tmp_path / "cache")
    assert (summary.crops, summary.rejects, summary.reused) == (6, 0, False)
    cache = open_cache(tmp_path / "cache")
    assert cache.crops.shape == (6, 3, 16, 16)
    assert cache.spec == SPEC
    assert_crops_are_of_their_points(cache, images)


def test_rejected_points_leave_every_crop_its_own_row(
    images: Path, tmp_path: Path
) -> None:
    points = POINTS.assign(x=POINTS["x"].replace([20.0, 12.5], 99.0))
    assert build(images, tmp_path / "cache", points=points).rejects == 2
    assert_crops_are_of_their_points(open_cache(tmp_path / "cache"), images)


def test_series_that_two_studies_name_alike_keep_their_own_crops(
    images: Path, tmp_path: Path
) -> None:
    (images / "2/21").rename(images / "2/11")
    points, series = (one.replace({"series_id": {21: 11}}) for one in (POINTS, SERIES))
    build(images, tmp_path / "cache", points=points, series=series)
    assert_crops_are_of_their_points(open_cache(tmp_path / "cache"), images)


def test_crops_cannot_be_overwritten(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "cache")
    crops = open_cache(tmp_path / "cache").crops
    with pytest.raises(ValueError, match="read-only"):
        crops[:][0] = 0


def test_the_table_has_all_columns_of_a_crop(images: Path, tmp_path: Path) -> None:
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


def test_severity_slice_and_position_are_those_of_each_point(
    images: Path, tmp_path: Path
) -> None:
    numbers = [6, 5, *POINTS["instance_number"][2:]]
    points = POINTS.assign(instance_number=numbers)
    build(images, tmp_path / "cache", points=points)
    table = open_cache(tmp_path / "cache").table
    severity = LABELS.set_index(SITE)["severity"].fillna("none").to_dict()
    for row in table.fillna({"severity": "none"}).itertuples():
        assert row.severity == severity[row.study_id, row.condition, row.level]
        index = NUMBERS[row.series_id].index(row.instance_number)
        right, down = 0.75 * row.x, 0.75 * row.y
        axial = row.series_description == AXIAL_T2
        position = (right, down, -4 * index) if axial else (4 * index, right, -down)
        assert row.slice == index
        assert (row.x_mm, row.y_mm, row.z_mm) == pytest.approx(position, abs=1e-3)


def test_a_note_has_the_unexpected_series_and_the_missing_neighbour(
    images: Path, tmp_path: Path
) -> None:
    pixels, beside = np.ones((32, 32), "u2"), plane((8, 0, 0))
    write_slice(images / "1/12/4.dcm", pixels, beside, PixelData=b"")
    build(images, tmp_path / "cache")
    notes = open_cache(tmp_path / "cache").table.set_index("level")["note"]
    remark, neighbour = notes["l5_s1"].split("; ", 1)
    assert remark == "on Sagittal T1, not Sagittal T2/STIR"
    assert re.match(r"4\.dcm .*is cut short", neighbour)
    assert neighbour.endswith("replaced by its neighbour")


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
    twice = POINTS[:1].assign(x=9.0, y=20.0)
    points = pd.concat([POINTS, twice], ignore_index=True)
    build(images, tmp_path / "one", points=points)
    shuffled = {"points": points[::-1], "labels": LABELS.sample(frac=1, random_state=0)}
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
    for reason, message in zip(
        rejects["reason"],
        [
            "11 is empty",
            "7.dcm is not there",
            r"8.dcm .*is cut short",
            r"\(32, 3.75\) is out",
        ],
        strict=True,
    ):
        assert re.search(message, reason)
    table = open_cache(tmp_path / "cache").table
    assert table["level"].tolist() == ["l1_l2", "l2_l3"]


def test_a_repeated_row_is_cut_once_and_listed(images: Path, tmp_path: Path) -> None:
    moved = POINTS[1:2].assign(x=POINTS["x"][1] + 1)
    points = pd.concat([POINTS, POINTS[:1], POINTS[:1], moved], ignore_index=True)
    summary = build(images, tmp_path / "cache", points=points)
    assert (summary.crops, summary.rejects) == (7, 2)
    assert_crops_are_of_their_points(open_cache(tmp_path / "cache"), images)
    rejects = pd.read_csv(tmp_path / "cache/rejects.csv")
    assert rejects["level"].tolist() == ["l2_l3"] * 2
    assert rejects["reason"].str.startswith("repeats an earlier row").all()


def test_a_note_names_a_series_without_positions(images: Path, tmp_path: Path) -> None:
    for path in (images / "1/12").iterdir():
        pixels = np.random.default_rng(0).integers(0, 900, (32, 32), "u2")
        write_slice(path, pixels, plane((0, 0, 0), SAGITTAL, (0.75, 0.75)))
    build(images, tmp_path / "cache")
    table = open_cache(tmp_path / "cache").table
    unplaced = table["note"].str.contains("series has one position for 3 slices")
    assert table.loc[unplaced, "series_id"].tolist() == [12, 12]


def test_a_note_tells_that_a_neighbour_of_another_echo_is_not_used(
    images: Path, tmp_path: Path
) -> None:
    for number, height, echo in (
        (1, 0, 1),
        (8, -4, 1),
        (3, -8, 1),
        (2, 0, 2),
        (9, -4, 2),
    ):
        pixels, where = np.ones((32, 32), "u2"), plane((0, 0, height), AXIAL)
        write_slice(images / f"2/22/{number}.dcm", pixels, where, EchoNumbers=echo)
    other = POINTS.assign(instance_number=POINTS["instance_number"].replace(8, 9))
    for name, points, told in (("first", POINTS, False), ("second", other, True)):
        build(images, tmp_path / name, points=points)
        table = open_cache(tmp_path / name).table.set_index("series_id")
        assert ("no image of this echo" in table.loc[22, "note"]) is told


def test_cohort_without_a_crop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"None of 6 points could be cropped.*1/12 cannot"
    ):
        build(tmp_path / "nowhere", tmp_path / "cache")
    assert len(pd.read_csv(tmp_path / "cache/rejects.csv")) == 6
    write_images(tmp_path / "nowhere")
    assert build(tmp_path / "nowhere", tmp_path / "cache").crops == 6


def test_no_points_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no point"):
        build(images, tmp_path / "cache", points=POINTS[:0])


def test_key_changes_with_every_value_of_the_tables() -> None:
    tables = {"points": POINTS, "labels": LABELS, "series": SERIES}
    key = crop_fingerprint(**tables, spec=SPEC)
    moved = POINTS.assign(x=POINTS["x"].replace(9.0, 9.0000001))
    assert crop_fingerprint(**{**tables, "points": moved}, spec=SPEC) != key
    assert json.loads(json.dumps(key)) == key


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


def store_as(dtype: str) -> Callable[[Path], None]:
    """Return what stores the crops as another type."""

    def harm(cache: Path) -> None:
        crops = np.load(cache / "crops.npy")
        np.save(cache / "crops.npy", crops.astype(dtype))

    return harm


def replace_in(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces text in a table."""

    def harm(cache: Path) -> None:
        text = (cache / name).read_text()
        assert old in text
        (cache / name).write_text(text.replace(old, new, 1))

    return harm


def break_key(cache: Path) -> None:
    (cache / "cache.json").write_text("{}")


def age_key(cache: Path) -> None:
    key = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps({**key, "cut_version": 0}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (break_array, "is damaged; delete"),
        (break_table, "is damaged; delete"),
        (break_key, "is damaged: it has no"),
        (store_as("int8"), "is damaged; delete"),
        (store_as("float32"), "is damaged; delete"),
        (replace_in("crops.csv", "l1_l2", "l9_l9"), "is damaged; delete"),
        (replace_in("crops.csv", "spinal_canal", "spinal"), "is damaged; delete"),
        (replace_in("crops.csv", "\n0,", "\nx,"), "is damaged; delete"),
        (replace_in("labels.csv", "study_id", "study"), "is damaged; delete"),
        (lambda cache: (cache / "labels.csv").unlink(), "is damaged; delete"),
        (lambda cache: (cache / "cache.json").unlink(), "is no crop cache; make one"),
        (age_key, "was cut by version 0"),
    ],
)
def test_cache_that_is_not_whole_is_not_opened(
    images: Path, tmp_path: Path, harm: Callable[[Path], Any], message: str
) -> None:
    build(images, tmp_path / "cache")
    harm(tmp_path / "cache")
    with pytest.raises(UserError, match=message):
        open_cache(tmp_path / "cache")


def test_a_cache_names_the_kit_that_made_it(images: Path, tmp_path: Path) -> None:
    build(images, tmp_path / "cache")
    key = json.loads((tmp_path / "cache/cache.json").read_text())
    assert key["kit_version"] == __version__


@pytest.mark.parametrize("version", [None, "0.0.1"])
def test_the_kit_version_is_no_part_of_the_key(
    images: Path, tmp_path: Path, version: str | None
) -> None:
    build(images, tmp_path / "cache")
    path = tmp_path / "cache/cache.json"
    key = json.loads(path.read_text())
    del key["kit_version"]
    path.write_text(json.dumps(key | ({"kit_version": version} if version else {})))
    assert len(open_cache(tmp_path / "cache").crops) == 6
    assert build(images, tmp_path / "cache").reused


def test_cache_cannot_be_a_file(images: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="choose another --cache"):
        build(images, tmp_path / "cache")

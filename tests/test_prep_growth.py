"""Linked copies of studies, their growth, and the whole competition's estimate."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from benchmarks.linked_studies import linked_copies, prepared_studies
from benchmarks.prep_growth import (
    COPIES,
    Size,
    basis,
    check_times,
    extrapolate,
    gain_of_two,
    grow,
    plot_growth,
    prepare_once,
)

SIZES = [Size(15, 375, 3.0, 4.5, 210.0), Size(480, 12_000, 96.0, 120.0, 214.4)]


def columns(rows: list) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_the_sizes_are_those_asked_for() -> None:
    assert [15 * copies for copies in COPIES] == [15, 30, 60, 120, 480]


def test_linked_copies_are_studies_of_their_own(phantom: Path, tmp_path: Path) -> None:
    copies = max(COPIES)
    linked_copies(phantom, 2, copies, tmp_path)
    own, more = prepared_studies(phantom, 2).tables, prepared_studies(tmp_path)
    for name in ("labels", "points", "series"):
        one, many = getattr(own, name), getattr(more.tables, name)
        assert len(many) == copies * len(one)
        assert many["study_id"].nunique() == copies * 2
    studies = set(more.tables.labels["study_id"])
    assert studies == {int(path.name) for path in more.images.iterdir()}
    assert len(more.folders()) == copies * len(prepared_studies(phantom, 2).folders())
    for folder in more.folders():
        assert any(folder.glob("*.dcm"))


def test_the_first_studies_are_the_least_ids(phantom: Path) -> None:
    every = sorted(pd.read_csv(phantom / "train.csv")["study_id"])
    for count in (2, None):
        tables = prepared_studies(phantom, count).tables
        for table in (tables.labels, tables.points, tables.series):
            assert sorted(table["study_id"].unique()) == every[:count]


def test_growth_counts_studies_and_measures_a_fresh_process(phantom: Path) -> None:
    held = np.ones(700 * 2**20, np.uint8)  # MB of this process, not of that
    one, two = grow(phantom, 1, copies=(1, 2))
    del held
    assert (one.studies, two.studies) == (1, 2)
    assert two.crops == 2 * one.crops
    for size in (one, two):
        assert size.cpu_s > 0
        assert size.wall_s > 0
        assert 50 < size.peak_mb < 600


def test_preparing_leaves_nothing_in_the_download(
    phantom: Path, tmp_path: Path
) -> None:
    linked_copies(phantom, 1, 1, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    prepare_once(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_size_is_shown_a_study() -> None:
    assert list(SIZES[1].row().values()) == [480, 12_000, "0.2000", "0.2500", "214"]


def test_the_plot_is_svg_and_the_same_bytes_again(tmp_path: Path) -> None:
    texts = []
    for name in ("a.svg", "b.svg"):
        plot_growth(SIZES, tmp_path / name)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    assert ElementTree.fromstring(texts[0]).tag.endswith("svg")
    other = [SIZES[0], Size(480, 12_000, 300.0, 400.0, 900.0)]
    plot_growth(other, tmp_path / "other.svg")
    assert (tmp_path / "other.svg").read_bytes() != texts[0]


def test_the_whole_competition_is_extrapolated_by_the_gain_of_two() -> None:
    # 1,975 x 2.4 s are 79 min. Each worker worth .8: 2, 8, 16 cores are 1.6, 6.4 and
    # 12.8 times faster. Amdahl: a quarter is not shared out, so 1.6, 2.91 and 3.37.
    found = columns(extrapolate(2.4, 1.6))
    cores, linear, amdahl = found.values()
    assert cores == [1, 2, 8, 16]
    assert linear == ["79.0", "49.4", "12.3", "6.2"]
    assert amdahl == ["79.0", "49.4", "27.2", "23.5"]


@pytest.mark.parametrize("gain", [2.0, 2.1])
def test_a_whole_gain_leaves_nothing_that_is_not_shared_out(gain: float) -> None:
    assert columns(extrapolate(2.4, gain))["min, by Amdahl's law"][-1] == "4.9"


def test_the_basis_names_what_was_measured() -> None:
    told = basis(SIZES, 1.83)
    assert "1,975 studies x 0.250 s" in told
    assert "480 linked studies" in told
    assert "two workers 1.83 times one" in told
    assert "not counted: the disk" in told


def test_a_gain_is_of_all_work_in_a_turn() -> None:
    one = [[4.0, 1.0, 8.0], [6.0, 1.0, 1.0]]  # crops and overviews, three turns each
    two = [[2.0, 1.0, 2.0], [6.0, 1.0, 1.0]]
    assert gain_of_two(one, two) == 1.25  # of (4 + 6) / (2 + 6), 2 / 2 and 9 / 3


def test_the_check_is_timed_over_files_and_studies(phantom: Path) -> None:
    rows = check_times(phantom, 1, turns=1)
    first = min(pd.read_csv(phantom / "train.csv")["study_id"])
    files = len(list((phantom / "train_images" / str(first)).glob("*/*.dcm")))
    for row in rows:
        assert (row["studies"], row["files"]) == (4, 4 * files)
        each = float(str(row["files a second"]).split()[0])
        studies = float(str(row["studies a second"]).split()[0])
        assert each == pytest.approx(studies * files, rel=0.05)
    assert [row[""] for row in rows] == ["headers", "headers and pixels"]

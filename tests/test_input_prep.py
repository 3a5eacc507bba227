"""input_prep.py as a whole: which tables, images, sizes and seeds go where."""

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import SAGITTAL, plane, write_series

import input_prep
from src.cache.crop_cache import open_cache
from src.cache.overview_cache import open_overviews
from src.competition import known_issues, tables
from src.competition.constants import TARGETS
from src.competition.folds import make_folds
from src.competition.known_issues import KnownIssue
from src.errors import UserError
from src.imaging.crops import CropSpec

STUDIES = (300, 40, 7, 21, 8)  # as the tables have them
FORAMEN, CANAL = "Neural Foraminal Narrowing", "Spinal Canal Stenosis"
Prepare = Callable[..., str]


def write_images(root: Path) -> Path:
    """Write three sagittal slices a study, right to left; those of the test black."""
    planes = [plane((4 * place, 0, 0), SAGITTAL) for place in range(3)]
    for study in STUDIES:
        volume = np.random.default_rng(study).integers(1, 900, (3, 24, 20), "u2")
        for split, shown in (("train", volume), ("test", 0 * volume)):
            folder = root / f"{split}_images" / str(study) / str(10 * study)
            write_series(folder, shown, planes)
    return root


def write_tables(root: Path, swapped: int = 0) -> None:
    """Write the tables: two foramina a study, and beside an image one point of study 7.

    swapped: the number of studies whose left foramen is marked on the right.
    """
    severities = ["Normal/Mild", "Moderate", "Severe"]
    drawn = np.random.default_rng(0).choice(severities, (len(STUDIES), 25))
    labels = pd.DataFrame(drawn, columns=list(TARGETS))
    labels.insert(0, "study_id", STUDIES)
    points = [(7, 70, 2, "Spinal Canal Stenosis", "L4/L5", 90.0, 5.0)]
    for number, study in enumerate(STUDIES):
        sides = ("Left", "Right") if number < swapped else ("Right", "Left")
        for instance, side in zip((1, 3), sides, strict=True):
            condition = f"{side} Neural Foraminal Narrowing"
            points.append((study, 10 * study, instance, condition, "L1/L2", 9.0, 12.0))
    series = [(study, 10 * study, "Sagittal T1") for study in STUDIES]
    labels.to_csv(root / "train.csv", index=False)
    for name, columns, rows in (
        ("train_label_coordinates", tables.POINT_COLUMNS, points),
        ("train_series_descriptions", tables.SERIES_COLUMNS, series),
    ):
        frame = pd.DataFrame(rows, columns=list(columns))
        frame.to_csv(root / f"{name}.csv", index=False)


class Pool(ThreadPoolExecutor):
    """One thread in place of processes, which counts what it is given to do."""

    given = 0

    def submit(self, *task: Any) -> Future:
        """Count a task."""
        self.given += 1
        return super().submit(*task)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound competition; not to be written to."""
    root = write_images(tmp_path_factory.mktemp("prep"))
    write_tables(root)
    return root


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write other tables over the same images, by default into data/."""

    def write(root: Path = tmp_path / "data", swapped: int = 0) -> Path:
        root.mkdir()
        (root / "train_images").symlink_to(data / "train_images")
        write_tables(root, swapped)
        return root

    return write


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def pools() -> dict[int, Pool]:
    """Each pool that was started, by the workers it was to have."""
    return {}


@pytest.fixture
def previews() -> list[tuple]:
    """What each preview was drawn from."""
    return []


@pytest.fixture
def examples() -> list[tuple]:
    """What the contact sheets and the picture of suspects were drawn from."""
    return []


@pytest.fixture
def prepare(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pools: dict[int, Pool],
    previews: list[tuple],
    examples: list[tuple],
) -> Prepare:
    """Run the script on some data and more arguments; return its output."""

    def start(workers: int) -> Pool:
        pools[workers] = Pool(1)
        return pools[workers]

    def preview(*drawn: object) -> None:
        previews.append(drawn)

    monkeypatch.setattr(input_prep, "worker_pool", start)
    page = SimpleNamespace(draw_preview=preview)
    monkeypatch.setitem(sys.modules, "src.reporting.preview", page)

    def suspects(*drawn: object) -> str:
        examples.append(drawn)
        return "some of many"

    sheets = SimpleNamespace(draw_contact_sheets=lambda *d: examples.append(d))
    monkeypatch.setitem(sys.modules, "src.reporting.contact_sheets", sheets)
    pictures = SimpleNamespace(draw_suspects=suspects)
    monkeypatch.setitem(sys.modules, "src.reporting.suspect_pictures", pictures)

    def run(root: Path, *arguments: object) -> str:
        where = ("--data", root, "--cache", cache)
        words = map(str, ("input_prep.py", *where, *arguments))
        monkeypatch.setattr(sys, "argv", [*words])
        input_prep.main()
        return capsys.readouterr().out

    return run


SMALL = ("--crop-px", 16, "--field-mm", 8)


def studies_in(path: Path) -> list[int]:
    return sorted(pd.read_csv(path)["study_id"].unique())


@pytest.mark.parametrize(
    ("limit", "kept"),
    [((), [7, 8, 21, 40, 300]), (("--limit", 3), [7, 8, 21])],
    ids=["all", "three"],
)
def test_a_limit_keeps_the_first_studies_by_number_in_every_table(
    data: Path, cache: Path, prepare: Prepare, limit: tuple, kept: list[int]
) -> None:
    output = prepare(data, *SMALL, *limit)
    for name in ("crops", "labels", "series", "folds", "overviews"):
        assert studies_in(cache / f"{name}.csv") == kept, name
    assert len(pd.read_csv(cache / "labels.csv")) == 25 * len(kept)
    assert f"overviews of {len(kept)} series" in output


def test_an_existing_cache_is_reported_and_kept(data: Path, prepare: Prepare) -> None:
    asked = (data, *SMALL, "--no-overviews")
    assert "nothing was cut again" not in prepare(*asked)
    assert "nothing was cut again" in prepare(*asked)


def test_what_is_counted_is_what_was_prepared(
    data: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(input_prep, "show_table", lambda *table: shown.append(table))
    prepare(data, *SMALL, "--limit", 3)
    counts = {"studies": 3, "series": 3, "points": 7, "crops": 6, "rejects": 1}
    assert [rows for _, rows in shown] == [[counts]]


def test_crops_overviews_and_preview_show_the_training_images(
    data: Path, cache: Path, prepare: Prepare, previews: list[tuple]
) -> None:
    prepare(data, *SMALL)
    assert np.asarray(open_cache(cache).crops).max(axis=(1, 2, 3)).min() > 0
    assert np.asarray(open_overviews(cache).images).max(axis=(1, 2)).min() > 0
    [(held, folder, path)] = previews
    assert (held.path, folder) == (cache, data / "train_images")
    assert path == cache / "preview.png"


def test_contact_sheets_and_suspects_are_drawn_beside_the_crops(
    data: Path, cache: Path, prepare: Prepare, examples: list[tuple]
) -> None:
    output = prepare(data, *SMALL, "--no-overviews")
    [(held, folder), (again, images, path)] = examples
    assert held.path == again.path == folder == cache
    assert (images, path) == (data / "train_images", cache / "suspects.png")
    assert f"Drew {cache / 'contact_sheet_*.png'}: crops by condition" in output
    assert f"Drew {path}: some of many" in output


@pytest.mark.parametrize(
    ("asked", "spec"),
    [
        ((), CropSpec(crop_px=100, field_mm=50.0, slices=5)),
        (
            ("--crop-px", 24, "--crop-slices", 3, "--field-mm", 12.5),
            CropSpec(crop_px=24, field_mm=12.5, slices=3),
        ),
        (("--native-px",), CropSpec(crop_px=100, field_mm=None, slices=5)),
    ],
    ids=["default", "millimetres", "native"],
)
def test_crops_are_cut_as_requested(
    data: Path, cache: Path, prepare: Prepare, asked: tuple, spec: CropSpec
) -> None:
    prepare(data, *asked, "--no-overviews")
    assert open_cache(cache).spec == spec
    assert open_cache(cache).crops.shape[1:] == (spec.slices, *[spec.crop_px] * 2)


def test_all_views_are_cut_counted_and_listed_where_they_are_missing(
    data: Path, cache: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No study of this cohort has another series than its T1."""
    shown = []
    monkeypatch.setattr(input_prep, "show_table", lambda *table: shown.append(table))
    output = prepare(data, *SMALL, "--views", "all", "--no-overviews")
    [(_, [counts])] = shown
    assert (counts["crops"], counts["rejects"]) == (10, 1)
    assert (counts["views"], counts["missing views"]) == (0, 20)
    assert "Cut every view" in output
    assert f"reasons of the rejects are in {cache / 'rejects.csv'}" in output
    views = pd.read_csv(cache / "rejects.csv")["view"].value_counts().to_dict()
    assert views == {"own": 1, "Sagittal T2/STIR": 10, "Axial T2": 10}
    with pytest.raises(UserError, match="crops of all views of the sites, not"):
        prepare(data, *SMALL, "--no-overviews")


@pytest.mark.parametrize("asked", [(), ("--no-overviews",)])
def test_no_overviews_skips_the_overviews(
    data: Path, cache: Path, prepare: Prepare, asked: tuple
) -> None:
    prepare(data, *SMALL, *asked)
    assert (cache / "overviews.npy").is_file() is not bool(asked)


@pytest.mark.parametrize("seed", [0, 5])
def test_folds_are_those_of_the_seed_and_of_the_studies_kept(
    data: Path, cache: Path, prepare: Prepare, seed: int
) -> None:
    prepare(data, *SMALL, "--no-overviews", "--seed", seed, "--limit", 4)
    labels = tables.read_labels(data / "train.csv")
    labels = labels[labels["study_id"] != 300]
    folds = pd.read_csv(cache / "folds.csv")
    pd.testing.assert_frame_equal(folds, make_folds(labels, seed), check_dtype=False)
    assert not folds.equals(make_folds(labels, 3))


@pytest.mark.parametrize("workers", [2, 9])
def test_as_many_workers_as_asked_for_do_all_the_work(
    data: Path, prepare: Prepare, pools: dict[int, Pool], workers: int
) -> None:
    prepare(data, *SMALL, "--workers", workers)
    assert list(pools) == [workers]
    assert pools[workers].given == 10  # five series of crops, five of overviews


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple]:
    """The folders that each cluster's workers are to share, by its address."""
    asked: dict[str, tuple] = {}

    def connect(address: str, reads: list[Path], writes: list[Path]) -> Pool:
        asked[address] = (reads, writes)
        return Pool(1)

    monkeypatch.setattr(input_prep, "cluster_workers", connect)
    return asked


def test_a_clusters_workers_read_the_data_and_write_the_cache(
    data: Path, cache: Path, prepare: Prepare, pools: dict, clusters: dict[str, tuple]
) -> None:
    prepare(data, *SMALL, "--no-overviews", "--scheduler", "tcp://a:1")
    assert clusters == {"tcp://a:1": ([data], [cache])}
    assert pools == {}
    assert studies_in(cache / "crops.csv") == sorted(STUDIES)


def test_a_clusters_workers_write_nothing_in_a_check(
    data: Path, prepare: Prepare, clusters: dict[str, tuple]
) -> None:
    prepare(data, "--check", "--scheduler", "tcp://a:1")
    assert clusters == {"tcp://a:1": ([data], [])}


def test_a_clusters_workers_write_a_phantom_beside_nothing_else(
    tmp_path: Path,
    cache: Path,
    prepare: Prepare,
    phantoms: list,
    clusters: dict[str, tuple],
) -> None:
    asked = ("--phantom", 12, "--scheduler", "tcp://a:1", "--no-overviews")
    prepare(tmp_path / "new", *SMALL, *asked)
    assert clusters.pop("tcp://a:1") == ([], [cache, tmp_path])
    prepare(tmp_path / "new", *SMALL, *asked)
    assert clusters == {"tcp://a:1": ([tmp_path / "new"], [cache])}


def test_a_cluster_has_its_own_number_of_workers(
    data: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        prepare(data, "--scheduler", "tcp://a:1", "--workers", 97)
    assert "--workers: not allowed with argument --scheduler" in capsys.readouterr().err


def test_the_competition_is_fetched_to_the_data_before_it_is_read(
    tmp_path: Path,
    cache: Path,
    copy: Callable[..., Path],
    prepare: Prepare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(input_prep, "fetch_competition", copy)
    asked = (tmp_path / "fetched", *SMALL, "--no-overviews")
    with pytest.raises(UserError, match=r"train\.csv is looked for"):
        prepare(*asked)
    prepare(*asked, "--download")
    assert studies_in(cache / "crops.csv") == sorted(STUDIES)


Written = list[tuple[int, int, object, float]]


@pytest.fixture
def phantoms(copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Written:
    """What each phantom was asked to be; in its place stands a small competition."""
    written: Written = []

    def write(
        root: Path, count: int, executor: object, seed: int, _: Any, share: float
    ) -> None:
        written.append((count, seed, executor, share))
        copy(root)

    monkeypatch.setattr(input_prep, "write_cohort", write)
    return written


def test_a_phantom_is_written_to_the_data_as_asked(
    tmp_path: Path,
    cache: Path,
    prepare: Prepare,
    pools: dict[int, Pool],
    phantoms: Written,
) -> None:
    asked = ("--phantom", 12, "--seed", 4, "--workers", 3, "--no-overviews")
    prepare(tmp_path / "new", *SMALL, *asked)
    assert phantoms == [(12, 4, pools[3], 0.0)]
    assert studies_in(cache / "crops.csv") == sorted(STUDIES)


def test_a_phantom_has_the_share_of_variants_that_was_asked_for(
    tmp_path: Path,
    prepare: Prepare,
    phantoms: Written,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--phantom", 12, "--phantom-variants", 0.25, "--no-overviews")
    prepare(tmp_path / "new", *SMALL, *asked)
    assert [share for *_, share in phantoms] == [0.25]
    with pytest.raises(SystemExit, match="2"):
        prepare(tmp_path / "new", "--phantom-variants", 0.25)
    assert "--phantom-variants goes with --phantom" in capsys.readouterr().err


def test_a_phantom_is_not_written_over_a_competition(
    data: Path, prepare: Prepare, phantoms: Written
) -> None:
    output = prepare(data, *SMALL, "--no-overviews", "--phantom", 12)
    assert phantoms == []
    assert "no phantom is written" in output


@pytest.mark.parametrize(
    ("swapped", "share"), [(0, None), (2, None), (3, "60 %"), (5, "100 %")]
)
def test_swapped_sides_are_reported_where_most_pairs_have_them(
    cache: Path,
    copy: Callable[..., Path],
    prepare: Prepare,
    swapped: int,
    share: str | None,
) -> None:
    output = prepare(copy(swapped=swapped), *SMALL, "--no-overviews")
    suspects = pd.read_csv(cache / "suspects.csv")
    assert sorted(suspects["study_id"]) == sorted(2 * STUDIES[:swapped])
    assert (f"{2 * swapped} points contradict" in output) is (swapped > 0)
    assert ("SWAPPED" in output) is (share is not None)
    assert share is None or f"SWAPPED in {share} of" in output


def test_doubled_points_and_series_without_positions_are_reported(
    data: Path, cache: Path, tmp_path: Path, prepare: Prepare
) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    volume = np.random.default_rng(0).integers(1, 900, (3, 24, 20), "u2")
    where = [plane((0, 0, 0), SAGITTAL)] * 3
    write_series(root / "train_images" / "8" / "80", volume, where)
    points = pd.read_csv(root / "train_label_coordinates.csv")
    of_21 = points[points["study_id"] == 21]
    more = [points, of_21[:1], of_21[1:].assign(x=11.0)]
    pd.concat(more).to_csv(root / "train_label_coordinates.csv", index=False)
    output = prepare(root, *SMALL, "--no-overviews")
    assert "2 points share their condition and level with another: see" in output
    assert "1 series without usable positions: see" in output
    assert "contradict geometry" not in output
    suspects = pd.read_csv(cache / "suspects.csv")
    assert suspects["study_id"].tolist() == [8, 21, 21]
    rejects = pd.read_csv(cache / "rejects.csv")
    assert rejects["study_id"].tolist() == [7, 21]


def test_files_that_no_overview_shows_are_counted(
    data: Path, tmp_path: Path, prepare: Prepare
) -> None:
    assert "could not be read" not in prepare(data, *SMALL)
    shutil.rmtree(tmp_path / "cache")
    shutil.copytree(data, tmp_path / "data")
    for name in ("7/70/2.dcm", "40/400/1.dcm", "40/400/2.dcm"):
        (tmp_path / "data" / "train_images" / name).write_bytes(b"damaged")
    output = prepare(tmp_path / "data", *SMALL)
    assert "3 files or series could not be read" in output


BAD = (
    KnownIssue("series_id", (400,), "not a spine", "a forum"),
    KnownIssue("study_id", (21,), "odd", "a paper"),
    KnownIssue("series_id", (70,), "sides", "a list", "foraminal"),
)


def test_known_bad_points_are_left_out_and_listed_with_their_source(
    data: Path, cache: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_issues, "KNOWN_ISSUES", BAD)
    output = prepare(data, *SMALL, "--leave-out", "known")
    assert "Left out 6 known bad points and 0 series without" in output
    assert studies_in(cache / "crops.csv") == [8, 300]
    assert studies_in(cache / "overviews.csv") == [7, 8, 300]
    assert studies_in(cache / "labels.csv") == sorted(STUDIES)
    rejects = pd.read_csv(cache / "rejects.csv")
    known = rejects[rejects["reason"].str.startswith("known")]
    assert sorted(zip(known["study_id"], known["reason"], strict=True)) == [
        *[(7, "known: sides (a list)")] * 2,
        *[(21, "known: odd (a paper)")] * 2,
        *[(40, "known: not a spine (a forum)")] * 2,
    ]
    assert len(rejects) == 7  # the point beside its image is one too
    assert (rejects["view"] == "own").all()


def test_a_second_run_lists_what_is_left_out_once(
    data: Path, cache: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_issues, "KNOWN_ISSUES", BAD)
    asked = (data, *SMALL, "--no-overviews", "--leave-out", "known")
    prepare(*asked)
    first = (cache / "rejects.csv").read_bytes()
    assert "nothing was cut again" in prepare(*asked)
    assert (cache / "rejects.csv").read_bytes() == first


def test_nothing_is_left_out_without_the_flag_and_the_caches_differ(
    data: Path, cache: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_issues, "KNOWN_ISSUES", BAD)
    asked = (data, *SMALL, "--no-overviews")
    assert "Left out" not in prepare(*asked)
    assert studies_in(cache / "crops.csv") == sorted(STUDIES)
    with pytest.raises(UserError, match="holds crops of points table"):
        prepare(*asked, "--leave-out", "known")


@pytest.fixture
def check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Check some data with more arguments; return the output."""
    monkeypatch.setattr(input_prep, "worker_pool", lambda workers: Pool(1))

    def run(root: Path, *arguments: object) -> str:
        words = map(str, ("input_prep.py", "--data", root, "--check", *arguments))
        monkeypatch.setattr(sys, "argv", [*words])
        input_prep.main()
        return capsys.readouterr().out

    return run


def test_a_check_needs_no_cache_and_writes_into_the_current_folder(
    data: Path,
    tmp_path: Path,
    check: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    output = check(data)
    findings = pd.read_csv(tmp_path / "check.csv", keep_default_na=False)
    assert list(findings) == ["study_id", "series_id", "file", "what", "detail"]
    off = findings[findings["what"] == "point off its image"]
    assert off[["study_id", "series_id", "file"]].values.tolist() == [
        ["7", "70", "2.dcm"]
    ]
    assert "point off its image" in output
    assert f"All {len(findings)} findings are in check.csv" in output
    assert [path.name for path in tmp_path.iterdir()] == ["check.csv"]


def test_a_check_writes_to_the_cache_if_one_is_given(
    data: Path, cache: Path, check: Callable[..., str]
) -> None:
    output = check(data, "--cache", cache)
    assert str(cache / "check.csv") in output
    assert [path.name for path in cache.iterdir()] == ["check.csv"]


def test_pixels_are_decoded_only_if_asked_for(
    data: Path, cache: Path, check: Callable[..., str]
) -> None:
    output = check(data, "--cache", cache)
    assert "image blank" not in output
    assert "--pixels decodes" in output
    output = check(data, "--cache", cache, "--pixels")
    blank = pd.read_csv(cache / "check.csv")["what"] == "image blank"
    assert blank.sum() == 3 * len(STUDIES)  # those of the test are black
    assert "--pixels decodes" not in output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "required: --cache"),
        (("--cache", "x", "--pixels"), "--pixels goes with --check"),
        (("--check", "--limit", "3"), "no --limit"),
        (("--check", "--leave-out", "known"), "no --leave-out"),
        (("--import", "x", "--limit", "3"), "cuts no crops: no --limit"),
        (("--import", "x", "--crop-px", "64"), "cuts no crops: no --crop-px"),
        (("--import", "x", "--native-px"), "cuts no crops: no --native-px"),
        (("--import", "x", "--cache", "c"), "cuts no crops: no --cache"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    words: tuple[str, ...],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["input_prep.py", "--data", "data", *words])
    with pytest.raises(SystemExit) as refused:
        input_prep.parse()
    assert refused.value.code == 2
    assert reason in capsys.readouterr().err


def write_sites(path: Path, studies: tuple[int, ...] = STUDIES) -> Path:
    """Write one found foramen a study, away from where it is marked."""
    rows = [
        (study, 10 * study, 2, f"left_{FORAMEN.lower().replace(' ', '_')}", "l1_l2")
        for study in studies
    ]
    table = pd.DataFrame(rows, columns=list(tables.POINT_COLUMNS)[:5])
    table.assign(x=7.5, y=11.25).to_csv(path, index=False)
    return path


def test_crops_are_cut_at_found_sites_and_all_else_stays(
    data: Path, cache: Path, tmp_path: Path, prepare: Prepare
) -> None:
    prepare(data, *SMALL)
    usual = tmp_path / "usual"
    cache.rename(usual)
    sites = write_sites(tmp_path / "found_sites.csv", STUDIES[1:])
    output = prepare(data, *SMALL, "--sites", sites)
    table = open_cache(cache).table
    assert sorted(table["study_id"]) == sorted(STUDIES[1:])
    assert set(zip(table["x"], table["y"], strict=True)) == {(7.5, 11.25)}
    for name in ("folds", "labels", "series", "overviews"):
        assert (cache / f"{name}.csv").read_bytes() == (
            usual / f"{name}.csv"
        ).read_bytes()
    labels = pd.read_csv(cache / "labels.csv").set_index(["study_id", "condition"])
    key = table[["study_id", "condition", "level", "severity"]]
    for row in key.itertuples():
        of = labels.loc[(row.study_id, row.condition)].set_index("level")
        assert of.loc[row.level, "severity"] == row.severity
    rejects = pd.read_csv(cache / "rejects.csv")
    assert len(rejects) == 25 + 4 * 24
    reasons = rejects.groupby("study_id")["reason"].unique()
    assert reasons[300].tolist() == [
        "no location run has looked for the sites of its study"
    ]
    assert reasons[40].tolist() == ["its site was not found"]
    assert "No site of 121 labels in 5 studies" in " ".join(output.split())
    assert "--task severity" in output


def test_a_second_run_at_found_sites_changes_nothing(
    data: Path, cache: Path, tmp_path: Path, prepare: Prepare
) -> None:
    asked = (data, *SMALL, "--no-overviews", "--sites", write_sites(tmp_path / "s.csv"))
    prepare(*asked)
    first = (cache / "rejects.csv").read_bytes()
    assert "nothing was cut again" in prepare(*asked)
    assert (cache / "rejects.csv").read_bytes() == first


def test_found_and_marked_sites_never_share_a_cache(
    data: Path, cache: Path, tmp_path: Path, prepare: Prepare
) -> None:
    small = (*SMALL, "--no-overviews")
    prepare(data, *small)
    points = data / "train_label_coordinates.csv"
    single = pd.read_csv(points).drop_duplicates(["study_id", "condition"])
    single.to_csv(tmp_path / "the_same.csv", index=False)
    with pytest.raises(UserError, match=r"crops at the marked points, not .* found si"):
        prepare(data, *small, "--sites", tmp_path / "the_same.csv")
    assert not open_cache(cache).has_found_sites


def test_found_sites_on_the_wrong_sides_are_no_wrong_coordinates(
    copy: Callable[..., Path], cache: Path, prepare: Prepare
) -> None:
    root = copy(swapped=5)
    marked = root / "train_label_coordinates.csv"
    output = prepare(root, *SMALL, "--no-overviews", "--sites", marked)
    assert "SWAPPED" not in output
    assert "10 found sites contradict geometry" in output


def test_found_sites_do_not_go_with_the_check(data: Path, prepare: Prepare) -> None:
    with pytest.raises(SystemExit):
        prepare(data, "--check", "--sites", "found_sites.csv")

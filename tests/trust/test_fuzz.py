"""Mutated DICOM files and CSVs through the readers: a refusal, or a sound answer."""

import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from dicom_files import SAGITTAL, plane, slice_dataset, write_slice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_files import CELLS, case_random, mutated_dicom, mutated_table
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from read_mutants import CASE_LIMIT_S, Found, Read, read_all
from small_cohort import write_cohort

from src.competition import folds, submission, tables
from src.competition.constants import (
    CONDITIONS,
    LEVELS,
    SERIES_DESCRIPTIONS,
    SEVERITIES,
    TARGETS,
)
from src.errors import UserError
from src.imaging.crops import CropSpec, extract_crop
from src.imaging.dicom import read_header, read_pixels
from src.imaging.dicom_errors import DicomError
from src.imaging.series import read_series
from src.inference.fallback_prior import choose_prior

pytestmark = pytest.mark.trust
ALONE = True  # two processes of its own

DICOM_CASES, CSV_CASES, TABLES = 14_000, 5_000, 1_000
GROWTH_MIB = 256
HUGE = 60_000
SPEC = CropSpec(crop_px=8, field_mm=8)
SIDE = 32  # the least that JPEG 2000's encoder takes
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
# pydicom's own MR slices, in codings for which no encoder is installed.
SHIPPED_SEEDS = ("MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_16.dcm")
Record = Callable[[str, object], None]


def seeds() -> list[bytes]:
    """Return whole slices: each coding, sign and sense of grey."""
    plain = np.random.default_rng(0).integers(0, 4000, (SIDE, SIDE), "u2")
    signed = (plain.astype("i4") - 2000).astype("i2")
    made = [
        _bytes(_slice(plain)),
        _bytes(_slice(signed)),
        _bytes(_slice((plain // 16).astype("u1"))),
        _bytes(_slice(plain, PhotometricInterpretation="MONOCHROME1", BitsStored=12)),
        _bytes(_slice(plain, RescaleSlope="2.5", RescaleIntercept="-7")),
        _bytes(_slice(signed, PixelPaddingValue=-2000)),
        _bytes(_slice(plain), ImplicitVRLittleEndian),
        _bytes(_slice(plain), DeflatedExplicitVRLittleEndian),
        _bytes(_big_endian(plain), ExplicitVRBigEndian),
    ]
    for syntax in (RLELossless, JPEG2000Lossless):
        packed = _slice(plain)
        packed.compress(syntax)
        made.append(_bytes(packed, syntax))
    return made + [(SHIPPED / name).read_bytes() for name in SHIPPED_SEEDS]


def _slice(pixels: np.ndarray, **tags: object) -> Dataset:
    return slice_dataset(pixels, plane((4, 0, 0), SAGITTAL), **tags)


def _big_endian(pixels: np.ndarray) -> Dataset:
    dataset = _slice(pixels)
    dataset.PixelData = pixels.astype(">u2").tobytes()
    return dataset


def _bytes(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dicom_reader(folder: Path) -> Read:
    """Return what reads a case as the second of a series' two slices."""
    intact = np.full((SIDE, SIDE), 100, "u2")
    write_slice(folder / "7" / "1.dcm", intact, plane((0, 0, 0)))
    return partial(_read_dicom, seeds(), folder / "7" / "2.dcm")


def _read_dicom(wholes: list[bytes], path: Path, case: int) -> str:
    draw = case_random("dicom", case)
    path.write_bytes(mutated_dicom(draw.choice(wholes), draw))
    _check_crop(path)
    try:
        header = read_header(path)
        pixels = read_pixels(path)
    except DicomError as error:
        if error.path != path:
            raise AssertionError("another file is blamed") from error
        raise
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2
    assert not np.isinf(pixels).any()  # NaN marks what is no tissue
    assert np.isfinite(header.geometry.position_mm).all()
    return "read"


def _check_crop(path: Path) -> None:
    """Cut the mutated slice, or the intact one beside it; either may be refused."""
    series = read_series(path.parent)
    assert len(series) + len(series.rejected) == 2
    for number in (1, 2):
        try:
            index = series.index_of(number)
            header = series.headers[index]
            middle = (header.columns - 1) / 2, (header.rows - 1) / 2
            crop = extract_crop(series, index, *middle, SPEC)
        except UserError:
            assert number == 2  # the intact slice must be cut, whatever is beside it
            continue
        assert crop.pixels.shape == (SPEC.slices, 8, 8)
        assert crop.pixels.dtype == np.uint8


def check_labels(table: pd.DataFrame) -> None:
    assert list(table.columns) == ["study_id", "condition", "level", "severity"]
    assert table["severity"].dropna().isin(SEVERITIES).all()
    assert table.groupby("study_id").size().eq(len(TARGETS)).all()
    _check_sites(table)


def check_points(table: pd.DataFrame) -> None:
    assert list(table.columns) == list(tables.POINT_COLUMNS)
    _check_sites(table)
    for name in ("series_id", "instance_number"):
        assert table[name].dtype == np.int64
    assert np.isfinite(table[["x", "y"]].to_numpy(dtype=float)).all()


def _check_sites(table: pd.DataFrame) -> None:
    assert table["study_id"].dtype == np.int64
    assert table["study_id"].ge(0).all()
    assert table["condition"].isin(CONDITIONS).all()
    assert table["level"].isin(LEVELS).all()


def check_series(table: pd.DataFrame) -> None:
    check_test_series(table)
    assert table["series_description"].isin(SERIES_DESCRIPTIONS).all()


def check_test_series(table: pd.DataFrame) -> None:
    assert list(table.columns) == list(tables.SERIES_COLUMNS)
    for name in ("study_id", "series_id"):
        assert table[name].dtype == np.int64
        assert table[name].ge(0).all()
    assert not table.duplicated(["study_id", "series_id"]).any()
    assert table["series_description"].dropna().map(type).eq(str).all()


def check_sample(table: pd.DataFrame) -> None:
    assert list(table.columns) == ["row_id", *SEVERITIES]
    assert np.isfinite(table[list(SEVERITIES)].to_numpy(dtype=float)).all()


def check_submission(table: pd.DataFrame) -> None:
    check_sample(table)
    submission.check_submission(table)


def check_folds(table: pd.DataFrame) -> None:
    assert table["split"].isin(folds.SPLITS).all()
    assert table["fold"].isin(range(folds.FOLDS)).all()
    assert not table["study_id"].duplicated().any()


Check = Callable[[pd.DataFrame], None]
READERS: dict[str, tuple[Callable[[Path], pd.DataFrame], Check]] = {
    tables.LABEL_FILE: (tables.read_labels, check_labels),
    tables.POINT_FILE: (tables.read_points, check_points),
    tables.SERIES_FILE: (tables.read_series, check_series),
    tables.TEST_SERIES_FILE: (
        lambda path: tables.read_test_series(path.parent),
        check_test_series,
    ),
    tables.SAMPLE_FILE: (tables.read_sample_submission, check_sample),
    "submission.csv": (submission.read_submission, check_submission),
    "folds.csv": (folds.read_folds, check_folds),
}


def csv_reader(whole: Path, folder: Path) -> Read:
    """Return what reads a case: one of the competition's tables, mutated."""
    data = {name: (whole / name).read_bytes() for name in READERS}
    return partial(_read_csv, data, folder)


def _read_csv(data: dict[str, bytes], folder: Path, case: int) -> str:
    draw = case_random("csv", case)
    name = draw.choice(list(READERS))
    path = folder / name
    path.write_bytes(mutated_table(data[name], draw))
    read, check = READERS[name]
    try:
        check(read(path))
        if name == tables.LABEL_FILE:
            choose_prior([], folder)
        if name == tables.TEST_SERIES_FILE:
            assert tables.list_test_studies(folder)
    finally:
        os.unlink(path)
    return "read"


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a small cohort, ten rows of each."""
    root = write_cohort(tmp_path_factory.mktemp("cohort") / "data")
    sample = (root / tables.SAMPLE_FILE).read_text().splitlines()[:26]
    (root / "submission.csv").write_text("\n".join(sample) + "\n")
    labels = tables.read_labels(root / tables.LABEL_FILE)
    folds.make_folds(labels).to_csv(root / "folds.csv", index=False)
    for name in (tables.POINT_FILE, tables.SAMPLE_FILE):
        lines = (root / name).read_text().splitlines()[:11]
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def report(record: Record, what: str, found: Found) -> None:
    """Record the figures, and fail on any fault."""
    record(f"mutated {what}", found.outcomes.total())
    record("read", found.outcomes["read"])
    record("refused", found.outcomes["refused"])
    record("faults", len(found.faults))
    record("most seconds for one", round(found.slowest_s, 3))
    record("most MiB that a process grew by", round(found.grown_mib, 1))
    assert found.faults == []
    assert found.outcomes["read"] > 0  # or the mutants were not tried
    assert found.outcomes["refused"] > 0
    assert found.slowest_s < CASE_LIMIT_S
    assert found.grown_mib < GROWTH_MIB


def test_a_mutated_dicom_file_is_refused_or_read(
    tmp_path: Path, record_property: Record
) -> None:
    found = read_all(dicom_reader, tmp_path, DICOM_CASES)
    report(record_property, "DICOM files", found)


def test_a_mutated_table_is_refused_or_keeps_its_schema(
    tmp_path: Path, competition: Path, record_property: Record
) -> None:
    found = read_all(partial(csv_reader, competition), tmp_path, CSV_CASES)
    report(record_property, "CSVs", found)


CELL = st.one_of(st.sampled_from(CELLS), st.text(max_size=8), st.integers().map(str))


@pytest.mark.parametrize("name", [tables.POINT_FILE, tables.TEST_SERIES_FILE])
def test_any_cells_are_refused_or_keep_their_schema(
    tmp_path: Path, name: str, record_property: Record
) -> None:
    read, check = READERS[name]
    path = tmp_path / name
    declared = tables.POINT_COLUMNS if name == tables.POINT_FILE else None
    header = list(declared or tables.SERIES_COLUMNS)
    outcomes = {"read": 0, "refused": 0}
    sound = {
        **dict.fromkeys(
            ("study_id", "series_id", "instance_number"), st.integers(0, 99)
        ),
        **{"condition": st.sampled_from(CONDITIONS), "level": st.sampled_from(LEVELS)},
        **dict.fromkeys("xy", st.floats(allow_nan=False, allow_infinity=False)),
        "series_description": st.sampled_from(SERIES_DESCRIPTIONS),
    }
    whole = st.tuples(*(sound[column].map(str) for column in header))
    row = st.one_of(whole, st.tuples(*(CELL | sound[name].map(str) for name in header)))

    @settings(
        max_examples=TABLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(row, max_size=3), st.sampled_from(("\n", "\r\n", "\r")))
    def holds(rows: list[tuple[str, ...]], end: str) -> None:
        text = end.join(",".join(cells) for cells in [header, *rows])
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            check(read(path))
        except UserError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1

    holds()
    record_property("CSVs drawn by hypothesis", sum(outcomes.values()))
    record_property("read", outcomes["read"])
    record_property("refused", outcomes["refused"])
    assert min(outcomes.values()) > 0


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_a_header_of_sixty_thousand_pixels_a_side_allocates_nothing(
    tmp_path: Path, syntax: UID | None, record_property: Record
) -> None:
    dataset = _slice(np.zeros((SIDE, SIDE), "u2"))
    if syntax:
        dataset.compress(syntax)
    dataset.Rows = dataset.Columns = HUGE
    path = tmp_path / "1.dcm"
    path.write_bytes(_bytes(dataset, syntax or ExplicitVRLittleEndian))
    with pytest.raises(DicomError):
        read_pixels(path)  # once for what is allocated at the first call
    tracemalloc.start()
    with pytest.raises(DicomError):
        read_pixels(path)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    name = f"most MiB allocated for a header of {HUGE:,} x {HUGE:,} px"
    record_property(name, round(peak_mib, 3))
    assert peak_mib < 8

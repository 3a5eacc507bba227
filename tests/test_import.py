"""Any folder of DICOM files becomes a test set that is read as the source would be."""

import base64
import os
import re
import shutil
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from fake_classifiers import ByPixels, fixed
from fake_locator import Bright
from planted import MARKS, plant
from pydicom import dcmread
from scattered import scatter
from synthetic_study import OFFSETS, STEPS

import input_prep
import predict_submission
from src.cache.data_check import check_download
from src.cache.import_folder import ImportResult, import_folder
from src.classification.calibration import IDENTITY
from src.competition.constants import CONDITIONS
from src.competition.prior import uniform
from src.competition.tables import read_test_series
from src.errors import UserError
from src.imaging.dicom import read_header, read_pixels
from src.imaging.overview import SLICE_COLUMNS, Overview
from src.inference.findings import prior_findings
from src.inference.pipeline import StudyPipeline
from src.inference.predict_studies import OutputFiles, predict_all_studies
from src.inference.study import read_study
from src.localization.spine_prior import read_canal_offsets, read_level_spacing


@pytest.fixture(scope="module")
def types(phantom: Path) -> dict[int, str]:
    """The type of each of the phantom's series."""
    tables = [pd.read_csv(phantom / f"{s}_series_descriptions.csv") for s in SPLITS]
    rows = pd.concat(tables)
    return dict(zip(rows["series_id"], rows["series_description"], strict=True))


SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def folder(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's test study and a training study scattered, with names planted."""
    root = tmp_path_factory.mktemp("source")
    chosen = tmp_path_factory.mktemp("chosen")
    training = sorted((phantom / "train_images").iterdir())[0]
    for study in [training, *(phantom / "test_images").iterdir()]:
        (chosen / study.name).symlink_to(study)
    found = scatter(chosen, root)
    pd.DataFrame(found.items(), columns=["file", "origin"]).to_csv(
        chosen / "origin.csv", index=False
    )
    (root / "origin").symlink_to(chosen)  # a link to a folder, not to be followed
    return root


@pytest.fixture(scope="module")
def imported(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ImportResult]:
    data = tmp_path_factory.mktemp("imported") / "data"
    return data, import_folder(folder, data)


def origins(folder: Path) -> pd.DataFrame:
    """Where each scattered file came from."""
    return pd.read_csv(folder / "origin" / "origin.csv")


def written(data: Path, row: Mapping[Hashable, object]) -> Path:
    """Where a row of import.csv says that a slice is."""
    ids = (row[name] for name in ("study_id", "series_id", "instance_number"))
    study, series, number = (int(str(value).removesuffix(".0")) for value in ids)
    return data / "test_images" / str(study) / str(series) / f"{number}.dcm"


def contents(root: Path) -> dict[str, bytes]:
    """All files by their path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_each_slice_has_the_pixels_and_the_place_of_its_source(
    folder: Path, imported: tuple[Path, ImportResult]
) -> None:
    data, _ = imported
    table = pd.read_csv(data / "import.csv").merge(origins(folder), on="file")
    assert len(table) == len(origins(folder))
    assert table["reason"].isna().all()
    for row in table.to_dict("records"):
        new, old = written(data, row), Path(str(row["origin"]))
        assert new.stem == old.stem
        np.testing.assert_array_equal(read_pixels(new), read_pixels(old))
        here, there = read_header(new).geometry, read_header(old).geometry
        np.testing.assert_array_equal(here.position_mm, there.position_mm)
        np.testing.assert_array_equal(here.axes, there.axes)
        assert here.spacing_mm == there.spacing_mm


def test_series_keep_together_and_have_the_types_of_their_source(
    folder: Path, imported: tuple[Path, ImportResult], types: dict[int, str]
) -> None:
    table = imported[1].files.merge(origins(folder), on="file")
    series = table["origin"].map(lambda path: int(Path(path).parent.name))
    assert (table["series_description"] == series.map(types)).all()
    pairs = set(zip(table["series_id"], series, strict=True))
    assert len(pairs) == series.nunique() == table["series_id"].nunique()


def test_a_study_is_read_as_in_the_layout_of_the_competition(
    folder: Path, imported: tuple[Path, ImportResult], phantom: Path
) -> None:
    data, result = imported
    table = result.files.merge(origins(folder), on="file")
    listed = pd.read_csv(phantom / "test_series_descriptions.csv")
    study = int(listed["study_id"].iloc[0])
    rows = table[table["origin"].str.contains(f"/{study}/")]
    new = int(rows["study_id"].iloc[0])
    rows_of = read_test_series(data)
    ours = read_study(
        data / "test_images" / str(new), rows_of[rows_of["study_id"] == new]
    )
    theirs = read_study(phantom / "test_images" / str(study), listed)
    assert ours.overviews.keys() == theirs.overviews.keys()
    assert (ours.read_errors, ours.notes) == (theirs.read_errors, {})
    for name, view in ours.overviews.items():
        # Series of one type are joined in the order of their rows, which is free.
        mine, other = hashes(view), hashes(theirs.overviews[name])
        assert sorted(mine) == sorted(other)
        np.testing.assert_array_equal(
            view.slices.drop(columns="series_id").sort_values(PLACE).to_numpy(),
            theirs.overviews[name]
            .slices.drop(columns="series_id")
            .sort_values(PLACE)
            .to_numpy(),
        )


WIDE_MM = 300.0  # deviation of a site, so that a random peak is believed
WEIGHTS = Path(__file__).parents[1] / "weights"
PICTURE = re.compile(rb"base64,([A-Za-z0-9+/=]+)")
PLACE = list(SLICE_COLUMNS[9:12])  # of the first pixel


def hashes(view: Overview) -> list[int]:
    """Hash the images of an overview."""
    return [hash(view.images[i].tobytes()) for i in range(len(view))]


def test_a_study_is_predicted_as_in_the_layout_of_the_competition(
    folder: Path, imported: tuple[Path, ImportResult], phantom: Path, tmp_path: Path
) -> None:
    data, result = imported
    tables = [pd.read_csv(phantom / f"{s}_series_descriptions.csv") for s in SPLITS]
    theirs = predicted(folder / "origin", pd.concat(tables), tmp_path / "theirs")
    ours = predicted(data / "test_images", read_test_series(data), tmp_path / "ours")
    assert (theirs["source"] != "prior").mean() > 0.8
    assert theirs["severe"].nunique() > 20
    rows = result.files.merge(origins(folder), on="file")
    parts = rows["origin"].map(lambda path: Path(path).parts[-3:])
    rows["study"], rows["series"] = (parts.str[n].astype(int) for n in (0, 1))
    rows["number"] = parts.str[2].str.removesuffix(".dcm").astype(int)
    study_of = rows.drop_duplicates("study_id").set_index("study_id")["study"]
    ours["study_id"] = ours["study_id"].map(study_of)
    place = ours[["series_id", "instance_number"]].merge(
        rows[["series_id", "instance_number", "series", "number"]], "left"
    )
    ours["series_id"], ours["instance_number"] = place["series"], place["number"]
    key = ["study_id", "condition", "level"]
    pd.testing.assert_frame_equal(
        ours.astype(theirs.dtypes).sort_values(key, ignore_index=True),
        theirs.sort_values(key, ignore_index=True),
    )


def predicted(images: Path, listed: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Predict the listed studies that are there, by networks without training."""
    studies = sorted(int(path.name) for path in images.iterdir() if path.is_dir())
    offsets = [{**row, "sd_mm": [WIDE_MM] * 3} for row in OFFSETS]
    spacing = [{**row, "sd_mm": WIDE_MM} for row in STEPS]
    pipeline = StudyPipeline(
        locators=[Bright()],
        canal_offsets=read_canal_offsets(offsets),
        level_spacing=read_level_spacing(spacing),
        severity_models=[fixed(ByPixels())],
        condition_models=[fixed(ByPixels(len(CONDITIONS)), "condition")],
        calibration=IDENTITY,
    )
    prior = prior_findings(studies, uniform(), "not read yet")
    outputs = OutputFiles(out / "submission.csv", out / "findings.csv")
    outputs.write(prior)
    return predict_all_studies(prior, images, listed, pipeline, outputs, np.inf)


def test_nothing_of_the_source_is_written_or_shown(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data, check = tmp_path / "data", tmp_path / "check"
    (folder / "notes.txt").write_text(MARKS[0])
    run(monkeypatch, "--import", folder, "--data", data, "--workers", 1)
    run(monkeypatch, "--check", "--data", data, "--cache", check, "--workers", 1)
    (folder / "notes.txt").unlink()
    printed = capfd.readouterr()
    shown = (printed.out + printed.err).replace(str(tmp_path), "").encode()
    files = {**contents(tmp_path), "the screen": shown}
    table = pd.read_csv(data / "import.csv")
    assert table["file"].str.contains(MARKS[0]).any()
    files["data/import.csv"] = table.drop(columns="file").to_csv().encode()
    require_no_marks(files)


def require_no_marks(files: Mapping[str, bytes]) -> None:
    """Demand that no planted text is in files, nor in pictures in them."""
    for name, content in files.items():
        pictures = [base64.b64decode(found) for found in PICTURE.findall(content)]
        text = PICTURE.sub(b"", content)
        for mark in MARKS:
            assert mark.lower().encode() not in text.lower(), (name, mark)
            assert not any(mark.encode() in part for part in pictures), (name, mark)


def run(
    monkeypatch: pytest.MonkeyPatch, *words: object, script: ModuleType = input_prep
) -> None:
    """Run a script."""
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, words)])
    script.main()


@pytest.mark.slow
def test_no_page_or_finding_of_a_prediction_tells_of_the_source(
    imported: tuple[Path, ImportResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    flags = ("--data", imported[0], "--runs", WEIGHTS, "--report", tmp_path / "pages")
    out = ("--out", tmp_path / "submission.csv")
    run(monkeypatch, *flags, *out, script=predict_submission)
    printed = capfd.readouterr()
    shown = (printed.out + printed.err).replace(str(tmp_path), "").encode()
    files = contents(tmp_path)
    assert {"submission.csv", "findings.csv", "pages/index.html"} < files.keys()
    assert sum(b"base64," in content for content in files.values()) == 2  # of studies
    require_no_marks({**files, "the screen": shown})


def test_an_import_is_resumed_and_written_once(
    folder: Path, imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    expected = contents(imported[0])
    data = shutil.copytree(imported[0], tmp_path / "data")
    for name in ("import.csv", "test_series_descriptions.csv"):
        (data / name).unlink()
    slices = sorted((data / "test_images").rglob("*.dcm"))
    for path in slices[::3]:
        path.unlink()
    stray = slices[0].with_name(".1.dcm.99.tmp.dcm")
    stray.write_bytes(b"half a slice")
    before = {path: path.stat().st_mtime_ns for path in slices if path.exists()}
    import_folder(folder, data)
    assert contents(data) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_folders_are_refused(
    folder: Path, phantom: Path, imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_bytes(b"something")
    with pytest.raises(UserError, match="import of another folder"):
        import_folder(other, imported[0])
    with pytest.raises(UserError, match="holds no import but other files"):
        import_folder(folder, phantom)
    with pytest.raises(UserError, match="lie in one another"):
        import_folder(folder, folder / "data")
    with pytest.raises(UserError, match="--import names no folder"):
        import_folder(tmp_path / "absent", tmp_path / "data")


def test_files_added_later_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"no DICOM")
    with pytest.raises(UserError, match="None of 1 files"):
        import_folder(source, tmp_path / "data")
    (source / "b").write_bytes(b"no DICOM")
    with pytest.raises(UserError, match="with other files in it"):
        import_folder(source, tmp_path / "data")


def test_the_check_finds_no_fault_of_the_import(
    imported: tuple[Path, ImportResult],
) -> None:
    found = check_download(imported[0], pixels=True).findings
    data_own = {"several series of one type", "study lacks a series type"}
    data_own |= {"several image sizes", "tag absent"}
    assert set(found["what"]) <= data_own, found.to_string()


def corrected(data: Path, path: Path, **changes: str | int) -> pd.DataFrame:
    """Write series_types.csv with a change to its first row of Sagittal T1."""
    table = pd.read_csv(data / "series_types.csv", keep_default_na=False)
    row = table.index[table["series_description"] == "Sagittal T1"][0]
    for name, value in changes.items():
        table[name] = table[name].astype(object)
        table.loc[row, name] = value
    table.to_csv(path, index=False)
    return table.loc[[row]]


def test_a_correction_wins_over_the_times_of_the_header(
    folder: Path, imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    data = shutil.copytree(imported[0], tmp_path / "data")
    file = tmp_path / "types.csv"
    row = corrected(data, file, series_description="Sagittal T2/STIR")
    import_folder(folder, data, file)
    study, series = (int(row[name].iloc[0]) for name in ("study_id", "series_id"))
    listed = read_test_series(data)
    found = read_study(
        data / "test_images" / str(study), listed[listed["study_id"] == study]
    )
    assert series in set(found.overviews["Sagittal T2/STIR"].slices["series_id"])
    assert "Sagittal T1" not in found.overviews
    assert found.notes == {}
    once = contents(data)
    import_folder(folder, data)  # a correction is kept
    assert contents(data) == once
    import_folder(folder, tmp_path / "fresh", file)
    assert contents(tmp_path / "fresh") == once
    corrected(imported[0], file)
    import_folder(folder, data, file)  # and taken back by the first types
    assert contents(data) == contents(imported[0])


def test_a_series_without_a_description_is_left_out(
    folder: Path, imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    data = shutil.copytree(imported[0], tmp_path / "data")
    row = corrected(imported[0], tmp_path / "types.csv", series_description="")
    result = import_folder(folder, data, tmp_path / "types.csv")
    series = int(row["series_id"].iloc[0])
    assert series not in set(read_test_series(data)["series_id"])
    assert series not in set(result.files["series_id"].dropna())
    assert (result.files["reason"] == "left out by --series-types").sum() > 0
    assert not list(data.glob(f"test_images/*/{series}"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"series_description": "Axial T2"}, "has sagittal slices"),
        ({"series_description": "Coronal T9"}, "is not one of"),
        ({"series_id": 987654}, "is no series of this import"),
    ],
)
def test_a_correction_that_cannot_be_is_refused(
    folder: Path,
    imported: tuple[Path, ImportResult],
    tmp_path: Path,
    changes: dict[str, str | int],
    reason: str,
) -> None:
    corrected(imported[0], tmp_path / "types.csv", **changes)
    before = contents(imported[0])
    with pytest.raises(UserError, match=reason):
        import_folder(folder, imported[0], tmp_path / "types.csv")
    assert contents(imported[0]) == before


def test_a_correction_needs_its_columns(
    folder: Path, imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    file = tmp_path / "types.csv"
    file.write_text("study_id,series_description\n1,Axial T2\n")
    with pytest.raises(UserError, match="no column 'series_id'"):
        import_folder(folder, imported[0], file)


def test_the_names_of_files_reach_no_kit(
    imported: tuple[Path, ImportResult], tmp_path: Path
) -> None:
    from src.kaggle.kit import stage_kit

    run = shutil.copytree(imported[0], tmp_path / "runs" / "a-run")
    for name in ("config.json", "weights.safetensors"):
        (run / name).write_text("{}")
    shutil.copy(run / "import.csv", tmp_path / "runs" / "import.csv")
    stage_kit(tmp_path / "runs", tmp_path / "kit")
    staged = contents(tmp_path / "kit")
    assert "runs/a-run/config.json" in staged
    assert not [name for name in staged if name.endswith("import.csv")]
    assert not [name for name, held in staged.items() if MARKS[0].encode() in held]


@pytest.mark.skipif("LUMBAR_DATA" not in os.environ, reason="no real cohort is named")
def test_real_series_scattered_are_found_again(tmp_path: Path) -> None:
    images = Path(os.environ["LUMBAR_DATA"]) / "train_images"
    source = tmp_path / "source"
    for index, path in enumerate(sorted(images.glob("*/*/*.dcm"))):
        target = source / str(index % 7) / f"{index * 7919 % 100003:06d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    result = import_folder(source, tmp_path / "data")
    assert (result.types["series_description"] == "Sagittal T2/STIR").all()
    assert len(result.types) == len(list(images.glob("*/*")))
    assert result.files["reason"].eq("").all()
    row = result.files.iloc[0]
    new, old = written(tmp_path / "data", row.to_dict()), source / row["file"]
    assert dcmread(new).PixelData == dcmread(old).PixelData


def test_planting_fills_what_the_import_reads() -> None:
    from dicom_files import plane, slice_dataset

    held = plant(slice_dataset(np.ones((4, 4), "u2"), plane((0, 0, 0))))
    assert held.SeriesDescription.startswith(MARKS[0])
    assert held.StudyInstanceUID.startswith(MARKS[2])

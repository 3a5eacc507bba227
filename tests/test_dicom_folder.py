"""What a folder's files are: slices, frames, copies, parts of series, and junk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, plane, slice_dataset, write_dataset
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from src.cache.import_folder import import_folder
from src.errors import UserError
from src.imaging.dicom import read_header, read_pixels

T1, T2 = (10, 550), (100, 3500)
COUNT = 8


def picture(number: int) -> np.ndarray:
    """Draw a slice of its own."""
    return np.random.default_rng(number).integers(0, 4000, (12, 10), "u2")


def mr(number: int, axes: Any = SAGITTAL, times: Any = T2, **tags: Any) -> Dataset:
    """Make slice `number` of a series, 4 mm behind the one before."""
    step = 4.0 * number * np.cross(*np.array(axes, float))
    usual = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "SOPInstanceUID": f"1.2.3.1.{number}",
        "InstanceNumber": number + 1,
        "EchoTime": times[0],
        "RepetitionTime": times[1],
        "ScanningSequence": "SE",
        "BitsStored": 12,
    }
    return slice_dataset(picture(number), plane(tuple(step), axes), **(usual | tags))


def write_all(root: Path, datasets: list[Dataset], prefix: str = "s") -> Path:
    """Write datasets under names without endings."""
    for index, dataset in enumerate(datasets):
        write_dataset(dataset, root / prefix / f"{index:03d}")
    return root


def reason_of(table: pd.DataFrame, name: str) -> str:
    """Return the reason of one file, which must have one row."""
    (reason,) = table.loc[table["file"] == name, "reason"]
    return str(reason)


def slices_of(data: Path) -> dict[str, list[int]]:
    """List the instance numbers by series."""
    found = sorted(data.glob("test_images/*/*/*.dcm"))
    return {
        path.parent.name: sorted(int(p.stem) for p in path.parent.iterdir())
        for path in found
    }


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    ],
)
def test_any_syntax_is_read(syntax: Any, tmp_path: Path) -> None:
    for number in range(COUNT):
        write_dataset(mr(number), tmp_path / "in" / f"x{number}", syntax)
    import_folder(tmp_path / "in", tmp_path / "out")
    folder = next((tmp_path / "out").glob("test_images/*/*"))
    for number in range(COUNT):
        found = read_pixels(folder / f"{number + 1}.dcm")
        np.testing.assert_array_equal(found, picture(number))
    held = read_header(folder / "1.dcm").file
    assert held is not None
    # Behind runs, and in bits that hold no pixel, texts could lie: they are decoded.
    assert held.syntax == ExplicitVRLittleEndian


def test_files_without_preamble_or_meta_are_read(tmp_path: Path) -> None:
    write_all(tmp_path / "in", [mr(number) for number in range(COUNT)])
    for path in (tmp_path / "in" / "s").iterdir():
        path.write_bytes(path.read_bytes()[132:])
    result = import_folder(tmp_path / "in", tmp_path / "out")
    assert result.types["slices"].tolist() == [COUNT]


def enhanced(**tags: Any) -> Dataset:
    """Put COUNT slices into one file, as PS3.3 C.8.13 has them; tags: set last."""
    whole = mr(0)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(whole, name)
    for name in ("EchoTime", "RepetitionTime", "ScanningSequence"):
        delattr(whole, name)
    whole.SOPClassUID, whole.NumberOfFrames = EnhancedMRImageStorage, COUNT
    whole.EchoPulseSequence = "SPIN"
    shared = Dataset()
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = ["0.5", "0.75"]
    shared.MRTimingAndRelatedParametersSequence = [Dataset()]
    shared.MRTimingAndRelatedParametersSequence[0].RepetitionTime = "3500"
    groups = []
    for number in range(COUNT):
        group, source = Dataset(), mr(number)
        group.PlanePositionSequence = [Dataset()]
        group.PlanePositionSequence[
            0
        ].ImagePositionPatient = source.ImagePositionPatient
        group.PlaneOrientationSequence = [Dataset()]
        group.PlaneOrientationSequence[
            0
        ].ImageOrientationPatient = source.ImageOrientationPatient
        group.MREchoSequence = [Dataset()]
        group.MREchoSequence[0].EffectiveEchoTime = 100.0
        groups.append(group)
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = groups
    whole.PixelData = b"".join(picture(number).tobytes() for number in range(COUNT))
    for name, value in tags.items():
        setattr(whole, name, value)
    return whole


@pytest.mark.parametrize("compressed", [False, True])
def test_enhanced_frames_become_files(compressed: bool, tmp_path: Path) -> None:
    whole = enhanced()
    if compressed:
        whole.compress(RLELossless)
        (tmp_path / "in").mkdir()
        whole.save_as(tmp_path / "in" / "e", enforce_file_format=True)
    else:
        write_dataset(whole, tmp_path / "in" / "e")
    result = import_folder(tmp_path / "in", tmp_path / "out")
    assert result.types["series_description"].tolist() == ["Sagittal T2/STIR"]
    assert result.types[["echo_ms", "repetition_ms"]].to_numpy().tolist() == [
        [100, 3500]
    ]
    assert result.files["file"].tolist() == ["e"] * COUNT
    folder = next((tmp_path / "out").glob("test_images/*/*"))
    for number in range(COUNT):
        path = folder / f"{number + 1}.dcm"
        np.testing.assert_array_equal(read_pixels(path), picture(number))
        geometry = read_header(path).geometry
        assert geometry.spacing_mm == (0.75, 0.5)
        np.testing.assert_allclose(geometry.position_mm[0], -4.0 * number)


def test_frames_without_their_own_geometry_are_left_out(tmp_path: Path) -> None:
    frames = enhanced()
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        delattr(frames, name)
    write_dataset(frames, tmp_path / "in" / "e")
    with pytest.raises(UserError, match=f"holds {COUNT} frames by its NumberOfFrames"):
        import_folder(tmp_path / "in", tmp_path / "out")


def test_echoes_of_one_series_are_parted(tmp_path: Path) -> None:
    first = [mr(n, times=(30, 3500)) for n in range(COUNT)]
    second = [
        mr(n, times=(100, 3500), SOPInstanceUID=f"1.9.{n}", InstanceNumber=50 + n)
        for n in range(COUNT)
    ]
    write_all(tmp_path / "in", [*first, *second])
    types = import_folder(tmp_path / "in", tmp_path / "out").types
    assert sorted(types["echo_ms"]) == [30, 100]
    late = types.set_index("echo_ms").loc[100]
    assert late["series_description"] == "Sagittal T2/STIR"
    assert slices_of(tmp_path / "out")[str(late["series_id"])] == [*range(50, 58)]


def test_planes_and_stations_of_one_series_are_parted(tmp_path: Path) -> None:
    sagittal = [mr(n) for n in range(COUNT)]
    axial = [
        mr(n, AXIAL, SOPInstanceUID=f"1.8.{n}", InstanceNumber=40 + n)
        for n in range(COUNT)
    ]
    elsewhere = [
        mr(n, SOPInstanceUID=f"1.7.{n}", FrameOfReferenceUID="1.5")
        for n in range(COUNT)
    ]
    write_all(tmp_path / "in", [*sagittal, *axial, *elsewhere])
    types = import_folder(tmp_path / "in", tmp_path / "out").types
    assert sorted(types["series_description"]) == [
        *("Axial T2", "Sagittal T2/STIR", "Sagittal T2/STIR")
    ]
    assert types["slices"].tolist() == [COUNT] * 3


def test_blocks_angled_along_the_discs_stay_one_series(tmp_path: Path) -> None:
    datasets = []
    for block, degrees in enumerate((-15, 0, 12, 25, 38)):
        turn = np.radians(degrees)
        axes = ((1, 0, 0), (0, np.cos(turn), np.sin(turn)))
        for step in range(6):
            number = 6 * block + step
            place = plane((0, 0, -35.0 * block - 4 * step), axes)
            made = mr(number, AXIAL)
            made.ImagePositionPatient = place.position_mm.tolist()
            made.ImageOrientationPatient = [f"{v:.6f}" for v in place.axes.ravel()]
            datasets.append(made)
    write_all(tmp_path / "in", datasets)
    types = import_folder(tmp_path / "in", tmp_path / "out").types
    assert types[["series_description", "slices"]].to_numpy().tolist() == [
        ["Axial T2", 30]
    ]


def test_unusable_instance_numbers_are_replaced(tmp_path: Path) -> None:
    held = [mr(n, InstanceNumber=7) for n in range(COUNT)]
    write_all(tmp_path / "in", held)
    import_folder(tmp_path / "in", tmp_path / "out")
    assert list(slices_of(tmp_path / "out").values()) == [[*range(1, COUNT + 1)]]


def test_a_time_series_is_left_out(tmp_path: Path) -> None:
    held = [
        mr(n, SOPInstanceUID=f"1.6.{t}.{n}", InstanceNumber=100 * t + n + 1)
        for t in range(3)
        for n in range(COUNT)
    ]
    for dataset, number in zip(held, range(99), strict=False):
        dataset.PixelData = picture(number).tobytes()
    write_all(tmp_path / "in", held)
    with pytest.raises(UserError, match="several images of each position"):
        import_folder(tmp_path / "in", tmp_path / "out")


def test_copies_are_kept_once(tmp_path: Path) -> None:
    write_all(tmp_path / "in", [mr(n) for n in range(COUNT)])
    write_dataset(mr(2), tmp_path / "in" / "z" / "again")
    # Another file of another UID with the same picture at the same place.
    write_dataset(mr(3, SOPInstanceUID="1.6.6"), tmp_path / "in" / "z" / "resent")
    table = import_folder(tmp_path / "in", tmp_path / "out").files
    assert "is a copy" in reason_of(table, "z/again")
    assert "is a copy" in reason_of(table, "z/resent")
    assert table["study_id"].notna().sum() == COUNT
    assert list(slices_of(tmp_path / "out").values()) == [[*range(1, COUNT + 1)]]


JUNK: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "scan.pdf": (lambda p: p.write_bytes(b"%PDF-1.4"), "is a PDF"),
    "all.zip": (lambda p: p.write_bytes(b"PK\x03\x04xx"), "unpack it"),
    "a.jpg": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0"), "JPEG picture"),
    "text": (lambda p: p.write_text("hello"), "is no DICOM file"),
    ".DS_Store": (lambda p: p.write_text("x"), "operating system"),
    "lost": (lambda p: p.symlink_to("nowhere"), "link to nothing"),
    "loop": (lambda p: p.symlink_to("."), "link to a folder"),
    "pipe": (lambda p: os.mkfifo(p), "no regular file"),
    "ct": (
        lambda p: write_dataset(
            mr(0, SOPClassUID=CTImageStorage, Modality="CT", SOPInstanceUID="1.1"), p
        ),
        "is no MR image (CT Image Storage)",
    ),
    "capture": (
        lambda p: write_dataset(mr(0, SOPClassUID=SecondaryCaptureImageStorage), p),
        "Secondary Capture",
    ),
    "burned": (
        lambda p: write_dataset(mr(0, BurnedInAnnotation="YES"), p),
        "text burnt into its pixels",
    ),
    "colour": (
        lambda p: write_dataset(mr(0, PhotometricInterpretation="RGB"), p),
        "colour image",
    ),
    "unplaced": (
        lambda p: write_dataset(mr(0, ImagePositionPatient=None), p),
        "no ImagePositionPatient",
    ),
    "cut": (
        lambda p: (
            write_dataset(mr(0, SeriesInstanceUID="1.77"), p),
            p.write_bytes(p.read_bytes()[:200]),
        ),
        "",
    ),
}


def test_junk_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_all(tmp_path / "in", [mr(n) for n in range(COUNT)])
    for name, (write, _) in JUNK.items():
        write(tmp_path / "in" / name)
    table = import_folder(tmp_path / "in", tmp_path / "out").files
    for name, (_, reason) in JUNK.items():
        found = reason_of(table, name)
        assert found
        assert reason in found, name
        assert str(tmp_path) not in found
    assert table["study_id"].notna().sum() == COUNT


def test_coronals_and_localizers_are_left_out_without_ids(tmp_path: Path) -> None:
    write_all(tmp_path / "in", [mr(n) for n in range(COUNT)])
    other = {"SeriesInstanceUID": "1.2.3.2"}
    coronal = [mr(n, CORONAL, **other) for n in range(COUNT)]
    other = {"SeriesInstanceUID": "1.2.3.3"}
    planes = [
        mr(n, axes, **other) for axes in (SAGITTAL, AXIAL, CORONAL) for n in (0, 1)
    ]
    for index, held in enumerate(planes):
        held.SOPInstanceUID = f"1.4.{index}"
        held.InstanceNumber = index + 1
    write_all(tmp_path / "in", coronal, "coronal")
    write_all(tmp_path / "in", planes, "planes")
    table = import_folder(tmp_path / "in", tmp_path / "out").files
    left = table[~table["file"].str.startswith("s/")]
    assert left["study_id"].isna().all()
    assert left["series_id"].isna().all()
    assert left["reason"].ne("").all()
    assert len(slices_of(tmp_path / "out")) == 1


def test_slices_that_can_be_read_later_are_not_taken_for_others(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        write_dataset(mr(number), source / f"x{number}")
    first = (source / "x0").read_bytes()
    (source / "x0").write_bytes(bytes(len(first)))  # as a bad disk may read it
    import_folder(source, out)
    before = sorted(out.rglob("*.dcm"))
    (source / "x0").write_bytes(first)
    with pytest.raises(UserError, match="other files of --import could be read"):
        import_folder(source, out)
    assert sorted(out.rglob("*.dcm")) == before

"""Damages to the files of one series: `apply` takes its folder of 1.dcm to 5.dcm.

All files are damaged unless the name says otherwise, so that nothing of the series can
be read where its damage cannot be.
"""

import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from damage import COPED, PARTLY, REJECTED, UNCHANGED, Damage, Outcome
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, RLELossless

Change = Callable[[Path], None]
NATIVE, UNKNOWN = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"
MARKED = "1.dcm"  # which shows the right foramina of small_cohort.py
LONG_NAME = "9" * 251 + ".dcm"  # the longest that Linux allows


def files(folder: Path) -> list[Path]:
    """List a series' files."""
    return sorted(folder.glob("*.dcm"))


def each(change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of every file."""

    def apply(folder: Path) -> None:
        for path in files(folder):
            path.write_bytes(change(path.read_bytes()))

    return apply


def dataset(change: Callable[[Dataset], object]) -> Change:
    """Change every file's dataset."""

    def changed(data: bytes) -> bytes:
        held = dcmread(BytesIO(data))
        change(held)
        out = BytesIO()
        held.save_as(out)
        return out.getvalue()

    return each(changed)


def tags(**values: Any) -> Change:
    """Set tags in every file; None removes one."""

    def change(held: Dataset) -> None:
        for name, value in values.items():
            if value is None:
                del held[name]
            else:
                setattr(held, name, value)

    return dataset(change)


def text(name: str, value: str) -> Change:
    """Put text where a decimal tag's numbers stand, of the same length."""

    def changed(data: bytes) -> bytes:
        held = dcmread(BytesIO(data))
        old = "\\".join(map(str, held[name].value)).encode()
        assert old in data, name
        new = value.encode().ljust(len(old))[: len(old)]
        return data.replace(old, new, 1)

    return each(changed)


def pixels(change: Callable[[np.ndarray], np.ndarray], **more: Any) -> Change:
    """Change every file's pixels, and set tags beside."""

    def apply(held: Dataset) -> None:
        held.PixelData = change(held.pixel_array).tobytes()
        for name, value in more.items():
            setattr(held, name, value)

    return dataset(apply)


def padding(*ends: int) -> Change:
    """Name a value, or a range of values, as padding."""

    def change(held: Dataset) -> None:
        for tag, value in zip((0x00280120, 0x00280121), ends, strict=False):
            held.add_new(tag, "US", value)

    return dataset(change)


def no_jpeg(held: Dataset) -> None:
    """Claim JPEG, and hold a stream that is none."""
    held.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    held.PixelData = encapsulate([b"no JPEG at all"])


def rle_cut(held: Dataset) -> None:
    """Compress, and lose the second half of the pixels."""
    held.compress(RLELossless, encoding_plugin="pydicom")
    data = held.PixelData
    held.PixelData = data[:16] + data[16 : len(data) // 2 // 2 * 2]
    held["PixelData"].is_undefined_length = True


def first(change: Callable[[Path], object]) -> Change:
    """Replace one file that has marks: given its path, where nothing is left."""

    def apply(folder: Path) -> None:
        (folder / MARKED).unlink()
        change(folder / MARKED)

    return apply


def beside(name: str, data: bytes = b"no DICOM") -> Change:
    """Put a file beside the slices."""

    def apply(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return apply


def twin(name: str) -> Change:
    """Copy a slice to another name."""

    def apply(folder: Path) -> None:
        shutil.copy(folder / "3.dcm", folder / name)

    return apply


def of_other_series(folder: Path) -> None:
    """Put a slice of the study's next series among these."""
    other = folder.with_name(str(int(folder.name) + 1))
    shutil.copy(other / "5.dcm", folder / "8.dcm")


def only_one(folder: Path) -> None:
    """Keep one slice."""
    for path in files(folder):
        if path.name != MARKED:
            path.unlink()


def emptied(folder: Path) -> None:
    """Keep no slice."""
    for path in files(folder):
        path.unlink()


def replaced_by_file(folder: Path) -> None:
    """Put a file in the folder's place."""
    shutil.rmtree(folder)
    folder.write_bytes(b"no folder")


def loop_of_folder(folder: Path) -> None:
    """Put a link to itself in the folder's place."""
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def renamed(change: Callable[[str], str]) -> Change:
    """Rename every file."""

    def apply(folder: Path) -> None:
        for path in files(folder):
            path.rename(folder / change(path.name))

    return apply


def unlisted(name: str) -> Change:
    """Copy the series to a folder that no row lists."""

    def apply(folder: Path) -> None:
        shutil.copytree(folder, folder.with_name(name))

    return apply


def jumbled(data: bytes) -> bytes:
    """Return as many random bytes."""
    return np.random.default_rng(len(data)).bytes(len(data))


def _both(name: str, apply: Change, outcome: Outcome, **more: Any) -> Damage:
    return Damage(name, apply, prep=outcome, predict=outcome, **more)


def _lost(name: str, apply: Change, **more: Any) -> Damage:
    return _both(name, apply, REJECTED, **more)


def _right(name: str, apply: Change, **more: Any) -> Damage:
    """Let the series be read as if it were whole, or be listed: no other pixels."""
    return _both(name, apply, UNCHANGED | REJECTED, **more)


def _coped(name: str, apply: Change, **more: Any) -> Damage:
    return _both(name, apply, COPED, **more)


def _one_lost(name: str, apply: Change, **more: Any) -> Damage:
    # A prediction does not need the one slice, so nothing has to be told of it.
    return Damage(name, apply, prep=PARTLY, predict=COPED, **more)


SKEWED = ["0", "1", "0", "0", "0.7", "-0.7"]
NEEDED = (
    *("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "PixelData"),
)
USUAL = (
    "BitsAllocated",
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "HighBit"),
    *("PixelRepresentation", "SOPClassUID", "SOPInstanceUID", "Modality"),
)

DAMAGES = [
    _lost("empty files", each(lambda data: b"")),
    *(
        _lost(f"files cut to {size} bytes", each(lambda data, n=size: data[:n]))
        for size in (1, 100, 132, 140, 300, 500, 2000)
    ),
    _lost("files that lack their last 10 bytes", each(lambda data: data[:-10])),
    _lost("random bytes", each(jumbled)),
    _lost("zeros", each(lambda data: bytes(len(data)))),
    _lost("text files", each(lambda data: b"<html>404 Not Found</html>\n")),
    _lost("a preamble and nothing else", each(lambda data: bytes(128) + b"DICM")),
    _right("no preamble", each(lambda data: data[132:])),
    _right("a wrong magic word", each(lambda data: data.replace(b"DICM", b"DICX", 1))),
    _right("garbage after the end", each(lambda data: data + jumbled(data)[:999])),
    *(_lost(f"no {name}", tags(**{name: None})) for name in NEEDED),
    *(_right(f"no {name}", tags(**{name: None})) for name in USUAL),
    _lost(
        "colour images",
        pixels(
            lambda a: np.repeat(a[..., None], 3, 2).astype("u1"),
            SamplesPerPixel=3,
            PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
        ),
    ),
    _lost("palette colours", tags(PhotometricInterpretation="PALETTE COLOR")),
    _lost("two frames", pixels(lambda a: np.stack([a, a]), NumberOfFrames=2)),
    _lost("frames without number", tags(NumberOfFrames=2**31 - 1)),
    _lost("zero rows", tags(Rows=0)),
    _lost("60,000 x 60,000 pixels in the header", tags(Rows=60_000, Columns=60_000)),
    _lost("one row more than pixels", tags(Rows=65)),
    _coped("one row fewer than pixels", tags(Rows=63)),
    _lost("half of the pixels", pixels(lambda a: a[: len(a) // 2])),
    _right("twice the pixels", pixels(lambda a: np.vstack([a, a]))),
    _lost("64 bits a pixel", tags(BitsAllocated=64, BitsStored=64, HighBit=63)),
    _coped("more bits stored than allocated", tags(BitsStored=20, HighBit=19)),
    _coped("12 of 16 bits, the others set", tags(BitsStored=12, HighBit=11)),
    _lost("a spacing that is no number", text("PixelSpacing", "NaN\\NaN")),
    _lost("an infinite spacing", text("PixelSpacing", "inf\\inf")),
    _lost("a spacing of zero", tags(PixelSpacing=["0", "0"])),
    _lost("a negative spacing", tags(PixelSpacing=["-1", "-1"])),
    _lost("a spacing of a nanometre", tags(PixelSpacing=["1e-6", "1e-6"])),
    _lost("a spacing of a thousand kilometres", tags(PixelSpacing=["1e9", "1e9"])),
    _right("a spacing with decimal commas", text("PixelSpacing", "3,2\\3,2")),
    _lost("one spacing only", text("PixelSpacing", "3.2")),
    _lost("skewed axes", tags(ImageOrientationPatient=SKEWED)),
    _lost("axes of zero", tags(ImageOrientationPatient=["0"] * 6)),
    _lost("no number for a position", text("ImagePositionPatient", "nan\\nan\\nan")),
    _lost("a position of two numbers", tags(ImagePositionPatient=["1", "2"])),
    _coped("a position beyond the moon", tags(ImagePositionPatient=["1e30"] * 3)),
    _coped("all positions alike", tags(ImagePositionPatient=["1", "2", "3"])),
    _coped("a slope of zero", tags(RescaleSlope="0", RescaleIntercept="0")),
    _coped("two slopes", tags(RescaleSlope=["1", "2"])),
    _coped("an enormous slope", tags(RescaleSlope="1e300", RescaleIntercept="0")),
    _coped("padding by the least value", padding(0)),
    _coped("padding by the largest value", padding(65535)),
    _coped("padding of every value", padding(0, 65535)),
    _coped("images of one value", pixels(lambda a: a * 0 + 7)),
    _coped(
        "a border of untagged 65535",
        pixels(lambda a: np.pad(a[8:-8, 8:-8], 8, constant_values=65535)),
    ),
    _coped(
        "a border of untagged -32768",
        pixels(
            lambda a: np.pad(a[8:-8, 8:-8].astype("i2"), 8, constant_values=-32768),
            PixelRepresentation=1,
        ),
    ),
    _lost("JPEG that is none", dataset(no_jpeg)),
    _lost("RLE that is cut", dataset(rle_cut)),
    _lost(
        "an unknown transfer syntax", each(lambda data: data.replace(NATIVE, UNKNOWN))
    ),
    _right("no transfer syntax", dataset(lambda d: d.file_meta.clear())),
    # The folder and its names.
    _lost("an empty folder", emptied),
    _lost("no folder", shutil.rmtree),
    _lost("a file in place of the folder", replaced_by_file),
    _lost("a folder that links to itself", loop_of_folder),
    _lost("a folder that may not be read", lambda f: f.chmod(0), ordinary=True),
    _one_lost("one slice gone", first(lambda path: None)),
    _one_lost("all slices gone but one", only_one),
    _one_lost("a folder in place of a file", first(Path.mkdir)),
    _one_lost("a file that links to itself", first(lambda p: p.symlink_to(p))),
    _one_lost("a file that links nowhere", first(lambda p: p.symlink_to("gone"))),
    _one_lost("a pipe in place of a file", first(os.mkfifo)),
    _one_lost(
        "a file that may not be read",
        lambda folder: (folder / MARKED).chmod(0),
        ordinary=True,
    ),
    _both("hidden files", beside("._1.dcm"), UNCHANGED),
    _both(".DS_Store", beside(".DS_Store"), UNCHANGED),
    _coped("a text file beside the slices", beside("notes.txt")),
    _coped("a file named in Unicode", twin("Wirbelsäule-脊柱-🦴.dcm")),
    _coped("a file name that is no UTF-8", twin(os.fsdecode(b"\xff\xfe.dcm"))),
    _coped("a file name of 255 characters", twin(LONG_NAME)),
    _coped("a file name with a line break", twin("3\nx.dcm")),
    _coped("a file name with a terminal's escape", twin("\x1b[31mred.dcm")),
    _coped("a file numbered in other digits", twin("٣.dcm")),
    _coped("a file numbered with a leading zero", twin("03.dcm")),
    _coped("one slice twice", twin("99.dcm")),
    _coped("a slice of another series", of_other_series),
    _coped("a loop of links beside the slices", lambda f: (f / "up").symlink_to(f)),
    _right("capital endings", renamed(str.upper)),
    Damage("a folder of no row", unlisted("9999"), UNCHANGED, predict=UNCHANGED),
    Damage("a folder in other digits", unlisted("٩٩"), UNCHANGED, predict=UNCHANGED),
    Damage(
        "a folder number of 40 digits",
        unlisted("9" * 40),
        prep=UNCHANGED,
        predict=UNCHANGED,
    ),
]

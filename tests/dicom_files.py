"""MR slices as DICOM files, made in the test that reads them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from src.imaging.geometry import SliceGeometry

# Columns and rows of a picture as it is shown: a sagittal one has the front on the
# left, an axial one the patient's right on the left; both have the head or front up.
SAGITTAL = ((0, 1, 0), (0, 0, -1))
AXIAL = ((1, 0, 0), (0, 1, 0))
CORONAL = ((1, 0, 0), (0, 0, -1))


def plane(
    position_mm: Sequence[float],
    axes: Sequence[Sequence[float]] = SAGITTAL,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> SliceGeometry:
    """Make a plane from its first pixel's position and its right and down axes."""
    right, down = np.array(axes, float)
    return SliceGeometry(np.array(position_mm, float), right, down, spacing_mm)


def slice_dataset(pixels: np.ndarray, geometry: SliceGeometry, **tags: Any) -> Dataset:
    """Make a little-endian MR slice of integer pixels; a tag given as None is absent.

    Pixels are stored in their own type's bits unless BitsStored says otherwise.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = MRImageStorage
    # From the slice itself, so that a test's files are the same in every run.
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[repr(vars(geometry))])
    dataset.Modality = "MR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored = bits, tags.get("BitsStored") or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.ImagePositionPatient = _decimals(geometry.position_mm)
    dataset.ImageOrientationPatient = _decimals([*geometry.right, *geometry.down])
    dataset.PixelSpacing = _decimals(geometry.spacing_mm[::-1])
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def write_dataset(
    dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian
) -> Path:
    """Write a dataset of slice_dataset in a transfer syntax that pydicom can write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    elif not syntax.is_little_endian:
        word = f">u{dataset.BitsAllocated // 8}"
        swapped = np.frombuffer(dataset.PixelData, word[1:]).astype(word)
        dataset.PixelData = swapped.tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


# Transposed, columns flipped, rows flipped: the first is as plane() has it.
STORAGES = tuple(product((False, True), repeat=3))
Storage = tuple[bool, bool, bool]
Mapping = Callable[[float, float], tuple[float, float]]


def stored_as(
    storage: Storage, pixels: np.ndarray, geometry: SliceGeometry
) -> tuple[np.ndarray, SliceGeometry, Mapping]:
    """Store one and the same slice with its pixels in another order.

    Returns pixels, their plane, and where a point of the given pixels is among them.
    """
    transposed, flip_x, flip_y = storage
    right, down = geometry.right, geometry.down
    (dx, dy), corner = geometry.spacing_mm, geometry.position_mm
    if transposed:
        pixels, right, down, dx, dy = pixels.T, down, right, dy, dx
    rows, columns = pixels.shape
    if flip_x:
        pixels, corner, right = (
            pixels[:, ::-1],
            corner + (columns - 1) * dx * right,
            -right,
        )
    if flip_y:
        pixels, corner, down = pixels[::-1], corner + (rows - 1) * dy * down, -down

    def moved(x: float, y: float) -> tuple[float, float]:
        if transposed:
            x, y = y, x
        return columns - 1 - x if flip_x else x, rows - 1 - y if flip_y else y

    return np.ascontiguousarray(pixels), plane(corner, (right, down), (dx, dy)), moved


def write_encapsulated(
    dataset: Dataset, path: Path, syntax: UID, fragments: Sequence[bytes]
) -> Path:
    """Write a dataset whose pixels are these pieces of a compressed image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = [fragment + b"\0" * (len(fragment) % 2) for fragment in fragments]
    sizes = [len(item).to_bytes(4, "little") for item in items]
    mark = b"\xfe\xff\x00\xe0"  # an item; the first one is an empty table of offsets
    coded = [mark + size + item for size, item in zip(sizes, items, strict=True)]
    dataset.PixelData = mark + bytes(4) + b"".join(coded)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_slice(
    path: Path, pixels: np.ndarray, geometry: SliceGeometry, **tags: Any
) -> Path:
    """Write one uncompressed slice."""
    return write_dataset(slice_dataset(pixels, geometry, **tags), path)


def write_series(
    folder: Path,
    volume: Sequence[np.ndarray],
    planes: Iterable[SliceGeometry],
    instance_numbers: Iterable[int] | None = None,
) -> Path:
    """Write slices as `<instance number>.dcm`, by default 1, 2, 3, ..."""
    numbers = instance_numbers or range(1, len(volume) + 1)
    for number, pixels, geometry in zip(numbers, volume, planes, strict=True):
        write_slice(folder / f"{number}.dcm", pixels, geometry)
    return folder


def _decimals(numbers: Iterable[float]) -> list[str]:
    """Write numbers within the 16 characters of a decimal string."""
    return [f"{number:.10g}" for number in numbers]

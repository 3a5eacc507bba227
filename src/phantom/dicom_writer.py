"""Writing a phantom slice as DICOM, in one of the pixel encodings of real scanners."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, RLELossless

from src.files import replacing
from src.imaging.geometry import SliceGeometry
from src.phantom.protocol import RLE, ContrastHeader, Scan

ROOT_UID = "1.2.826.0.1.3680043.10.1474"  # ours: no real scanner's
FULL_SCALE = 1200  # the stored value of fat on T1


def write_slice(path: Path, image: np.ndarray, scan: Scan, index: int) -> None:
    """Write slice `index` of a scan: image float [rows, columns], about 0 to 1.5."""
    series, instance = int(path.parent.name), int(path.stem)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(
        f"{ROOT_UID}.{series}.{instance}"
    )
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = UID(f"{ROOT_UID}.{int(path.parents[1].name)}")
    dataset.SeriesInstanceUID = UID(f"{ROOT_UID}.{series}")
    dataset.Modality = "MR"
    dataset.InstanceNumber = instance
    _set_geometry(dataset, scan.planes[index])
    if not scan.bare:
        dataset.SliceThickness = "4"
        dataset.SpacingBetweenSlices = "4.5"
    _set_contrast(dataset, scan.header)
    _set_pixels(dataset, image, scan.encoding)
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _set_geometry(dataset: Dataset, plane: SliceGeometry) -> None:
    cosines = np.concatenate([plane.right, plane.down])
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in plane.position_mm]
    dataset.ImageOrientationPatient = [f"{value:.8f}" for value in cosines]
    columns_mm, rows_mm = plane.spacing_mm
    dataset.PixelSpacing = [f"{rows_mm:.8f}", f"{columns_mm:.8f}"]


def _set_contrast(dataset: Dataset, header: ContrastHeader) -> None:
    """Store what the header says of the contrast; what it lacks has no tag."""
    tags = {
        "SeriesDescription": header.words or None,
        "ScanningSequence": header.sequence or None,
        "EchoTime": header.echo_ms,
        "RepetitionTime": header.repetition_ms,
        "InversionTime": header.inversion_ms,
    }
    for name, value in tags.items():
        if value is not None:
            setattr(dataset, name, str(value))


def _set_pixels(dataset: Dataset, image: np.ndarray, encoding: str) -> None:
    """Store the image 12 bits deep, or in the given encoding (protocol.py)."""
    bits, signed = 12, False
    stored = np.clip(image * FULL_SCALE, 0, 4095)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if encoding == "signed":
        bits, signed, stored = 16, True, stored - 700
    elif encoding == "inverted":
        dataset.PhotometricInterpretation = "MONOCHROME1"
        stored = 4095 - stored
    elif encoding == "rescaled":
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-128"
        stored = np.clip(2 * stored, 0, 4095)
    elif encoding == "eight_bit":
        bits, stored = 8, np.clip(stored / 8, 0, 255)
    size = 8 if bits == 8 else 16
    pixels = np.rint(stored).astype(f"{'int' if signed else 'uint'}{size}")
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = size, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if size == 8 else "OW"
    if encoding == RLE:
        dataset.compress(
            RLELossless, pixels, encoding_plugin="pydicom", generate_instance_uid=False
        )

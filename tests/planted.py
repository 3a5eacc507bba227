"""Recognisable texts planted in every text-like tag of a DICOM dataset."""

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

MARK = "QZXJ"
DATE, TIME, AGE = "19470213", "031733", "077Y"
UID_ROOT = "1.2.3.19470213"  # begins each planted UID
PLANTED = {"DA": DATE, "DT": DATE + TIME, "TM": TIME, "AS": AGE}
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "CS", "UR")
# These say what the file is, and how it is read.
READ = (
    *("SpecificCharacterSet", "Modality", "PhotometricInterpretation", "SOPClassUID"),
    *("ScanningSequence", "ImageType", "BurnedInAnnotation", "TransferSyntaxUID"),
    *("MediaStorageSOPClassUID", "PixelPresentation"),
)
MARKS = (MARK, DATE, UID_ROOT)


def plant(dataset: Dataset) -> Dataset:
    """Fill every text tag of the standard, private and nested ones, and the meta.

    Behind its mark a SeriesDescription keeps its words: some series have nothing else
    that tells their type.
    """
    words = dataset.get("SeriesDescription", "")
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if not keyword or retired or keyword in READ or tag >> 16 in (0, 2, 4, 0x5600):
            continue
        vr = vr.split(" or ")[0]
        if vr in TEXTS:
            dataset.add_new(tag, vr, f"{MARK}{tag:08X}")
        elif vr in PLANTED:
            dataset.add_new(tag, vr, PLANTED[vr])
        elif vr == "UI":
            held = dataset.get(keyword)
            dataset.add_new(tag, vr, f"{UID_ROOT}.{held or tag}"[:64])
    dataset.SeriesDescription = f"{MARK} {words}"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", f"{MARK}TYPE"]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    block = dataset.private_block(0x0009, f"{MARK}CREATOR", create=True)
    block.add_new(1, "LO", f"{MARK}PRIVATE")
    nested = Dataset()
    nested.PatientName = f"{MARK}NESTED"
    dataset.RequestAttributesSequence = Sequence([nested])
    dataset.file_meta.SourceApplicationEntityTitle = f"{MARK}META"
    dataset.file_meta.PrivateInformationCreatorUID = UID(UID_ROOT)
    dataset.file_meta.PrivateInformation = MARK.encode()
    return dataset

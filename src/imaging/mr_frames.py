"""Enhanced multi-frame MR: each frame's tags as a single-frame file has them.

An enhanced file says once what all frames share, and once a frame what differs, in
sequences of functional groups (DICOM PS3.3 C.7.6.16). The flat dataset of a frame has
the tags of an ordinary MR image, without pixels.
"""

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

SHARED, PER_FRAME = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
# Of each sequence of a frame: its tag there, and the same of a single-frame file.
MOVED = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {
        "PixelSpacing": "PixelSpacing",
        "SliceThickness": "SliceThickness",
        "SpacingBetweenSlices": "SpacingBetweenSlices",
    },
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRTimingAndRelatedParametersSequence": {
        "RepetitionTime": "RepetitionTime",
        "FlipAngle": "FlipAngle",
    },
    "MRModifierSequence": {"InversionTimes": "InversionTime"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType"},
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "FrameAcquisitionNumber": "AcquisitionNumber",
    },
    "PixelValueTransformationSequence": {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
    },
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
}
SEQUENCE_OF = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "GR"}
# No longer those of one frame.
REPLACED = (SHARED, PER_FRAME, "NumberOfFrames", "PixelData")


def is_enhanced(dataset: Dataset) -> bool:
    """Return whether each frame's geometry is told."""
    return bool(dataset.get(PER_FRAME))


def frames(dataset: Dataset) -> Iterator[Dataset]:
    """Yield a flat dataset a frame of an enhanced file, without pixels."""
    shared = next(iter(dataset.get(SHARED) or []), Dataset())
    common = Dataset()
    for element in dataset:
        if element.keyword not in REPLACED:
            common.add(element)
    for number, group in enumerate(dataset[PER_FRAME].value, start=1):
        frame = Dataset()
        frame.update(common)
        for sequence, tags in MOVED.items():
            item = _item(group, shared, sequence)
            for name, plain in tags.items():
                if item.get(name) is not None:
                    setattr(frame, plain, item.get(name))
        frame.InstanceNumber = number
        frame.ScanningSequence = _scanning_sequence(dataset, group, shared)
        yield frame


def _item(group: Dataset, shared: Dataset, sequence: str) -> Dataset:
    """Return a sequence's only item, the frame's own before the shared one."""
    for holder in (group, shared):
        if items := holder.get(sequence):
            return items[0]
    return Dataset()


def _scanning_sequence(dataset: Dataset, group: Dataset, shared: Dataset) -> list[str]:
    echo: Any = SEQUENCE_OF.get(str(dataset.get("EchoPulseSequence")))
    modifier = _item(group, shared, "MRModifierSequence")
    inverted = "YES" in (
        modifier.get("InversionRecovery"),
        dataset.get("InversionRecovery"),
    )
    return [*([echo] if echo else []), *(["IR"] if inverted else [])]

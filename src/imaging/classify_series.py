"""The type of any hospital's series: by its planes, then its times, then its words.

The times win over the words, and a contradiction is told: a wrong type must not be
silent. What is none of the competition's three types is left out with the reason.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.planes import plane_of_normals
from src.imaging.series_words import PLANES, tokens_in
from src.imaging.weighting import contrast_of_times, milliseconds, sequences

Confidence = Literal["high", "medium", "low"]
TYPE_OF: dict[tuple[str, str], str] = {
    ("sagittal", "T1"): SAGITTAL_T1,
    ("sagittal", "T2"): SAGITTAL_T2,
    ("sagittal", "STIR"): SAGITTAL_T2,
    ("sagittal", "T2*"): SAGITTAL_T2,
    ("axial", "T2"): AXIAL_T2,
    ("axial", "STIR"): AXIAL_T2,
    ("axial", "T2*"): AXIAL_T2,
}
# What is left out, by a value of ImageType or a token, in the order of their weight.
# The values of ImageType and the tokens of one kind stand together.
LEFT_OUT: dict[str, tuple[set[str], set[str]]] = {
    "screen capture": ({"SCREEN SAVE", "SCREEN_SAVE"}, {"screenshot"}),
    "localizer": ({"LOCALIZER"}, {"localizer"}),
    "calibration scan": (set(), {"calibration"}),
    "diffusion image": (
        {"DIFFUSION", "ADC", "TRACEW", "TRACE", "FA", "EADC"},
        {"diffusion", "adc"},
    ),
    "parameter map": ({"T1 MAP", "T2 MAP", "T2_STAR MAP"}, {"map"}),
    "perfusion series": ({"PERFUSION"}, {"perfusion"}),
    "angiogram": ({"ANGIO"}, {"angiography"}),
    "susceptibility image": ({"SWI"}, {"susceptibility"}),
    "MR myelogram": (set(), {"myelogram"}),
    "subtraction": ({"SUBTRACTION", "SUB"}, {"subtraction"}),
    "projection": ({"PROJECTION IMAGE", "MIP", "MINIP"}, {"projection"}),
    "reformatted image": ({"MPR", "REFORMATTED", "CPR", "CSA MPR"}, {"reformat"}),
    "fat fraction": ({"FAT_FRACTION", "FF", "PDFF", "FATFRACTION"}, {"fat-fraction"}),
    "in-phase or opposed-phase Dixon image": (
        {"IN_PHASE", "OPP_PHASE", "OUT_PHASE", "OPPOSED", "IP", "OP", "INPHASE"},
        {"in-phase", "opposed-phase"},
    ),
    "fat image of a Dixon series": ({"FAT", "F"}, {"fat"}),
}
OTHER_PARTS = {"cervical", "thoracic", "whole-spine", "other-part"}
MIN_T2_STAR_ECHO_MS = 10.0


@dataclass(frozen=True, eq=False)
class SeriesEvidence:
    """What the headers of one series say of its type.

    normals: float [n, 3], of its slices; times in ms, an impossible one counts as
    missing; words: SeriesDescription, ProtocolName and SequenceName, which are looked
    up and never kept; contrast_agent: whether the header names one.
    """

    normals: np.ndarray
    echo_ms: float | None = None
    repetition_ms: float | None = None
    inversion_ms: float | None = None
    scanning_sequence: str = ""
    image_type: tuple[str, ...] = ()
    words: str = field(default="", repr=False)
    contrast_agent: bool = False


@dataclass(frozen=True)
class ClassifiedSeries:
    """A series' type.

    description: one of SERIES_DESCRIPTIONS, or None if it is left out; plane, contrast:
    empty if unknown; tokens: of series_words.VOCABULARY; reason: why it is left out, or
    what speaks against its type; empty if nothing does.
    """

    description: str | None
    confidence: Confidence
    plane: str
    contrast: str
    tokens: tuple[str, ...]
    reason: str


def classify_series(evidence: SeriesEvidence) -> ClassifiedSeries:
    """Settle the type of a series by its headers; odd values count as missing."""
    tokens = tokens_in(str(evidence.words))
    plane, plane_doubt = _plane(evidence.normals, tokens)
    contrast, confidence, doubts = _contrast(evidence, set(tokens), plane)
    doubts = [*plane_doubt, *doubts]
    excluded = _excluded(evidence, set(tokens), plane, contrast)
    if excluded:
        kind, confidence, reason = excluded
        return ClassifiedSeries(
            None, confidence, plane, kind or contrast, tokens, reason
        )
    description = TYPE_OF.get((plane, contrast))
    if description is None:
        reason = "; ".join([_no_type(plane, contrast), *doubts])
        return ClassifiedSeries(
            None, "low" if doubts else confidence, plane, contrast, tokens, reason
        )
    doubts += _doubts(evidence, set(tokens), plane, contrast)
    return ClassifiedSeries(
        description,
        "low" if doubts else confidence,
        plane,
        contrast,
        tokens,
        "; ".join(doubts),
    )


def _plane(normals: np.ndarray, tokens: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the slices' plane, and what the words say against it."""
    named = [PLANES[token] for token in tokens if token in PLANES]
    said = named[0] if len(named) == 1 else None
    plane = plane_of_normals(normals)
    if plane is None:
        if said is None:
            return "", []
        return said, [f"its slices are oblique, and only its words say {said}"]
    if said and plane in PLANES.values() and said != plane:
        return plane, [f"its slices are {plane}, but its words say {said}"]
    return plane, []


def _contrast(
    evidence: SeriesEvidence, tokens: set[str], plane: str
) -> tuple[str, Confidence, list[str]]:
    """Return the contrast, how sure it is, and what contradicts what."""
    if _is_gradient_echo(evidence, tokens):
        return _gradient_echo(evidence, tokens)
    timed = contrast_of_times(
        evidence.echo_ms,
        evidence.repetition_ms,
        evidence.inversion_ms,
        evidence.scanning_sequence,
    )
    said = _said(tokens)
    if timed is None and len(said) == 1:
        return said[0], "medium", []
    if timed is None:
        doubts = [f"its words say {' and '.join(said)}"] if said else []
        if plane == "axial" and not doubts:
            reason = "nothing tells its contrast: an axial series is taken as T2"
            return "T2", "low", [reason]
        return "", "low", doubts
    if not said:
        return timed.name, "high" if timed.sure else "medium", []
    if said == [timed.name] or {*said, timed.name} == {"T2", "STIR"}:
        return timed.name if said == ["T2"] else said[0], "high", []
    reason = f"its times say {timed.name}, but its words say {' and '.join(said)}"
    return timed.name, "low", [reason]


def _said(tokens: set[str]) -> list[str]:
    """List the contrasts that the words name; STIR is a T2, T1 FLAIR a T1."""
    said = [
        name
        for token, name in (("t1", "T1"), ("stir", "STIR"), ("pd", "PD"))
        if token in tokens
    ]
    if "t2" in tokens and "stir" not in tokens and "flair" not in tokens:
        said.append("T2")
    if "flair" in tokens and "t1" not in tokens:
        said.append("FLAIR")
    return said


def _is_gradient_echo(evidence: SeriesEvidence, tokens: set[str]) -> bool:
    codes = sequences(evidence.scanning_sequence)
    if codes & {"GR", "SE", "IR"}:
        return "GR" in codes and "EP" not in codes
    return bool(tokens & {"gradient-echo", "t2star"})


def _gradient_echo(
    evidence: SeriesEvidence, tokens: set[str]
) -> tuple[str, Confidence, list[str]]:
    """Read a gradient echo's contrast from its words, else from a long echo."""
    if tokens & {"t2", "t2star"}:
        return "T2*", "low", ["a gradient echo (T2*), not a spin echo's T2"]
    if "t1" in tokens:
        return "T1", "low", ["a gradient echo's T1, not a spin echo's"]
    if (milliseconds(evidence.echo_ms) or 0) >= MIN_T2_STAR_ECHO_MS:
        return "T2*", "low", ["a gradient echo, T2* by its long echo alone"]
    return "gradient echo", "low", []


def _excluded(
    evidence: SeriesEvidence, tokens: set[str], plane: str, contrast: str
) -> tuple[str, Confidence, str] | None:
    """Return kind, confidence and reason of a series that no network is shown."""
    values = {str(value).strip().upper() for value in evidence.image_type}
    for kind, (types, words) in LEFT_OUT.items():
        header, named = bool(types & values), bool(words & tokens)
        if header or named:
            where = " and ".join(["its ImageType"] * header + ["its words"] * named)
            return kind, "high" if header else "medium", f"{kind}, by {where}"
    if plane == "several planes":
        return "localizer", "high", "slices in several planes, as a localizer has"
    if "EP" in sequences(evidence.scanning_sequence):
        reason = "diffusion image, by its ScanningSequence (echo planar)"
        return "diffusion image", "high", reason
    if tokens & OTHER_PARTS and "lumbar" not in tokens:
        return "", "medium", "another part of the body, by its words"
    fat_free = bool(tokens & {"fatsat", "water"}) or bool(values & {"WATER", "W"})
    if contrast == "T1" and fat_free:
        return "", "medium", "T1 without the signal of fat, unlike a plain T1"
    return None


def _no_type(plane: str, contrast: str) -> str:
    """Say why plane and contrast are none of the three types."""
    if plane == "coronal":
        return "coronal slices, which none of the types has"
    if not plane:
        return "neither its slices nor its words tell its plane"
    if not contrast:
        return f"neither times nor words settle the contrast of its {plane} slices"
    return f"{plane} {contrast}, which is none of the types"


def _doubts(
    evidence: SeriesEvidence, tokens: set[str], plane: str, contrast: str
) -> list[str]:
    """List what else makes a typed series unlike the usual one of its type."""
    doubts = []
    if contrast == "T1" and (evidence.contrast_agent or "contrast-agent" in tokens):
        doubts.append("T1 after a contrast agent, taken as T1")
    if contrast == "STIR" and plane == "axial":
        doubts.append("an axial STIR, taken as T2")
    values = [str(value).strip().upper() for value in evidence.image_type]
    if values[:2] == ["DERIVED", "SECONDARY"]:
        doubts.append("its ImageType says that it was derived from other images")
    return doubts

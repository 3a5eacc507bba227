"""What a phantom series' header says of its contrast, as vendors and languages do."""

from dataclasses import replace

import numpy as np

from src.competition.constants import AXIAL_T2
from src.phantom.protocol import ContrastHeader, Scan
from src.phantom.tissue import STIR, T1, T2

# Echo and repetition times in ms of spin echoes; their ranges hold 1.5 and 3 T.
TIMES_MS = {
    T1: ((8, 14), (450, 750)),
    T2: ((90, 120), (3000, 4500)),
    STIR: ((45, 65), (3500, 5000)),
}
STIR_INVERSION_MS = (150, 220)
NO_TIMES_SHARE = 0.5  # of the bare series
# SeriesDescription of a sagittal and an axial series of a contrast {0}.
SAGITTAL_WORDS = (
    *("{0}_tse_sag_p2", "Sag {0} FRFSE", "{0}W_TSE SAG", "FSE {0} SAG"),
    *("{0} sagittal LWS", "{0} sagital columna lumbar", "coupes sagittales {0}"),
    "{0} sajital lomber",
)
AXIAL_WORDS = (
    *("{0}_tse_tra", "Ax {0} FSE", "{0}W_TSE AX", "FSE {0} AX"),
    *("{0} transversal LWS", "{0} axial lumbar", "coupes axiales {0}", "{0} aksiyel"),
)


def with_headers(scans: list[Scan], rng: np.random.Generator) -> list[Scan]:
    """Give each scan its header; rng must not be the one that draws the pictures."""
    dialect = int(rng.integers(len(SAGITTAL_WORDS)))  # one scanner's, of one study
    return [replace(scan, header=_header(scan, rng, dialect)) for scan in scans]


def _header(scan: Scan, rng: np.random.Generator, dialect: int) -> ContrastHeader:
    weighting = scan.contrast.weighting
    words = AXIAL_WORDS if scan.description == AXIAL_T2 else SAGITTAL_WORDS
    name = words[dialect].format(weighting.upper())
    echo, repetition = (int(rng.integers(*ends)) for ends in TIMES_MS[weighting])
    inversion = int(rng.integers(*STIR_INVERSION_MS)) if weighting == STIR else None
    if scan.bare and rng.random() < NO_TIMES_SHARE:
        return ContrastHeader(name)
    sequence = "IR" if weighting == STIR else "SE"
    return ContrastHeader(name, echo, repetition, inversion, sequence)

"""The contrast that a spin echo's times give: T1, T2, STIR, proton density or another.

Conservative bounds in milliseconds for 1.5 and 3 T. T1 weighting wants a short echo and
a short repetition time, or an inversion time near 1 s (T1 FLAIR); T2 weighting a long
echo and a long repetition time; STIR a short inversion time, which nulls fat; a longer
one darkens fluid (FLAIR). A gradient echo's contrast depends on its flip angle too.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

Weighting = Literal["T1", "T2", "STIR", "PD", "FLAIR", "MR myelogram"]
MAX_MS = 60_000.0  # a longer time is no time
MIN_SPIN_ECHO_REPETITION_MS = 100.0


@dataclass(frozen=True)
class TimedContrast:
    """A contrast by the times; sure: well within their bounds."""

    name: Weighting
    sure: bool = True


def contrast_of_times(
    echo: object, repetition: object, inversion: object, sequence: str = ""
) -> TimedContrast | None:
    """Return the contrast by times in ms and ScanningSequence, or None."""
    echo_ms, repetition_ms = milliseconds(echo), milliseconds(repetition)
    if echo_ms is None or repetition_ms is None or sequences(sequence) & {"GR", "EP"}:
        return None
    if repetition_ms < MIN_SPIN_ECHO_REPETITION_MS:
        return None
    inversion_ms = milliseconds(inversion)
    if inversion_ms is not None and repetition_ms >= 1500:
        return _inverted(echo_ms, inversion_ms)
    return _spin_echo(echo_ms, repetition_ms)


def _inverted(echo_ms: float, inversion_ms: float) -> TimedContrast | None:
    if 80 <= inversion_ms <= 300:
        return TimedContrast("STIR")
    if 500 <= inversion_ms <= 1300:
        return TimedContrast("T1") if echo_ms <= 40 else None
    return TimedContrast("FLAIR") if inversion_ms >= 1500 else None


def _spin_echo(echo_ms: float, repetition_ms: float) -> TimedContrast | None:
    if echo_ms >= 400:
        return TimedContrast("MR myelogram")
    if echo_ms <= 30 and repetition_ms <= 1200:
        return TimedContrast("T1")
    if echo_ms >= 60 and repetition_ms >= 1500:
        return TimedContrast("T2")
    if echo_ms <= 40 and repetition_ms < 1500:
        return TimedContrast("T1", sure=False)
    if echo_ms < 45 and repetition_ms >= 1500:
        return TimedContrast("PD", sure=echo_ms <= 40 and repetition_ms >= 2000)
    if echo_ms >= 45 and repetition_ms >= 1000:
        return TimedContrast("T2", sure=False)
    return None


def milliseconds(value: object) -> float | None:
    """Read one positive time; anything else counts as missing."""
    try:
        number = float(value or 0)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number <= MAX_MS else None


def sequences(scanning_sequence: str) -> set[str]:
    """List the codes of ScanningSequence: SE, IR, GR, EP, RM."""
    return set(re.findall(r"[A-Z]+", str(scanning_sequence).upper()))

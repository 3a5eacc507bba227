"""A study's scan protocol: its series, their planes, and quirks of real studies."""

from dataclasses import dataclass

import numpy as np

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.imaging.geometry import SliceGeometry
from src.phantom.anatomy import Anatomy
from src.phantom.scanner import Contrast, draw_contrast
from src.phantom.spine import LUMBAR_DISCS
from src.phantom.tissue import STIR, T1, T2

# Pixel encodings, assigned to the series in turn; RLE only to a few, because encoding
# it takes longer than rendering the slice.
ENCODINGS = ("plain", "signed", "inverted", "rescaled", "eight_bit")
RLE = "rle"
BELOW_LOWEST_SITE_MM = (8.0, 12.0)  # of a field without the sacrum
STIR_SHARE, ANGLED_SHARE, SPLIT_SHARE = 0.2, 0.6, 0.15


@dataclass(frozen=True)
class ContrastHeader:
    """Times in ms, None where the file lacks the tag; sequence: ScanningSequence."""

    words: str = ""
    echo_ms: int | None = None
    repetition_ms: int | None = None
    inversion_ms: int | None = None
    sequence: str = ""


@dataclass(frozen=True, eq=False)
class Scan:
    """One series to be imaged.

    planes, shapes: of each slice in the patient's order; numbers: its instance numbers,
    in any order and with gaps; encoding: how the pixels are stored; bare: without the
    optional tags SliceThickness and SpacingBetweenSlices; header: what its files say of
    its contrast.
    """

    description: str
    contrast: Contrast
    planes: list[SliceGeometry]
    shapes: list[tuple[int, int]]
    numbers: list[int]
    encoding: str
    bare: bool
    header: ContrastHeader = ContrastHeader()


def draw_scans(rng: np.random.Generator, anatomy: Anatomy, index: int) -> list[Scan]:
    """Plan a study's series; its index picks the rarer quirks, so that all occur.

    Of ten studies one lacks a series, one has slices of mixed shape, one has RLE.
    """
    t2 = STIR if rng.random() < STIR_SHARE else T2
    stacks = [
        (SAGITTAL_T1, T1, [_sagittal(rng, anatomy)]),
        (SAGITTAL_T2, t2, [_sagittal(rng, anatomy)]),
        *((AXIAL_T2, T2, parts) for parts in _axial_series(rng, anatomy)),
    ]
    if index % 10 == 7:
        stacks = [part for part in stacks if part[0] != _missing(index)]
    scans = []
    for number, (description, weighting, parts) in enumerate(stacks):
        planes = [plane for part in parts for plane in part[0]]
        shapes = [part[1] for part in parts for _ in part[0]]
        if index % 10 == 3 and description == AXIAL_T2:
            shapes[-1] = (shapes[-1][0] - 16, shapes[-1][1])
        encoding = ENCODINGS[(index + number) % len(ENCODINGS)]
        if index % 10 == 5 and number == 0:
            encoding = RLE
        scans.append(
            Scan(
                description,
                draw_contrast(rng, weighting),
                planes,
                shapes,
                _instance_numbers(rng, len(planes)),
                encoding,
                bare=rng.random() < 0.3,
            )
        )
    return scans


def _missing(index: int) -> str:
    """Return the series type that the study lacks, each in turn."""
    return (SAGITTAL_T1, AXIAL_T2, SAGITTAL_T2)[index // 10 % 3]


def _instance_numbers(rng: np.random.Generator, count: int) -> list[int]:
    """Draw instance numbers: ascending or descending, from 1 or not, some with gaps."""
    gap = int(rng.choice([1, 1, 1, 2, 7]))
    first = int(rng.choice([1, 1, int(rng.integers(2, 400))]))
    numbers = [first + gap * index for index in range(count)]
    return numbers if rng.random() < 0.5 else numbers[::-1]


def _sagittal(
    rng: np.random.Generator, anatomy: Anatomy
) -> tuple[list[SliceGeometry], tuple[int, int]]:
    """Plan slices from the patient's right to left, and their common shape."""
    rows = int(rng.choice([256, 288, 320]))
    columns = rows - int(rng.choice([0, 32, 64]))
    spacing = rng.uniform(245, 285) / rows
    spine = anatomy.spine
    lower = spine.mobile_discs[-1] - spine.disc_mm[LUMBAR_DISCS][-1]
    middle = spine.to_patient(np.array([0.0, 0, 10 + lower / 2]))
    middle += rng.normal(0, 1.5, 3)
    turn, tip = np.radians(rng.normal(0, 2.0, 2))
    across = _unit([1.0, np.tan(turn), np.tan(tip)])
    back = _unit(np.cross([0, 0, 1.0], across))
    foot = np.cross(back, across)
    half = [columns * spacing / 2 + rng.normal(0, 4), rows * spacing / 2]
    corner = middle - back * (half[0] + 12) - foot * half[1]
    count, step = int(rng.integers(13, 16)), rng.uniform(4.0, 4.7)
    offsets = (np.arange(count) - (count - 1) / 2) * step
    if anatomy.variant == "sacrum_out_of_field":
        corner = corner + foot * _above_sacrum(
            rng, anatomy, corner, foot, rows * spacing
        )
    return _stack(corner, across, offsets, back, foot, spacing), (rows, columns)


def _above_sacrum(
    rng: np.random.Generator,
    anatomy: Anatomy,
    corner: np.ndarray,
    foot: np.ndarray,
    height_mm: float,
) -> float:
    """Return how far to move an image down so that it ends below the lowest site.

    Mostly negative: up. The millimetres left below the site keep it off the border.
    """
    sites = anatomy.spine.to_patient(anatomy.sites[["a", "b", "t"]].to_numpy(float))
    lowest = ((sites - corner) @ foot).max()
    return float(lowest + rng.uniform(*BELOW_LOWEST_SITE_MM) - height_mm)


def _axial_series(
    rng: np.random.Generator, anatomy: Anatomy
) -> list[list[tuple[list[SliceGeometry], tuple[int, int]]]]:
    """Plan one or two axial series: a straight stack, or blocks along each disc."""
    size = int(rng.choice([256, 288]))
    spacing = rng.uniform(150, 190) / size
    discs = anatomy.spine.mobile_discs
    if rng.random() < ANGLED_SHARE:
        parts = [_angled_block(rng, anatomy, disc, size, spacing) for disc in discs]
    else:
        parts = [_straight_block(rng, anatomy, size, spacing)]
    if len(parts) > 1 and rng.random() < SPLIT_SHARE / ANGLED_SHARE:
        return [parts[:3], parts[3:]]
    return [parts]


def _angled_block(
    rng: np.random.Generator, anatomy: Anatomy, disc: float, size: int, spacing: float
) -> tuple[list[SliceGeometry], tuple[int, int]]:
    """Plan four or five slices along a disc, off by a few degrees as by hand."""
    spine = anatomy.spine
    middle, above, below = spine.to_patient(
        np.array([[0, 0, disc], [0, 0, disc - 2], [0, 0, disc + 2]])
    )
    down = _unit(below - above + 4 * np.radians(rng.normal(0, 2, 3)))
    left = _unit(np.array([1.0, 0, 0]) - down[0] * down)
    count, step = int(rng.integers(4, 6)), rng.uniform(3.8, 4.4)
    offsets = (np.arange(count) - (count - 1) / 2) * step + rng.normal(0, 1)
    back = np.cross(left, down)
    half = size * spacing / 2
    corner = middle - left * (half + rng.normal(0, 3)) - back * (half - 5)
    return _stack(corner, down, offsets, left, back, spacing), (size, size)


def _straight_block(
    rng: np.random.Generator, anatomy: Anatomy, size: int, spacing: float
) -> tuple[list[SliceGeometry], tuple[int, int]]:
    """Plan one stack from above l1/l2 into the sacrum, level with the table."""
    spine = anatomy.spine
    ends = spine.to_patient(np.array([[0, 0, d] for d in spine.mobile_discs]))
    tip = np.radians(rng.normal(0, 4))
    down = _unit([0, np.sin(tip), -np.cos(tip)])
    left = np.array([1.0, 0, 0])
    back = np.cross(left, down)
    middle = ends.mean(axis=0)
    reach = (ends - middle) @ down
    step = rng.uniform(4.6, 5.6)
    offsets = np.arange(reach.min() - 12, reach.max() + 12, step)
    half = size * spacing / 2
    corner = middle - left * (half + rng.normal(0, 3)) - back * (half - 5)
    return _stack(corner, down, offsets, left, back, spacing), (size, size)


def _unit(vector: np.ndarray | list[float]) -> np.ndarray:
    return np.asarray(vector, float) / np.linalg.norm(vector)


def _stack(
    corner: np.ndarray,
    across: np.ndarray,
    offsets: np.ndarray,
    right: np.ndarray,
    down: np.ndarray,
    spacing: float,
) -> list[SliceGeometry]:
    """Shift one plane along `across` to every offset."""
    return [
        SliceGeometry(corner + offset * across, right, down, (spacing, spacing))
        for offset in offsets
    ]

"""The checks of one series: a function a kind of finding, listed in SERIES_CHECKS."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from src.cache.series_facts import CUT_SHORT, ONE_GREY, SeriesFacts, SliceFacts
from src.competition.constants import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
)
from src.imaging.series_type import MAX_WORDS_SHOWN
from src.imaging.slice_order import PARALLEL_DEGREES

# A finding within a series: its file, or "" for the whole series, and a sentence.
InSeries = tuple[str, str]
SeriesCheck = Callable[[SeriesFacts], Iterator[InSeries]]

# The ranges of the competition's 6,294 training series: millimetres a pixel, slices.
SPACING_MM = {
    SAGITTAL_T1: (0.28, 1.17),
    SAGITTAL_T2: (0.28, 1.18),
    AXIAL_T2: (0.20, 1.09),
}
SLICE_COUNT = {SAGITTAL_T1: (8, 38), SAGITTAL_T2: (8, 38), AXIAL_T2: (15, 192)}
ROUNDING_MM = 0.005  # the ranges have two decimals
SAME_SHARE = 0.01  # spacings that differ by less are the same
STEP_SHARE = 0.2  # a slice step that differs by more from the median is uneven
SAME_STEP_MM = 0.1


def folder_missing(facts: SeriesFacts) -> Iterator[InSeries]:
    """A row of the descriptions whose series is not there."""
    if not facts.is_folder:
        yield "", f"its row says {_shown(facts.words)}, and it has no folder"


def folder_empty(facts: SeriesFacts) -> Iterator[InSeries]:
    """A folder without a file."""
    if facts.is_folder and not facts.files:
        yield "", "its folder holds no file"


def folder_unlisted(facts: SeriesFacts) -> Iterator[InSeries]:
    """A folder that no row lists."""
    if facts.is_folder and facts.words is None:
        looks = facts.type.description
        seen = f" looks like {looks} and" if looks else ""
        yield "", f"its folder of {facts.files} files{seen} is in no row"


def unreadable(facts: SeriesFacts) -> Iterator[InSeries]:
    """A series without any readable slice, and files that are no slices."""
    if facts.error and facts.files:
        yield "", facts.error
    for name, reason in facts.rejected:
        yield name, reason if name else f"a file with an unusual name {reason}"


def cut_short(facts: SeriesFacts) -> Iterator[InSeries]:
    """A file that is smaller than its pixels."""
    yield from ((s.file, s.fault) for s in facts.slices if s.fault == CUT_SHORT)


def pixels_unreadable(facts: SeriesFacts) -> Iterator[InSeries]:
    """Pixels that do not decode; found only if they are decoded."""
    known = ("", CUT_SHORT, ONE_GREY)
    yield from ((s.file, s.fault) for s in facts.slices if s.fault not in known)


def blank_image(facts: SeriesFacts) -> Iterator[InSeries]:
    """An image of one grey value; found only if pixels are decoded."""
    yield from ((s.file, s.fault) for s in facts.slices if s.fault == ONE_GREY)


def unlike_its_name(facts: SeriesFacts) -> Iterator[InSeries]:
    """A description that the planes or the header contradict."""
    if facts.words in SERIES_DESCRIPTIONS and facts.type.reason:
        yield "", facts.type.reason


def name_unknown(facts: SeriesFacts) -> Iterator[InSeries]:
    """A blank description, or one of no known type."""
    if facts.words is not None and facts.words not in SERIES_DESCRIPTIONS:
        yield "", facts.type.reason or f"its row says {_shown(facts.words)}"


def positions_alike(facts: SeriesFacts) -> Iterator[InSeries]:
    """Slices that all lie at one position, so that their order is unknown."""
    if all_alike(facts):
        yield "", f"all {len(facts.slices)} slices have the same position"


def shared_positions(facts: SeriesFacts) -> Iterator[InSeries]:
    """Several slices at one height: echoes, repeats or Dixon images."""
    if all_alike(facts):
        return
    counts = Counter(s.position for s in facts.slices)
    shared = [count for count in counts.values() if count > 1]
    if shared:
        echoes = sorted({s.echo_ms for s in facts.slices if s.echo_ms is not None})
        times = ", ".join(f"{echo:g}" for echo in echoes[:4])
        of = f", with echo times of {times} ms" if len(echoes) > 1 else ""
        have = "1 position has" if len(shared) == 1 else f"{len(shared)} positions have"
        yield "", f"{have} {_span(shared)} slices each{of}"


def uneven_steps(facts: SeriesFacts) -> Iterator[InSeries]:
    """A slice step that varies within a stack."""
    for number, stack in enumerate(_stacks(facts), start=1):
        steps = _steps_mm(stack)
        if len(steps) < 2:
            continue
        middle = float(np.median(steps))
        odd = sum(abs(step - middle) > STEP_SHARE * middle for step in steps)
        if odd:
            yield (
                "",
                f"in stack {number}, {odd} of {len(steps)} slice steps differ from "
                f"{middle:.1f} mm, by up to {max(abs(s - middle) for s in steps):.1f}",
            )


def gaps(facts: SeriesFacts) -> Iterator[InSeries]:
    """Parallel stacks, so that one wide step interrupts the series."""
    for above, below in pairwise(_stacks(facts)):
        if _angle_degrees(above[0], below[0]) < PARALLEL_DEGREES:
            steps = [*_steps_mm(above), *_steps_mm(below)]
            usual = f"{np.median(steps):.1f}" if steps else "unknown"
            gap_mm = abs(below[0].height_mm - above[-1].height_mm)
            yield (
                "",
                f"{gap_mm:.0f} mm lie between {above[-1].file} and {below[0].file}, "
                f"and the usual step is {usual} mm",
            )


def several_stacks(facts: SeriesFacts) -> Iterator[InSeries]:
    """Stacks at different angles, as axial series follow each disc."""
    stacks = _stacks(facts)
    widest = max((_angle_degrees(stacks[0][0], s[0]) for s in stacks), default=0.0)
    if widest >= PARALLEL_DEGREES:
        sizes = _span([len(stack) for stack in stacks])
        yield "", f"{len(stacks)} stacks of {sizes} slices, up to {widest:.0f}° apart"


def spacing_unusual(facts: SeriesFacts) -> Iterator[InSeries]:
    """In-plane spacing beyond the competition's range of the series' type."""
    bounds = SPACING_MM.get(facts.type.description or "")
    for (across, down), _ in Counter(s.spacing_mm for s in facts.slices).items():
        if abs(across - down) > SAME_SHARE * max(across, down):
            yield "", f"its pixels are not square: {across:.3f} by {down:.3f} mm"
        elif bounds and not (
            bounds[0] - ROUNDING_MM <= across <= bounds[1] + ROUNDING_MM
        ):
            low, high = bounds
            yield (
                "",
                f"{across:.2f} mm a pixel, beyond the {low:.2f} to {high:.2f} of the "
                f"competition's {facts.type.description}",
            )


def spacing_varies(facts: SeriesFacts) -> Iterator[InSeries]:
    """Slices of one series with different millimetres a pixel."""
    across = [s.spacing_mm[0] for s in facts.slices]
    if across and max(across) - min(across) > SAME_SHARE * max(across):
        yield "", f"from {min(across):.3f} to {max(across):.3f} mm a pixel"


def sizes_vary(facts: SeriesFacts) -> Iterator[InSeries]:
    """Slices of one series with different rows and columns."""
    shapes = Counter((s.rows, s.columns) for s in facts.slices).most_common()
    if len(shapes) > 1:
        parts = [f"{count} of {rows} x {cols}" for (rows, cols), count in shapes[:4]]
        yield "", f"rows x columns differ: {', '.join(parts)}"


def slice_count_unusual(facts: SeriesFacts) -> Iterator[InSeries]:
    """Fewer or more slices than any series of its type in the competition."""
    bounds = SLICE_COUNT.get(facts.type.description or "")
    count = len(facts.slices)
    if bounds and count and not bounds[0] <= count <= bounds[1]:
        yield (
            "",
            f"{count} slices; the competition's {facts.type.description} series have "
            f"{bounds[0]} to {bounds[1]}",
        )


def tags_absent(facts: SeriesFacts) -> Iterator[InSeries]:
    """Optional tags that some code reads unguarded."""
    counts = Counter(s.absent for s in facts.slices if s.absent)
    for names, count in counts.items():
        verb = "is" if len(names) == 1 else "are"
        listed = " and ".join(names)
        yield "", f"{listed} {verb} absent in {count} of {len(facts.slices)} files"


def all_alike(facts: SeriesFacts) -> bool:
    """Return whether all slices, two or more, have one ImagePositionPatient."""
    return len(facts.slices) > 1 and len({s.place[:3] for s in facts.slices}) == 1


# In the order in which they are shown: the harmful first.
SERIES_CHECKS: dict[str, SeriesCheck] = {
    "series without a folder": folder_missing,
    "series folder empty": folder_empty,
    "series in no row": folder_unlisted,
    "file not readable": unreadable,
    "file cut short": cut_short,
    "pixels not readable": pixels_unreadable,
    "image blank": blank_image,
    "series unlike its description": unlike_its_name,
    "description unknown": name_unknown,
    "positions all alike": positions_alike,
    "several slices at one position": shared_positions,
    "slice step uneven": uneven_steps,
    "gap between slices": gaps,
    "pixel spacing unusual": spacing_unusual,
    "pixel spacing varies": spacing_varies,
    "image sizes vary": sizes_vary,
    "number of slices unusual": slice_count_unusual,
    "stacks at several angles": several_stacks,
    "tag absent": tags_absent,
}


def _shown(words: str | None) -> str:
    return repr(words[:MAX_WORDS_SHOWN]) if words else "nothing"


def _stacks(facts: SeriesFacts) -> list[list[SliceFacts]]:
    stacks: dict[int, list[SliceFacts]] = defaultdict(list)
    for each in facts.slices:
        stacks[each.stack].append(each)
    return list(stacks.values())


def _steps_mm(stack: Sequence[SliceFacts]) -> list[float]:
    """Return the distances of neighbouring positions."""
    steps = [abs(b.height_mm - a.height_mm) for a, b in pairwise(stack)]
    return [step for step in steps if step > SAME_STEP_MM]


def _angle_degrees(one: SliceFacts, other: SliceFacts) -> float:
    cosine = abs(float(np.dot(one.normal, other.normal)))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"

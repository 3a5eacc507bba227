"""The crop cache and the overviews against the paper's loop, and against the floor.

    python -m benchmarks.prep_speed --data demo/data

The paper's loop reads a point's file, scales it to 8 bits, cuts 50 pixels each way,
stretches that to 100 x 100 and writes a PNG: one slice a crop, where ours has three.
The floor is what no cache can do without: the header of every file of a series, and the
pixels of the slices that it shows, as pydicom reads and decodes them. All of it runs in
this process and takes turns; what is measured is CPU time. Beside them: two workers
against one, ever more studies (docs/growth.svg), from both an estimate for the whole
competition, and the time of input_prep.py --check.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pydicom import dcmread

from benchmarks.linked_studies import Prepared, into_new_folder, prepared_studies
from benchmarks.measure import (
    BENCHMARKS,
    Row,
    alternate,
    cpu_seconds,
    ratios,
    spread,
    wall_seconds,
    write_table,
)
from benchmarks.prep_growth import (
    Size,
    basis,
    check_times,
    extrapolate,
    gain_of_two,
    grow,
    plot_growth,
)
from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.imaging.series import read_series
from src.workers import worker_pool

# What any reader of a series needs to place its slices and to scale their pixels.
FLOOR_TAGS = [
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept"),
]
PARTS = ["crops", "overviews", "one pass", "workers", "growth", "check"]
GROWN_STUDIES = 15  # that growth begins with, and the check is of copies of
GROWTH_PLOT = BENCHMARKS.parent / "growth.svg"
GROWTH_NOTE = "linked copies, both caches in a fresh process a size, each size once"
GROWTH_FIGURE = f"![Time a study and peak memory]({GROWTH_PLOT.name})"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a competition, as a phantom's")
    add("--studies", type=positive_int, default=60, help="the first so many studies")
    add("--turns", type=positive_int, default=5, help="turns that count, after one")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    add("--write", action="store_true", help=f"write the tables to {BENCHMARKS}")
    return parser.parse_args()


def paper_loop(prepared: Prepared) -> None:
    """Cut every point as the paper's code does, into PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["study_id", "series_id", "instance_number", "x", "y"]
        points = prepared.tables.points[names].itertuples(index=False)
        for number, (study, series, instance, x, y) in enumerate(points):
            path = prepared.images / str(study) / str(series) / f"{instance}.dcm"
            pixels = dcmread(path).pixel_array.astype(np.float32)
            low, high = pixels.min(), pixels.max()
            grey = ((pixels - low) * (255 / max(high - low, 1))).astype(np.uint8)
            left, top = max(0, int(x) - 50), max(0, int(y) - 50)
            cut = grey[top : int(y) + 50, left : int(x) + 50]
            cv2.imwrite(f"{folder}/{number}.png", cv2.resize(cut, (100, 100)))


def floor(files: Sequence[tuple[Path, bool]]) -> None:
    """Read the header of every file, and decode those that are shown."""
    for path, shown in files:
        if shown:
            _ = dcmread(path, specific_tags=[*FLOOR_TAGS, "PixelData"]).pixel_array
        else:
            dcmread(path, stop_before_pixels=True, specific_tags=FLOOR_TAGS)


def files_of_crops(prepared: Prepared) -> list[tuple[Path, bool]]:
    """List the files of all series with a point, and which of them a crop shows."""
    found = []
    points = prepared.tables.points.groupby("series_id")["instance_number"]
    for folder in prepared.folders():
        series = read_series(folder)
        numbers = points.get_group(int(folder.name)).unique()
        shown = {
            neighbour
            for number in numbers
            for neighbour in series.neighbours(series.index_of(number))
        }
        paths = [header.path for header in series.headers]
        found += [(path, index in shown) for index, path in enumerate(paths)]
    return found


def compare_crops(prepared: Prepared, turns: int) -> list[Row]:
    """Measure the crop cache, the paper's loop and the floor, in crops a second."""
    files, count = files_of_crops(prepared), len(prepared.tables.points)
    work = {
        "ours, three slices": partial(into_new_folder, prepared.crops),
        "paper's loop, one slice": partial(paper_loop, prepared),
        "floor": partial(floor, files),
    }
    return rates(work, count, "crops", turns)


def compare_overviews(prepared: Prepared, turns: int) -> list[Row]:
    """Measure the overviews and their floor, in slices a second."""
    keys = prepared.tables.series[["study_id", "series_id"]].itertuples(index=False)
    folders = [prepared.images / str(study) / str(series) for study, series in keys]
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    work = {
        "ours": partial(into_new_folder, prepared.overviews),
        "floor": partial(floor, [(path, True) for path in paths]),
    }
    return rates(work, len(paths), "slices", turns)


def compare_passes(prepared: Prepared, turns: int) -> list[Row]:
    """Measure crops and overviews from one reading of the files, and from two."""
    work = {
        "both in one pass": partial(into_new_folder, prepared.both),
        "one after the other": partial(into_new_folder, prepared.one_after_the_other),
    }
    return rates(work, prepared.tables.labels["study_id"].nunique(), "studies", turns)


def rates(
    work: Mapping[str, Callable[[], None]], count: int, unit: str, turns: int
) -> list[Row]:
    """Measure pieces of work turn by turn; compare the first with each."""
    timed = {name: partial(cpu_seconds, piece) for name, piece in work.items()}
    seconds = alternate(timed, turns)
    ours = next(iter(seconds.values()))
    return [
        {
            "": name,
            f"{unit} a CPU second": spread([count / s for s in taken], 0),
            "ours beside it": spread(ratios(taken, ours)),
        }
        for name, taken in seconds.items()
    ]


Times = Mapping[str, Mapping[str, Sequence[float]]]  # seconds by work and by workers


def time_workers(prepared: Prepared, turns: int) -> Times:
    """Time both caches on one and on two workers, by the clock."""
    with worker_pool(1) as one, worker_pool(2) as two:
        return {
            name: alternate(
                {
                    text: partial(
                        wall_seconds,
                        partial(into_new_folder, partial(make, workers=pool)),
                    )
                    for text, pool in (("one", one), ("two", two))
                },
                turns,
            )
            for name, make in (
                ("crops", prepared.crops),
                ("overviews", prepared.overviews),
            )
        }


def worker_rows(times: Times) -> list[Row]:
    """Show the seconds, and the gain of two workers turn by turn."""
    return [
        {
            "": name,
            "one worker, s": spread(seconds["one"]),
            "two workers, s": spread(seconds["two"]),
            "gain": spread(ratios(seconds["one"], seconds["two"])),
        }
        for name, seconds in times.items()
    ]


class Tables:
    """Shows each table, and writes it where asked."""

    def __init__(self, write: bool, turns: int, studies: int) -> None:
        """Take what every table's note says."""
        self.write = write
        self.turns = f"{studies} studies; median, least and greatest of {turns} turns"

    def add(
        self, part: str, rows: Sequence[Row], note: str | None = None, figure: str = ""
    ) -> None:
        """Show a part's table.

        note: in place of the turns; figure: Markdown, written above the table.
        """
        text = self.turns if note is None else note
        show_table(f"Prep: {part}", rows)
        say(text)
        if self.write:
            write_table(f"Prep: {part}", rows, note=f"{text}. {figure}".strip())


def main() -> None:
    """Measure the chosen parts, show their tables, and write them if asked to."""
    args = parse()
    cv2.setNumThreads(1)
    prepared = prepared_studies(args.data, args.studies)
    tables = Tables(args.write, args.turns, args.studies)
    few = min(args.studies, GROWN_STUDIES)
    sizes: list[Size] = []
    times: Times = {}
    if "crops" in args.parts:
        tables.add("crops", compare_crops(prepared, args.turns))
    if "overviews" in args.parts:
        tables.add("overviews", compare_overviews(prepared, args.turns))
    if "one pass" in args.parts:
        tables.add("one pass", compare_passes(prepared, args.turns))
    if "workers" in args.parts:
        times = time_workers(prepared, args.turns)
        tables.add("workers", worker_rows(times))
    if "growth" in args.parts:
        sizes = grow(args.data, few)
        if args.write:
            plot_growth(sizes, GROWTH_PLOT)
        rows = [size.row() for size in sizes]
        tables.add("growth", rows, GROWTH_NOTE, GROWTH_FIGURE)
    if sizes and times:
        one, two = ([each[w] for each in times.values()] for w in ("one", "two"))
        gain, last = gain_of_two(one, two), sizes[-1]
        rows = extrapolate(last.wall_s / last.studies, gain)
        tables.add("whole competition", rows, basis(sizes, gain))
    if "check" in args.parts:
        tables.add("check", check_times(args.data, few, args.turns))


if __name__ == "__main__":
    run_script(main)

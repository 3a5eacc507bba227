"""The crop cache and the overviews against the paper's loop, and against the floor.

    python -m benchmarks.prep_speed --data demo/data

The paper's loop reads a point's file, scales it to 8 bits, cuts 50 pixels each way,
stretches that to 100 x 100 and writes a PNG: one slice a crop, where ours has three.
The floor is what no cache can do without: the header of every file of a series, and the
pixels of the slices that it shows, as pydicom reads and decodes them. All of it runs in
this process and takes turns; what is measured is CPU time.
"""

import argparse
import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pydicom import dcmread

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
from src.cache.build_crops import build_cache
from src.cache.overview_cache import build_overviews
from src.command_line import make_parser, positive_int, run_script
from src.competition.tables import Competition, image_folder, read_training
from src.console import say, show_table
from src.imaging.crops import CropSpec
from src.imaging.series import read_series
from src.workers import worker_pool

# What any reader of a series needs to place its slices and to scale their pixels.
FLOOR_TAGS = [
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept"),
]
GROWTH = (1, 2, 4, 8)
PARTS = ["crops", "overviews", "workers", "growth"]


@dataclass(frozen=True)
class Prepared:
    """A competition's tables and the folder of its images."""

    tables: Competition
    images: Path

    def crops(self, cache: Path, workers: ProcessPoolExecutor | None = None) -> None:
        """Make the crop cache."""
        held = self.tables
        parts = (held.points, held.labels, held.series, self.images)
        build_cache(*parts, cache, CropSpec(), workers)

    def overviews(
        self, cache: Path, workers: ProcessPoolExecutor | None = None
    ) -> None:
        """Make the overviews."""
        build_overviews(self.tables.series, self.images, cache, workers)

    def folders(self) -> list[Path]:
        """List the folders of the series that have a point."""
        keys = self.tables.points[["study_id", "series_id"]].drop_duplicates()
        return [self.images / str(a) / str(b) for a, b in keys.itertuples(index=False)]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a competition, as a phantom's")
    add("--studies", type=positive_int, default=15, help="the first so many studies")
    add("--turns", type=positive_int, default=5, help="turns that count, after one")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    add("--write", action="store_true", help=f"write the tables to {BENCHMARKS}")
    return parser.parse_args()


def first_studies(data: Path, count: int) -> Prepared:
    """Read the tables of the first studies."""
    whole = read_training(data)
    studies = sorted(whole.labels["study_id"].unique())[:count]
    return Prepared(_with_studies(whole, studies), image_folder(data, "train"))


def _with_studies(whole: Competition, studies: Sequence[int]) -> Competition:
    kept = {
        name: table[table["study_id"].isin(studies)].reset_index(drop=True)
        for name, table in vars(whole).items()
        if name != "root"
    }
    return Competition(whole.root, **kept)


def into_new_folder(make: Callable[[Path], None]) -> None:
    """Make a cache from nothing, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "cache")


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


def compare_workers(prepared: Prepared, turns: int) -> list[Row]:
    """Measure both caches on one and on two workers, by the clock."""
    with worker_pool(1) as one, worker_pool(2) as two:
        return [
            _gain(name, partial(make, workers=one), partial(make, workers=two), turns)
            for name, make in (
                ("crops", prepared.crops),
                ("overviews", prepared.overviews),
            )
        ]


def _gain(
    name: str, one: Callable[[Path], None], two: Callable[[Path], None], turns: int
) -> Row:
    named = {
        workers: partial(wall_seconds, partial(into_new_folder, make))
        for workers, make in (("one worker, s", one), ("two workers, s", two))
    }
    first, second = (seconds := alternate(named, turns)).values()
    shown = {workers: spread(values) for workers, values in seconds.items()}
    return {"": name, **shown, "gain": spread(ratios(first, second))}


def linked_copies(prepared: Prepared, copies: int, folder: Path) -> Prepared:
    """Make a competition of so many copies of every study, linked to the same files."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for copy in range(copies):
        for name, table in vars(prepared.tables).items():
            if name != "root":
                moved = table.assign(study_id=table["study_id"] * 10 + copy)
                tables.setdefault(name, []).append(moved)
        for study in prepared.tables.labels["study_id"].unique():
            link = folder / str(study * 10 + copy)
            link.symlink_to((prepared.images / str(study)).resolve())
    joined = {name: pd.concat(t, ignore_index=True) for name, t in tables.items()}
    return Prepared(Competition(prepared.tables.root, **joined), folder)


def grow(prepared: Prepared) -> list[Row]:
    """Make both caches of ever more linked studies, each in a process of its own."""
    rows: list[Row] = []
    for copies in GROWTH:
        with tempfile.TemporaryDirectory() as folder:
            more = linked_copies(prepared, copies, Path(folder))
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                seconds, peak = fresh.submit(_time_and_memory, more).result()
        studies = more.tables.labels["study_id"].nunique()
        rows.append(
            {
                "studies": studies,
                "crops": len(more.tables.points),
                "CPU s a study": round(seconds / studies, 4),
                "peak memory, MB": round(peak),
            }
        )
    return rows


def _time_and_memory(prepared: Prepared) -> tuple[float, float]:
    """Make both caches; return CPU seconds, and the process' peak memory in MB."""

    def make(cache: Path) -> None:
        prepared.crops(cache)
        prepared.overviews(cache)

    seconds = cpu_seconds(partial(into_new_folder, make))
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure the chosen parts, show their tables, and write them if asked to."""
    args = parse()
    cv2.setNumThreads(1)
    prepared = first_studies(args.data, args.studies)
    parts: dict[str, Callable[[], list[Row]]] = {
        "crops": partial(compare_crops, prepared, args.turns),
        "overviews": partial(compare_overviews, prepared, args.turns),
        "workers": partial(compare_workers, prepared, args.turns),
        "growth": partial(grow, prepared),
    }
    size = f"{args.studies} studies; median, least and greatest of {args.turns} turns"
    command = f"python -m benchmarks.prep_speed --data {args.data} --write"
    for part in args.parts:
        rows = parts[part]()
        show_table(f"Prep: {part}", rows)
        if args.write:
            write_table(f"Prep: {part}", rows, note=f"{size}; `{command}`.")
    say(size)


if __name__ == "__main__":
    run_script(main)

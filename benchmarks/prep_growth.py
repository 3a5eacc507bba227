"""Preparing ever more studies, and what that says of the whole competition."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")  # without a window
import matplotlib.pyplot as plt

from benchmarks.linked_studies import into_new_folder, linked_copies, prepared_studies
from benchmarks.measure import (
    Row,
    alternate,
    cpu_seconds,
    peak_megabytes,
    ratios,
    spread,
    wall_seconds,
)
from src.cache.data_check import check_download
from src.files import replacing
from src.workers import worker_pool

COPIES = (1, 2, 4, 8, 32)  # of 15 studies: 15, 30, 60, 120, 480
CHECKED_COPIES = 4
COMPETITION_STUDIES = 1_975
CORES = (1, 2, 8, 16)


@dataclass(frozen=True)
class Size:
    """What so many studies took: seconds by CPU and by the clock, MB at most."""

    studies: int
    crops: int
    cpu_s: float
    wall_s: float
    peak_mb: float

    def row(self) -> Row:
        """Show it, a study."""
        return {
            "studies": self.studies,
            "crops": self.crops,
            "CPU s a study": f"{self.cpu_s / self.studies:.4f}",
            "wall s a study": f"{self.wall_s / self.studies:.4f}",
            "peak memory, MB": f"{self.peak_mb:.0f}",
        }


def grow(data: Path, studies: int, copies: Sequence[int] = COPIES) -> list[Size]:
    """Make both caches of ever more linked studies, each in a process of its own."""
    sizes = []
    for count in copies:
        with tempfile.TemporaryDirectory() as folder:
            linked_copies(data, studies, count, Path(folder))
            with worker_pool(1) as fresh:
                sizes.append(fresh.submit(prepare_once, Path(folder)).result())
    return sizes


def prepare_once(data: Path) -> Size:
    """Make both caches of a competition; the memory is this process' until now."""
    prepared = prepared_studies(data)
    wall: list[float] = []

    def work() -> None:
        wall.append(wall_seconds(partial(into_new_folder, prepared.both)))

    cpu_s = cpu_seconds(work)
    studies = prepared.tables.labels["study_id"].nunique()
    crops = len(prepared.tables.points)
    return Size(studies, crops, cpu_s, wall[0], peak_megabytes())


def plot_growth(sizes: Sequence[Size], path: Path) -> None:
    """Draw the time a study and the peak memory over the number of studies, as SVG."""
    # The same figures give the same bytes: no date, and ids that do not vary.
    with plt.rc_context({"svg.hashsalt": "growth", "font.size": 9}):
        figure, (time, memory) = plt.subplots(1, 2, figsize=(8, 2.8), dpi=100)
        studies = [size.studies for size in sizes]
        lines = {
            "CPU": [size.cpu_s / size.studies for size in sizes],
            "by the clock": [size.wall_s / size.studies for size in sizes],
        }
        for label, values in lines.items():
            time.plot(studies, values, marker="o", label=label)
        time.legend(frameon=False)
        time.set_ylabel("seconds a study")
        memory.plot(studies, [size.peak_mb for size in sizes], marker="o")
        memory.set_ylabel("peak memory, MB")
        for axes in (time, memory):
            axes.set_xscale("log")
            axes.set_xticks(studies, [str(count) for count in studies])
            axes.minorticks_off()
            axes.set_xlabel("studies")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        plt.close(figure)


def extrapolate(study_s: float, gain: float) -> list[Row]:
    """Estimate the whole competition's preparation on some numbers of cores.

    study_s: seconds a study in one process; gain: of two workers over one. Either each
    worker is worth the half of that gain, or (Amdahl's law) the share of the work that
    two did not speed up is not sped up by more of them either.
    """
    alone = min(1.0, max(0.0, 2 / gain - 1))  # the share that one worker does
    rows: list[Row] = []
    for cores in CORES:
        linear = cores * gain / 2 if cores > 1 else 1.0
        amdahl = cores / (1 + (cores - 1) * alone)
        minutes = COMPETITION_STUDIES * study_s / 60
        rows.append(
            {
                "cores, a worker each": cores,
                "min, every worker as the second": f"{minutes / linear:.1f}",
                "min, by Amdahl's law": f"{minutes / amdahl:.1f}",
            }
        )
    return rows


def basis(sizes: Sequence[Size], gain: float) -> str:
    """Say what an extrapolation stands on."""
    last = sizes[-1]
    return (
        f"{COMPETITION_STUDIES:,} studies x {last.wall_s / last.studies:.3f} s "
        f"(crops and overviews by the clock, one process, {last.studies} linked "
        f"studies), two workers {gain:.2f} times one (median); not counted: the disk, "
        "since the files were in memory"
    )


def check_times(data: Path, studies: int, turns: int) -> list[Row]:
    """Time `input_prep.py --check` over linked studies, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        linked_copies(data, studies, CHECKED_COPIES, root)
        found = check_download(root)
        work = {
            "headers": partial(check_download, root),
            "headers and pixels": partial(check_download, root, True),
        }
        timed = {name: partial(wall_seconds, each) for name, each in work.items()}
        seconds = alternate(timed, turns)
    return [
        {
            "": what,
            "studies": found.studies,
            "files": found.files,
            "s": spread(taken),
            "studies a second": spread([found.studies / s for s in taken], 1),
            "files a second": spread([found.files / s for s in taken], 0),
        }
        for what, taken in seconds.items()
    ]


def gain_of_two(
    one: Sequence[Sequence[float]], two: Sequence[Sequence[float]]
) -> float:
    """Return the median gain of two workers; one, two: seconds by work and turn."""
    sums = ([sum(turn) for turn in zip(*each, strict=True)] for each in (one, two))
    return median(ratios(*sums))

"""How long a whole run may take: counts times what is measured on this machine."""

import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from src.imaging.dicom import DicomError, read_header, read_pixels
from src.kaggle.run_plan import (
    CROP_PX,
    CROP_SLICES,
    VIEWS,
    Counts,
    Plan,
    Sharing,
    Training,
)

TRIED_FILES = 24
TRAIN_SHARE = {"holdout": 0.80, "all": 0.76}  # of the examples, in a run
OVERVIEW_MB_A_STUDY = 3.75  # 7.4 GB for the competition's 1,975
SLICES_A_SERIES = 6  # that a location run draws; its batches count slices
# Of a run's weights on the disk: themselves, the kit's copy; a checkpoint has more.
COPIES, CHECKPOINT_COPIES, BYTES_A_PARAMETER = 2, 4, 4


class Estimate(NamedTuple):
    """Seconds, None if not measured; basis: what they are the product of."""

    seconds: float | None
    basis: str


NOT_MEASURED = Estimate(None, "not measured")


@dataclass(frozen=True)
class Measured:
    """What was timed here: reading a file, and a step of each network.

    device: where the steps ran; steps: an entry a training of the plan, by backbone the
    seconds a step and the parameters; None where it could not be timed.
    """

    file_s: float | None
    device: str
    gpu: bool
    steps: list[dict[str, dict[str, float]]] | None


def measure(images: Path, plan: Plan) -> Measured:
    """Time some of the images, and some steps of each network in a process."""
    networks = [
        {
            **{"task": training.task, "backbones": training.backbones},
            **{"batch_size": training.batch_size, "px": training.px},
            **{"accumulate": training.accumulate, "channels": training.channels},
        }
        for training in plan.trainings
    ]
    found = _time_steps(networks)
    return Measured(_seconds_a_file(images), **found)


def _time_steps(networks: list[dict[str, Any]]) -> dict[str, Any]:
    command = [sys.executable, "-m", "src.training.step_time", json.dumps(networks)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"device": "unknown", "gpu": False, "steps": None}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _seconds_a_file(images: Path) -> float | None:
    """Time reading and decoding a few files; None where there is none."""
    files = list(islice(images.glob("*/*/*.dcm"), TRIED_FILES))
    start = time.perf_counter()
    for path in files:
        try:
            read_header(path)
            read_pixels(path)
        except DicomError:
            continue
    return (time.perf_counter() - start) / len(files) if files else None


def steps_a_run(training: Training, counts: Counts) -> int:
    """Count the most optimizer steps of one run: all epochs, no early stopping."""
    examples, size = counts.points, training.batch_size
    if training.task == "location":
        examples, size = counts.series, max(1, size // SLICES_A_SERIES)
    return training.epochs * math.ceil(TRAIN_SHARE[training.folds] * examples / size)


def estimate(
    plan: Plan, counts: Counts, measured: Measured, sharing: Sharing
) -> dict[str, Estimate]:
    """Estimate the stages that can be.

    Several runs at once are counted as faster on several GPUs alone.
    """
    rows = {"prepare": _preparing(counts, measured.file_s, sharing.workers)}
    gpus = sharing.jobs if measured.gpu else 1
    for number, training in enumerate(plan.trainings):
        timed = measured.steps[number] if measured.steps else {}
        rows[training.task] = estimate_training(training, counts, timed, gpus)
    return rows


def _preparing(counts: Counts, file_s: float | None, workers: int) -> Estimate:
    if file_s is None:
        return NOT_MEASURED
    basis = f"{counts.files:,} files x {1e3 * file_s:.1f} ms, {workers} processes"
    return Estimate(counts.files * file_s / workers, basis)


def estimate_training(
    training: Training, counts: Counts, timed: dict[str, dict[str, float]], gpus: int
) -> Estimate:
    """Estimate a training of the backbones that were timed, shared out over GPUs."""
    if not timed:
        return NOT_MEASURED
    runs, steps = training.runs_a_backbone * len(timed), steps_a_run(training, counts)
    step_s = sum(each["seconds"] for each in timed.values()) / len(timed)
    times = f"{runs} run" if runs == 1 else f"{runs} runs"
    basis = f"{times} x {steps:,} steps x {step_s:.3g} s"
    basis += f", {gpus} GPUs" if gpus > 1 else ""
    return Estimate(runs * steps * step_s / gpus, basis)


def duration(seconds: float | None) -> str:
    """Write a duration for a person."""
    if seconds is None:
        return "-"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def disk_gb(plan: Plan, counts: Counts, measured: Measured, sharing: Sharing) -> float:
    """Estimate the space of caches, runs, checkpoints and the kit, in GB."""
    parameters, largest = 0.0, 0.0
    for training, timed in zip(plan.trainings, measured.steps or [], strict=False):
        sizes = [each["parameters"] for each in timed.values()]
        parameters += training.runs_a_backbone * sum(sizes)
        largest = max(largest, *sizes)
    copies = COPIES * parameters + CHECKPOINT_COPIES * sharing.jobs * largest
    return cache_gb(counts) + BYTES_A_PARAMETER * copies / 1e9


def cache_gb(counts: Counts) -> float:
    """Return the size of crops of all views, where all show a site, and overviews."""
    crop = VIEWS * CROP_SLICES * CROP_PX**2  # a byte a pixel
    return counts.points * crop / 1e9 + counts.studies * OVERVIEW_MB_A_STUDY / 1e3

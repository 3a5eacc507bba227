"""What a training run costs on this device, and whether the device is kept busy.

    python -m benchmarks.gpu_table2 --cache cache --out gpu.json

Times what users run, augmentation and loader included: the paper's six for the
condition, a severity run and a location run, on the cache's studies over and over. Each
alternates with two others: the same steps on one resident batch, which no loader can
beat, and the paper's loop (benchmarks/plain_loop.py). From the six it extrapolates to
the paper's Table 2. --formats compares the accuracy of the device's number formats.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fed_training import FedTraining, crop_set
from benchmarks.measure import Row, alternate, ratios, spread, wall_seconds
from benchmarks.plain_loop import CLASSES, PlainLoop, PngCrops
from src.cache.crop_cache import CropCache, open_cache
from src.cache.overview_cache import open_overviews
from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTask, CropTraining, make_crop_task
from src.command_line import make_parser, non_negative_int, positive_int, run_script
from src.competition.folds import read_folds
from src.console import say, show_table
from src.files import write_json
from src.kaggle.run_plan import COMPETITION
from src.localization.location_task import LocationTask, make_location_task
from src.localization.series_dataset import MAX_SLICES
from src.machine import peak_of
from src.models.backbones import PAPER_BACKBONES, build
from src.training.augmentation import Augmenter
from src.training.config import LABELS, Hyperparameters, RunConfig
from src.training.device import choose_device
from src.training.predictor import Predictor
from src.training.presets import read_preset, values_for
from src.training.run_folder import build_model
from src.training.train_run import make_trainer
from src.training.trainer import Trainer

FOLDS, TRAIN_SHARE = 5, 0.76  # of the crops, in each fold: the rest tests and validates
EPOCHS = dict(
    zip(PAPER_BACKBONES, (5, 7, 10, 9, 15, 15), strict=True)
)  # the paper's code ran
RECIPES = Path(__file__).parents[1] / "configs" / "paper.toml"
AUGMENT = 0.5
LOCATION_PX = 160  # as train.py scales them
MAX_WORKERS = 8


@dataclass(frozen=True)
class Timed:
    """A run to time: its task, its backbone and its recipe."""

    task: str
    backbone: str
    hyperparameters: Hyperparameters


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--out", type=Path, help="where to write the figures as JSON")
    add("--steps", type=positive_int, default=20, help="steps a turn")
    add("--turns", type=positive_int, default=3, help="turns, after one for warmth")
    workers = min(MAX_WORKERS, os.cpu_count() or 1)
    text = "processes that prepare batches, as train.py takes them"
    add("--loader-workers", type=non_negative_int, default=workers, help=text)
    text = "only show that it runs: small networks, one step a turn"
    add("--smoke", action="store_true", help=text)
    text = "also train a small network in each number format, and compare"
    add("--formats", action="store_true", help=text)
    add("--epochs", type=positive_int, default=6, help="of the number formats' test")
    add("--seeds", type=positive_int, default=3, help="of the number formats' test")
    return parser.parse_args()


def paper_settings(backbone: str) -> Hyperparameters:
    """Take the paper's recipe for a backbone, augmented: its batch and input size."""
    values = values_for(read_preset(RECIPES, set(PAPER_BACKBONES)), backbone)
    values = {name: v for name, v in values.items() if name != "weights"}
    return Hyperparameters(**{**values, "augment": AUGMENT})


def runs_to_time(smoke: bool) -> list[Timed]:
    """List the six of Table 2, a severity run and a location run."""
    own = Hyperparameters(augment=AUGMENT)
    if smoke:
        tiny = replace(own, batch_size=6, input_px=32)
        names = {"condition": "mnasnet0_75", "severity": "resnet10t"}
        names["location"] = "resnet10t"
        return [Timed(task, name, tiny) for task, name in names.items()]
    return [
        *(Timed("condition", name, paper_settings(name)) for name in PAPER_BACKBONES),
        Timed("severity", "resnet18", replace(own, batch_size=64)),
        Timed("location", "resnet18", replace(own, input_px=LOCATION_PX)),
    ]


def make_task(cache: CropCache, timed: Timed, steps: int) -> CropTask | LocationTask:
    """Make a run's task, with as many training examples as fill so many steps."""
    config = RunConfig(
        timed.task,
        timed.backbone,
        *("study", "holdout", "neighbours", list(LABELS[timed.task])),
        timed.hyperparameters,
        "none",
        crop=cache.fingerprint["crop"],
        cache_fingerprint={
            "points": cache.fingerprint["points"],
            "labels": cache.fingerprint["labels"],
            "series": cache.fingerprint["series"],
        },
        limit=None,
        prior=[],
    )
    folds, size = read_folds(cache.path / "folds.csv"), timed.hyperparameters.batch_size
    if timed.task == "location":
        located = make_location_task(cache, open_overviews(cache.path), folds, config)
        count = steps * max(1, size // MAX_SLICES)
        series = (located.train.series * count)[:count]
        return replace(located, train=replace(located.train, series=series))
    task = make_crop_task(cache, folds, config)
    return replace(task, train=repeated(task.train, steps * size))


def repeated(crops: CropDataset, count: int) -> CropDataset:
    """Repeat a dataset's crops in their order until there are so many."""
    per_row = ("rows", "classes", "axial", "mirrored", "mirror_invariant")
    held = {name: getattr(crops, name) for name in per_row}
    longer: dict[str, Any] = {
        name: np.resize(v, count) for name, v in held.items() if v is not None
    }
    return replace(crops, **longer)


def time_run(
    cache: CropCache, timed: Timed, steps: int, turns: int, workers: int
) -> dict[str, Any]:
    """Time one run's training by turns with its bound and the paper's loop."""
    task = make_task(cache, timed, steps)
    trainer = make_trainer(task.config, workers)
    fed = FedTraining(trainer, task)
    with tempfile.TemporaryDirectory() as folder:
        passes = {"fed": fed.fed_rate, "resident": fed.resident_rate}
        if isinstance(task, CropTask):
            passes["paper"] = plain_pass(task.train, timed, trainer.device, folder)
        rates = alternate(passes, turns)
    rate, peak = median(rates["fed"]), peak_flops(trainer.device)
    flops = forward_flops(task.config, cache.spec.crop_px)
    plain = spread(ratios(rates["fed"], rates["paper"])) if "paper" in rates else None
    return {
        "task": timed.task,
        "backbone": timed.backbone,
        "format": str(trainer.precision).removeprefix("torch."),
        "images/s": spread(rates["fed"], 0),
        "of the resident batch": spread(ratios(rates["fed"], rates["resident"])),
        "of the paper's loop": plain,
        "waits for data": round(fed.waiting_share(), 3),
        "GFLOP forward": round(flops / 1e9, 2),
        # A training step costs about three forward passes.
        "share of peak": round(3 * flops * rate / peak, 3) if peak else "unknown",
        "table 2, min": table2_minutes(timed, task, trainer, rate),
    }


def plain_pass(
    crops: CropDataset, timed: Timed, device: torch.device, folder: str
) -> Callable[[], float]:
    """Make a pass of the paper's loop over the same crops; it returns images a second.

    Of few crops, since it is slow: its rate does not hang on how many they are.
    """
    own = timed.hyperparameters
    few = replace(crops, rows=crops.rows[: 4 * own.batch_size])
    pixels = few.crops[few.rows]
    middle = pixels.shape[1] // 2
    some = np.asarray(pixels[:, middle - 1 : middle + 2])
    data = PngCrops(some, Path(folder), own.input_px)
    loop = PlainLoop(build(timed.backbone, CLASSES), own.batch_size, device)
    return lambda: len(data) / wall_seconds(lambda: loop.train_epoch(data))


def table2_minutes(
    timed: Timed, task: CropTask | LocationTask, trainer: Predictor, rate: float
) -> float | None:
    """Extrapolate to the paper's epochs on all folds of the whole competition."""
    if timed.backbone not in EPOCHS or not isinstance(task, CropTask):
        return None
    if timed.task != "condition":
        return None
    size = timed.hyperparameters.part_size
    predict_s = wall_seconds(lambda: trainer.logits(task.train, size))
    share = TRAIN_SHARE / rate + 0.05 * predict_s / len(task.train)
    epochs_s = FOLDS * EPOCHS[timed.backbone] * COMPETITION.points * share
    return round(epochs_s / 60, 2)


def forward_flops(config: RunConfig, crop_px: int) -> float:
    """Count the forward pass of one image, additions and multiplications apart."""
    side = config.hyperparameters.input_px or crop_px
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        build_model(config).eval()(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops())


def peak_flops(device: torch.device) -> float | None:
    """Look the device's dense 16-bit peak up, in flop/s; None for an unknown one."""
    if device.type != "cuda":
        return None
    return peak_of(torch.cuda.get_device_name(device))


def compare_formats(
    cache: CropCache, epochs: int, seeds: int, device: torch.device
) -> list[dict[str, object]]:
    """Train the same network in each number format; the last fifth of studies tests."""
    studies = sorted(cache.sites["study_id"].unique())
    tested = cache.sites["study_id"].isin(studies[-max(1, len(studies) // 5) :])
    train = crop_set(cache, np.flatnonzero(~tested))
    test = crop_set(cache, np.flatnonzero(tested))
    rows = []
    for precision in (torch.float32, torch.bfloat16, torch.float16):
        if precision is torch.float16 and device.type != "cuda":
            continue  # the scaler is for GPUs
        top1 = []
        for seed in range(seeds):
            hyperparameters = Hyperparameters(
                epochs=epochs, patience=epochs, seed=seed, batch_size=64
            )
            torch.manual_seed(seed)
            model = build("resnet18", CLASSES)
            trainer = Trainer(model, hyperparameters, device, precision)
            augment = Augmenter(hyperparameters.augment, seed, mirrors=True)
            own = replace(train, augment=augment, seed=seed)
            trainer.fit(CropTraining(own, test, hyperparameters.batch_size))
            top1.append(max(epoch.validation_top1 for epoch in trainer.epochs))
        spread_of = stdev(top1) if len(top1) > 1 else None
        name = str(precision).removeprefix("torch.")
        rows.append(
            {"format": name, "top-1": mean(top1), "sd": spread_of, "seeds": seeds}
        )
    return rows


def without_spread(row: Row) -> Row:
    """Keep a row's medians alone, to fit a terminal; the file has the spread too."""
    return {
        name: held.partition(" (")[0] if isinstance(held, str) else held
        for name, held in row.items()
    }


def main() -> None:
    """Time the runs, compare the formats where asked, write both."""
    args, begin = parse(), time.perf_counter()
    cache, device = open_cache(args.cache), choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    steps, turns, workers = args.steps, args.turns, args.loader_workers
    if args.smoke:
        steps = turns = 1
        workers = 0
    say(
        f"{name}, crops of {cache.spec.crop_px} px, {workers} loader workers, {turns} "
        f"turns of {steps} steps"
    )
    rows: list[Row] = []
    for timed in runs_to_time(args.smoke):
        rows.append(time_run(cache, timed, steps, turns, workers))
        say(f"{timed.task} {timed.backbone}: {rows[-1]['images/s']} images/s")
    show_table(
        "Training, the loader included: medians", list(map(without_spread, rows))
    )
    minutes = [float(str(row["table 2, min"])) for row in rows if row["table 2, min"]]
    total = sum(minutes)
    say(f"Table 2 over {FOLDS} folds: {total:.1f} minutes, extrapolated")
    told: dict[str, Any] = {"device": name, "minutes": total, "runs": rows}
    if args.formats:
        told["formats"] = compare_formats(cache, args.epochs, args.seeds, device)
        show_table("Number formats, resnet18 from scratch", told["formats"])
    if args.out is not None:
        write_json(told, args.out)
    say(f"Took {(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    run_script(main)

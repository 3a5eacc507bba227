"""Feeding and training against a plain loop and against their bounds.

    python -m benchmarks.training_speed --cache demo/cache --write

Feeding: crops a second from the cache's loader and from PNG files. Training: steps on
the same crops by our loop and the plain one (benchmarks/plain_loop.py), with and
without augmentation, and on one resident batch, which no loader can beat. All of a
table alternate in one run; a ratio is taken within a turn.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.fed_training import FedTraining, crop_set
from benchmarks.measure import (
    BENCHMARKS,
    Row,
    alternate,
    ratio_row,
    ratios,
    spread,
    wall_seconds,
    write_table,
)
from benchmarks.plain_loop import CLASSES, PlainLoop, PngCrops, plain_loader
from src.cache.crop_cache import CropCache, open_cache
from src.classification.crop_task import CropTraining
from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.models.backbones import build, check_names
from src.training.config import Hyperparameters
from src.training.data_loading import training_loader
from src.training.device import choose_device
from src.training.trainer import Trainer

AUGMENT, WORKERS = 0.5, 2


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--backbone", nargs="+", default=["paper"], metavar="NAME", help="which")
    add("--batch-size", type=positive_int, default=16, help="crops a step")
    add("--steps", type=positive_int, default=3, help="steps a turn")
    add("--turns", type=positive_int, default=5, help="turns, after one for warmth")
    add("--write", action="store_true", help=f"put the tables into {BENCHMARKS}")
    return parser.parse_args()


def feed(
    cache: CropCache, rows: np.ndarray, size: int, turns: int, folder: Path
) -> list[Row]:
    """Time batches without a training: crops a second of each loader."""
    device = choose_device()

    def ours(augment: float, workers: int) -> Callable[[], float]:
        some = crop_set(cache, rows, augment)
        loader = training_loader(some, size, 0, device, workers)
        return lambda: len(rows) / wall_seconds(lambda: list(loader))

    data = PngCrops(_three_slices(cache, rows), folder)
    plain = plain_loader(data, size)
    rates = alternate(
        {
            "PNG files, PIL": lambda: len(rows) / wall_seconds(lambda: list(plain)),
            "uint8 batches": ours(0.0, 0),
            f"augmented by {AUGMENT}": ours(AUGMENT, 0),
            f"augmented by {AUGMENT}, {WORKERS} workers": ours(AUGMENT, WORKERS),
        },
        turns,
    )
    against = {"PIL": rates["PNG files, PIL"]}
    return [ratio_row(name, values, against) for name, values in rates.items()]


def train(
    name: str,
    cache: CropCache,
    rows: np.ndarray,
    size: int,
    turns: int,
    folder: Path,
) -> Row:
    """Time one backbone's training by each loop."""
    device = choose_device()

    def ours(augment: float, workers: int) -> FedTraining:
        own = Hyperparameters(batch_size=size, augment=augment)
        trainer = Trainer(build(name, CLASSES), own, device, loader_workers=workers)
        some = crop_set(cache, rows, augment)
        return FedTraining(trainer, CropTraining(some, replace(some), size))

    plain = PlainLoop(build(name, CLASSES), size, device)
    data = PngCrops(_three_slices(cache, rows), folder)
    as_they_are, augmented = ours(0.0, 0), ours(AUGMENT, 0)
    with_workers = ours(AUGMENT, WORKERS)
    rates = alternate(
        {
            "plain": lambda: len(rows) / wall_seconds(lambda: plain.train_epoch(data)),
            "ours": as_they_are.fed_rate,
            "augmented": augmented.fed_rate,
            "workers": with_workers.fed_rate,
            "resident": as_they_are.resident_rate,
        },
        turns,
    )
    bound = rates["resident"]
    return {
        "backbone": name,
        "format": str(as_they_are.trainer.precision).removeprefix("torch."),
        "ours, images/s": spread(rates["ours"], 1),
        "of the plain loop": spread(ratios(rates["ours"], rates["plain"])),
        "of one resident batch": spread(ratios(rates["ours"], bound)),
        f"augmented by {AUGMENT}": spread(ratios(rates["augmented"], bound)),
        f"and {WORKERS} loader workers": spread(ratios(rates["workers"], bound)),
    }


def _three_slices(cache: CropCache, rows: np.ndarray) -> np.ndarray:
    """Cut the middle three slices out of some crops: [n, 3, px, px]."""
    crops = np.asarray(cache.crops[rows])
    middle = crops.shape[1] // 2
    return crops[:, middle - 1 : middle + 2]


def main() -> None:
    """Time both, show the tables, and write them where asked."""
    args = parse()
    cache, device = open_cache(args.cache), choose_device()
    count = args.batch_size * args.steps
    rows = np.arange(count) % len(cache.table)
    fed_rows = np.arange(max(count, 16 * args.batch_size)) % len(cache.table)
    setting = (
        f"{device}, {torch.get_num_threads()} threads, crops of "
        f"{cache.spec.crop_px} px, batch {args.batch_size}, median of {args.turns} "
        "turns"
    )
    say(setting)
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = (args.turns, Path(folder))
        tables["Feeding"] = feed(cache, fed_rows, args.batch_size, *place)
        show_table("Feeding", tables["Feeding"])
        tables["Training"] = [
            train(name, cache, rows, args.batch_size, *place)
            for name in check_names(args.backbone)
        ]
        show_table("Training", tables["Training"])
    told = [float(str(r["of the plain loop"]).split()[0]) for r in tables["Training"]]
    say(f"Our loop is {median(told):.2f} times as fast as the plain one in the median")
    if args.write:
        for section, table in tables.items():
            write_table(section, table, note=f"{setting}.")


if __name__ == "__main__":
    run_script(main)

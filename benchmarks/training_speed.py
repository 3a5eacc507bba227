"""Feeding and training against a plain loop and against their bounds.

    python -m benchmarks.training_speed --cache demo/cache --write

Feeding: crops a second from the cache's loader and from PNG files. Training: steps on
the same crops by our loop and the plain one (benchmarks/plain_loop.py), in the device's
format and in float32, with augmentation and loader workers, and on one resident batch,
which no loader can beat. All of a backbone alternate in one run; a ratio is taken
within a turn.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.fed_training import FedTraining, crop_set
from benchmarks.measure import (
    BENCHMARKS,
    Row,
    alternate,
    cpu_seconds,
    ratio_row,
    ratios,
    spread,
    wall_seconds,
    write_table,
)
from benchmarks.plain_loop import CLASSES, PlainLoop, PngCrops, plain_loader
from src.cache.crop_cache import CropCache, open_cache
from src.classification.crop_task import CropTraining
from src.command_line import make_parser, positive_float, positive_int, run_script
from src.console import say, show_table
from src.models.backbones import build, check_names
from src.training.config import Hyperparameters
from src.training.data_loading import training_loader
from src.training.device import choose_device
from src.training.trainer import Trainer

AUGMENT, WORKERS = 0.5, 2
MOST_STEPS, FED_BATCHES = 32, 16
FED = f"augmented by {AUGMENT}, {WORKERS} loader workers, of one resident batch"
COLUMNS = (
    "The plain loop is float32; ours in the format named, then in float32 as well. One "
    "resident batch is the bound without a loader, in our format; augmentation's CPU "
    "time is that of one process without a training."
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--backbone", nargs="+", default=["paper"], metavar="NAME", help="which")
    add("--batch-size", type=positive_int, default=16, help="crops a step")
    add("--steps", type=positive_int, default=2, help="steps a turn, at least")
    text = "seconds of a turn's steps, where that is more steps"
    add("--turn-seconds", type=positive_float, default=1.5, help=text)
    add("--turns", type=positive_int, default=5, help="turns, after one for warmth")
    add("--write", action="store_true", help=f"put the tables into {BENCHMARKS}")
    return parser.parse_args()


@dataclass(frozen=True)
class Setting:
    """How much is timed; steps: at least so many a turn."""

    batch_size: int
    steps: int
    turns: int
    turn_s: float

    def steps_of(self, rate: Callable[[], float]) -> int:
        """Return how many steps fill a turn; rate: times some, in images a second."""
        rate()  # for warmth
        return max(
            self.steps, min(MOST_STEPS, round(self.turn_s * rate() / self.batch_size))
        )


@dataclass(frozen=True)
class Trained:
    """Images a second of one backbone's training, turn by turn, by what was timed.

    augmentation: images a CPU second; float32: only where `ours` is in another format.
    """

    backbone: str
    precision: torch.dtype
    steps: int
    rates: Mapping[str, Sequence[float]]

    def over_plain(self, ours: str = "ours") -> list[float]:
        """Return how many times faster than the plain loop, turn by turn."""
        return ratios(self.rates[ours], self.rates["plain"])

    def in_float32(self) -> list[float]:
        """Return the same for our loop without bfloat16."""
        return self.over_plain("float32" if "float32" in self.rates else "ours")

    def of_bound(self) -> list[float]:
        """Return the augmented, fed rate as a share of one resident batch's."""
        return ratios(self.rates["workers"], self.rates["resident"])

    def of_bound_and_augmentation(self) -> list[float]:
        """Return that of the bound's time with the augmentation's CPU time added."""
        names = ("workers", "resident", "augmentation")
        turns = zip(*(self.rates[name] for name in names), strict=True)
        return [fed * (1 / bound + 1 / cpu) for fed, bound, cpu in turns]

    def row(self) -> Row:
        """Show it."""
        return {
            "backbone": self.backbone,
            "format": str(self.precision).removeprefix("torch."),
            "steps a turn": self.steps,
            "ours, images/s": spread(self.rates["ours"], 1),
            "of the plain loop": spread(self.over_plain()),
            "of it in float32": spread(self.in_float32()),
            "of one resident batch": spread(
                ratios(self.rates["ours"], self.rates["resident"])
            ),
            FED: spread(self.of_bound()),
            "of that and augmentation's CPU time": spread(
                self.of_bound_and_augmentation()
            ),
        }


def summary(trained: Sequence[Trained]) -> list[Row]:
    """Make the rows of the backbones' median and least, of each one's median."""
    names = list(trained[0].row())
    columns = {
        "of the plain loop": [median(each.over_plain()) for each in trained],
        "of it in float32": [median(each.in_float32()) for each in trained],
        FED: [median(each.of_bound()) for each in trained],
        "of that and augmentation's CPU time": [
            median(each.of_bound_and_augmentation()) for each in trained
        ],
    }
    rows: list[Row] = []
    for title, choose in (("median", median), ("least", min)):
        told = {name: f"{choose(values):.2f}" for name, values in columns.items()}
        first = {"backbone": f"{title} of {len(trained)}"}
        rows.append({**dict.fromkeys(names), **first, **told})
    return rows


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


def train(name: str, cache: CropCache, setting: Setting, folder: Path) -> Trained:
    """Time one backbone's training by each loop."""
    device, size = choose_device(), setting.batch_size

    def ours(
        rows: np.ndarray, augment: float = 0.0, workers: int = 0, plain: bool = False
    ) -> FedTraining:
        own = Hyperparameters(batch_size=size, augment=augment)
        precision = torch.float32 if plain else None
        trainer = Trainer(build(name, CLASSES), own, device, precision, workers)
        some = crop_set(cache, rows, augment)
        return FedTraining(trainer, CropTraining(some, replace(some), size))

    every = len(cache.sites)
    few = np.arange(setting.steps * size) % every
    steps = setting.steps_of(ours(few).resident_rate)
    rows = np.arange(steps * size) % every
    loop = PlainLoop(build(name, CLASSES), size, device)
    data = PngCrops(_three_slices(cache, rows), folder)
    fed, workers = ours(rows), ours(rows, AUGMENT, WORKERS)
    augmented = training_loader(crop_set(cache, rows, AUGMENT), size, 0, device)
    work = {
        "plain": lambda: len(rows) / wall_seconds(lambda: loop.train_epoch(data)),
        "ours": fed.fed_rate,
        "workers": workers.fed_rate,
        "resident": fed.resident_rate,
        "augmentation": lambda: len(rows) / cpu_seconds(lambda: list(augmented)),
    }
    precision = fed.trainer.precision
    if precision is not torch.float32:
        work["float32"] = ours(rows, plain=True).fed_rate
    rates = alternate(work, setting.turns)
    return Trained(name, precision, steps, rates)


def _three_slices(cache: CropCache, rows: np.ndarray) -> np.ndarray:
    """Cut the middle three slices out of some crops: [n, 3, px, px]."""
    crops = np.asarray(cache.crops[rows])
    middle = crops.shape[1] // 2
    return crops[:, middle - 1 : middle + 2]


def main() -> None:
    """Time both, show the tables, and write them where asked."""
    args = parse()
    cache, device = open_cache(args.cache), choose_device()
    setting = Setting(args.batch_size, args.steps, args.turns, args.turn_seconds)
    fed_rows = np.arange(FED_BATCHES * args.batch_size) % len(cache.sites)
    about = (
        f"{device}, {torch.get_num_threads()} threads, crops of "
        f"{cache.spec.crop_px} px, batches of {args.batch_size}; median, least and "
        f"greatest of {args.turns} turns"
    )
    say(about)
    with tempfile.TemporaryDirectory() as folder:
        fed = feed(cache, fed_rows, args.batch_size, args.turns, Path(folder))
        show_table("Feeding", fed)
        trained = []
        for name in check_names(args.backbone):
            trained.append(train(name, cache, setting, Path(folder)))
            say(f"{name}: {spread(trained[-1].over_plain())} times the plain loop")
    rows = [each.row() for each in trained] + summary(trained)
    show_table("Training", rows)
    if args.write:
        write_table("Feeding", fed, note=f"{about}; uint8, no network.")
        write_table("Training", rows, note=f"{about}. {COLUMNS}")


if __name__ == "__main__":
    run_script(main)

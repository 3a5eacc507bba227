"""How long the paper's Table 2 takes on this device, and whether halves are as good.

    python -m benchmarks.gpu_table2 --cache cache --out gpu.json

Trains each of the six for some steps on as many crops as the competition has (the
cache's own, over and over) and extrapolates to the paper's epochs on five folds. Then
the device's number formats train the same small network: they should be as accurate.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from src.cache.crop_cache import CropCache, open_cache
from src.classification.crop_dataset import CropDataset
from src.classification.crop_task import CropTraining
from src.classification.labels import CROP_LABELS
from src.command_line import make_parser, positive_int, run_script
from src.console import say, show_table
from src.files import write_json
from src.models.backbones import PAPER_BACKBONES, build
from src.training.augmentation import Augmenter
from src.training.config import Hyperparameters
from src.training.device import choose_device
from src.training.mirror import is_axial
from src.training.presets import read_preset, values_for
from src.training.trainer import Trainer

COMPETITION_CROPS = 48_692
FOLDS, TRAIN_SHARE = 5, 0.76  # of the crops, in each fold: the rest tests and validates
EPOCHS = dict(
    zip(PAPER_BACKBONES, (5, 7, 10, 9, 15, 15), strict=True)
)  # the paper's code ran
RECIPES = Path(__file__).parents[1] / "configs" / "paper.toml"
# Dense peak in 16 bits, teraflops, from the makers' data sheets.
PEAK = {"H100": 989, "H200": 989, "A100": 312, "L4": 121, "T4": 65}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what input_prep.py made")
    add("--out", type=Path, help="where to write the figures as JSON")
    add(
        "--crops",
        type=positive_int,
        default=COMPETITION_CROPS,
        help="to make of the cache's",
    )
    add("--steps", type=positive_int, default=60, help="timed steps a backbone")
    add("--epochs", type=positive_int, default=6, help="of the number formats' test")
    add("--seeds", type=positive_int, default=3, help="of the number formats' test")
    return parser.parse_args()


def crop_set(cache: CropCache, rows: np.ndarray) -> CropDataset:
    """Make a set of some of the cache's rows, repeats allowed."""
    table = cache.table.iloc[rows]
    classes = CROP_LABELS["condition"].classes(table)
    return CropDataset(cache.crops, rows, classes, is_axial(table), "neighbours")


def paper_settings(backbone: str) -> Hyperparameters:
    """Take the paper's recipe for a backbone: its batch, its input's side."""
    values = values_for(read_preset(RECIPES, set(PAPER_BACKBONES)), backbone)
    return Hyperparameters(
        **{name: v for name, v in values.items() if name != "weights"}
    )


def time_backbone(
    name: str, cache: CropCache, crops: int, steps: int, device: torch.device
) -> dict[str, Any]:
    """Time training and prediction of one backbone."""
    rows = np.arange(crops) % len(cache.table)
    hyperparameters = paper_settings(name)
    trainer = Trainer(build(name, 5), hyperparameters, device)
    size = hyperparameters.batch_size
    timed = crop_set(cache, rows[: steps * size])
    warm = crop_set(cache, rows[: min(3, steps) * size])
    for some in (warm, timed):
        task = CropTraining(some, some, size)
        loader = trainer.start(task)
        train_s = _seconds(partial(trainer.train_epoch, task, loader, 1), device)
        predict_s = _seconds(partial(trainer.logits, some, size), device)
    flops = _forward_flops(name, hyperparameters.input_px or cache.crops.shape[-1])
    train_rate, predict_rate = len(timed) / train_s, len(timed) / predict_s
    peak = _peak(device)
    epoch_s = crops * (TRAIN_SHARE / train_rate + 0.05 / predict_rate)
    return {
        "backbone": name,
        "format": str(trainer.precision).removeprefix("torch."),
        "train, images/s": round(train_rate),
        "predict, images/s": round(predict_rate),
        "GFLOP forward": round(flops / 1e9, 2),
        # A training step costs about three forward passes.
        "share of peak": round(3 * flops * train_rate / peak, 3) if peak else None,
        "table 2, min": round(FOLDS * EPOCHS[name] * epoch_s / 60, 2),
    }


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _forward_flops(name: str, side: int) -> float:
    """Count one image's forward pass."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        build(name, 5).eval()(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops())


def _peak(device: torch.device) -> float | None:
    """Look the device's dense 16-bit peak up, in flop/s."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * flops for key, flops in PEAK.items() if key in name), None)


def compare_formats(
    cache: CropCache, epochs: int, seeds: int, device: torch.device
) -> list[dict[str, object]]:
    """Train the same network in each number format; the last fifth of studies tests."""
    studies = sorted(cache.table["study_id"].unique())
    tested = cache.table["study_id"].isin(studies[-max(1, len(studies) // 5) :])
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
            model = build("resnet18", 5)
            trainer = Trainer(model, hyperparameters, device, precision)
            augment = Augmenter(hyperparameters.augment, seed, mirrors=True)
            own = replace(train, augment=augment, seed=seed)
            trainer.fit(CropTraining(own, test, hyperparameters.batch_size))
            top1.append(max(epoch.validation_top1 for epoch in trainer.epochs))
        spread = stdev(top1) if len(top1) > 1 else None
        name = str(precision).removeprefix("torch.")
        rows.append({"format": name, "top-1": mean(top1), "sd": spread, "seeds": seeds})
    return rows


def main() -> None:
    """Time the six, compare the formats, write both."""
    args = parse()
    cache, device = open_cache(args.cache), choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    side = cache.crops.shape[-1]
    say(f"{name}, {args.crops} crops of {side} px")
    rows = [
        time_backbone(backbone, cache, args.crops, args.steps, device)
        for backbone in PAPER_BACKBONES
    ]
    show_table("Training the six", rows)
    total = sum(row["table 2, min"] for row in rows)
    say(f"Table 2 over {FOLDS} folds: {total:.1f} minutes, extrapolated")
    formats = compare_formats(cache, args.epochs, args.seeds, device)
    show_table("Number formats, resnet18 from scratch", formats)
    if args.out is not None:
        told = {"device": name, "minutes": total, "backbones": rows, "formats": formats}
        write_json(told, args.out)


if __name__ == "__main__":
    run_script(main)

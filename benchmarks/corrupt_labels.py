"""A cohort with corrupted labels, to test how the kit handles them.

    python -m benchmarks.corrupt_labels --data phantom --out swapped --swap-sides
    python -m benchmarks.corrupt_labels --data phantom --out noisy --noise 0.3

writes a copy with left and right of all coordinates swapped, or with a share of the
labels replaced by random draws from all labels. The images are linked, not copied; the
test studies and their ground truth are unchanged.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from src.command_line import make_parser, run_script
from src.competition.constants import TARGETS
from src.competition.tables import (
    LABEL_FILE,
    POINT_FILE,
    SAMPLE_FILE,
    SERIES_FILE,
    TEST_SERIES_FILE,
)
from src.console import say
from src.errors import UserError
from src.files import write_csv
from src.phantom.cohort import truth_folder

LINKED = ("train_images", "test_images", SERIES_FILE, TEST_SERIES_FILE, SAMPLE_FILE)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a competition")
    add("--out", type=Path, required=True, help="a new folder")
    add("--swap-sides", action="store_true", help="swap left and right of points")
    text = "share of the labels to replace by random draws from all labels"
    add("--noise", type=float, default=0.0, metavar="SHARE", help=text)
    add("--seed", type=int, default=0, help="random seed of the noise")
    return parser.parse_args()


def main() -> None:
    """Write the corrupted copy."""
    args = parse()
    if args.out.exists():
        raise UserError(f"{args.out} exists already: give a new folder as --out")
    args.out.mkdir(parents=True)
    for name in LINKED:
        os.symlink((args.data / name).resolve(), args.out / name)
    if truth_folder(args.data).is_dir():
        os.symlink(truth_folder(args.data).resolve(), truth_folder(args.out))
    points = pd.read_csv(args.data / POINT_FILE)
    labels = pd.read_csv(args.data / LABEL_FILE)
    if args.swap_sides:
        points["condition"] = points["condition"].map(swap_side_name)
    write_csv(points, args.out / POINT_FILE)
    rng = np.random.default_rng(args.seed)
    write_csv(with_noise(labels, args.noise, rng), args.out / LABEL_FILE)
    say(f"Wrote {args.out}")


def swap_side_name(condition: str) -> str:
    """Swap left and right in a condition as the coordinates spell it."""
    sides = {"Left": "Right", "Right": "Left"}
    first, _, rest = condition.partition(" ")
    return f"{sides.get(first, first)} {rest}"


def with_noise(
    labels: pd.DataFrame, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Replace a share of the labels by random ones of them; missing ones stay so."""
    table = labels[list(TARGETS)].to_numpy(dtype=object)
    given = pd.notna(table)
    chosen = given & (rng.random(table.shape) < share)
    table[chosen] = rng.choice(table[given], chosen.sum())
    return labels.assign(**dict(zip(TARGETS, table.T, strict=True)))


if __name__ == "__main__":
    run_script(main)

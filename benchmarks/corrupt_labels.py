"""A cohort with planted mistakes, to see what a kit makes of bad labels.

    python -m benchmarks.corrupt_labels --data phantom --out spoiled --swap-sides
    python -m benchmarks.corrupt_labels --data phantom --out noisy --noise 0.3

writes a copy whose coordinates call left right and right left, or in which a share of
the labels is drawn from the others' at random. The images are linked, not copied, and
the test studies and their truth stay as they are.
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
    add("--out", type=Path, required=True, help="a folder that is not there yet")
    add("--swap-sides", action="store_true", help="exchange left and right of points")
    text = "share of the labels that are drawn anew, from all labels"
    add("--noise", type=float, default=0.0, metavar="SHARE", help=text)
    add("--seed", type=int, default=0, help="of the noise")
    return parser.parse_args()


def main() -> None:
    """Write the spoiled copy."""
    args = parse()
    if args.out.exists():
        raise UserError(f"{args.out} is there already: name a folder that is not")
    args.out.mkdir(parents=True)
    for name in LINKED:
        os.symlink((args.data / name).resolve(), args.out / name)
    if truth_folder(args.data).is_dir():
        os.symlink(truth_folder(args.data).resolve(), truth_folder(args.out))
    points = pd.read_csv(args.data / POINT_FILE)
    labels = pd.read_csv(args.data / LABEL_FILE)
    if args.swap_sides:
        points["condition"] = points["condition"].map(exchanged)
    write_csv(points, args.out / POINT_FILE)
    rng = np.random.default_rng(args.seed)
    write_csv(with_noise(labels, args.noise, rng), args.out / LABEL_FILE)
    say(f"Wrote {args.out}")


def exchanged(condition: str) -> str:
    """Call a condition's left right, and its right left."""
    sides = {"Left": "Right", "Right": "Left"}
    first, _, rest = condition.partition(" ")
    return f"{sides.get(first, first)} {rest}"


def with_noise(
    labels: pd.DataFrame, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw a share of the labels anew from all of them; what is missing stays so."""
    table = labels[list(TARGETS)].to_numpy(dtype=object)
    given = pd.notna(table)
    chosen = given & (rng.random(table.shape) < share)
    table[chosen] = rng.choice(table[given], chosen.sum())
    return labels.assign(**dict(zip(TARGETS, table.T, strict=True)))


if __name__ == "__main__":
    run_script(main)

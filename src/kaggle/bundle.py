"""Stage what goes to Kaggle: a dataset of code and weights, and two notebooks.

    python -m src.kaggle.bundle --runs runs --owner NAME

writes staged/dataset, staged/inference and staged/train, ready for
`python -m src.kaggle.publish`. Without --runs the dataset holds the code alone, which
is all that the training notebook needs.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from src.command_line import make_parser, run_script
from src.console import say, show_table, timed
from src.errors import UserError
from src.files import write_json
from src.kaggle.kit import ROOT, stage_kit
from src.kaggle.lint import (
    DATASET_FILE,
    KERNEL_FILE,
    DatasetMetadata,
    check_dataset,
    check_kernel,
)
from src.kaggle.manifest import Manifest, read_manifest
from src.kaggle.names import OWNER, SLUG_PREFIX, Names
from src.kaggle.wheels import fetch_wheels

SUBTITLE = "Code and weights for the RSNA 2024 lumbar spine competition"
DESCRIPTION = "Made by `python -m src.kaggle.bundle`. Kit {kit}, commit {commit}.\n\n"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--runs", type=Path, help="the folder of train.py's runs")
    add("--owner", help="your name on Kaggle, as in kaggle.com/NAME")
    add("--out", type=Path, default=Path("staged"), help="where to stage it")
    add("--slug-prefix", default=SLUG_PREFIX, help="prefix of the slugs")
    text = "where the inference notebook finds the runs: in the dataset, or in the "
    text += "training notebook's output"
    sources = ["dataset", "train"]
    add("--weights-from", choices=sources, default=sources[0], help=text)
    text = "add decoders that Kaggle's image lacks (fetches them with pip)"
    add("--wheels", action="store_true", help=text)
    text = "write the code and the runs alone, as the training notebook does"
    add("--kit-only", action="store_true", help=text)
    args = parser.parse_args()
    if not args.owner and not args.kit_only:
        parser.error("--owner is needed, unless --kit-only is given")
    return args


def main() -> None:
    """Stage everything and print the next command."""
    args = parse()
    kit = args.out / "kit" if args.kit_only else args.out / "dataset" / "kit"
    with timed(f"Staged {kit}"):
        stage_kit(args.runs, kit, fetch_wheels if args.wheels else None)
    if not args.kit_only:
        stage_metadata(args.out, Names(args.owner, args.slug_prefix), args.weights_from)
    report(kit)
    if not args.kit_only:
        say(f"Next: python -m src.kaggle.publish --staged {args.out} --dry-run")


def stage_metadata(out: Path, names: Names, weights_from: str) -> None:
    """Write the dataset's metadata and the notebooks' folders, for their owner."""
    manifest = read_manifest(out / "dataset" / "kit")
    metadata: DatasetMetadata = {
        "id": names.ref("kit"),
        "title": names.title("kit"),
        "subtitle": SUBTITLE,
        "description": DESCRIPTION.format(**manifest) + _runs_as_text(manifest),
        "licenses": [{"name": "other"}],
        "keywords": [],
    }
    write_json(metadata, out / "dataset" / DATASET_FILE)
    check_dataset(out / "dataset")
    trained = [names.ref("train")] if weights_from == "train" else []
    stage_kernel(out / "inference", "inference", names, trained)
    stage_kernel(out / "train", "train", names)


def stage_kernel(
    folder: Path, kernel: str, names: Names, kernel_sources: Sequence[str] = ()
) -> None:
    """Copy a notebook; fill in owner, slugs and the notebooks whose output it reads."""
    source = ROOT / "kernels" / kernel
    if not source.is_dir():
        raise UserError(f"{source} does not exist; bundle from a clone of the kit.")
    text = (source / KERNEL_FILE).read_text(encoding="utf-8")
    text = text.replace(
        f"{OWNER}/{SLUG_PREFIX}-", f"{names.owner}/{names.slug_prefix}-"
    )
    changes = {"title": names.title(kernel), "kernel_sources": [*kernel_sources]}
    metadata = {**json.loads(text), **changes}
    write_json(metadata, folder / KERNEL_FILE)
    shutil.copyfile(source / metadata["code_file"], folder / metadata["code_file"])
    check_kernel(folder, offline=kernel == "inference")


def report(kit: Path) -> None:
    """Print what the kit holds."""
    manifest = read_manifest(kit)
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    say(f"Kit {manifest['kit']}: {len(manifest['files'])} files, {size / 1e6:.1f} MB")
    columns = ("name", "validation_loss", "validation_top1")
    rows = [{c: each.get(c) for c in columns} for each in manifest["runs"]]
    if rows:
        show_table("Runs", rows)
    else:
        say("No runs: it can train on Kaggle, but every prediction is the prior")


def _runs_as_text(manifest: Manifest) -> str:
    return "\n".join(f"- {each['name']}" for each in manifest["runs"]) or "No runs."


if __name__ == "__main__":
    run_script(main)

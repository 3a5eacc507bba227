"""Publish what is staged: upload, push, follow, fetch the output, submit.

    python -m src.kaggle.publish --staged staged --message "six backbones"

stops with one sentence at the first failure, also where the CLI itself reports none.
--dry-run shows the commands and runs none of them.
"""

import argparse
from pathlib import Path
from typing import Any

from src.command_line import make_parser, run_script
from src.console import say, timed
from src.errors import UserError
from src.kaggle import cli
from src.kaggle.cli import Polling
from src.kaggle.datasets import upload
from src.kaggle.kernels import check_output, fetch_output, follow, push, submit
from src.kaggle.lint import check_dataset, check_kernel
from src.kaggle.manifest import read_manifest, verify
from src.kaggle.names import KERNELS


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "the folder that src.kaggle.bundle made"
    add("--staged", type=Path, default=Path("staged"), help=text)
    text = "train: fetch its output; inference: also check and submit it"
    add("--kernel", choices=KERNELS, default="inference", help=text)
    add(
        "--message",
        default="rsna-lumbar",
        help="of the version and of the submission",
    )
    add("--no-upload", action="store_true", help="use the dataset as it is on Kaggle")
    add("--no-submit", action="store_true", help="stop after fetching the output")
    add("--poll-seconds", type=float, default=20.0, help="polling interval")
    add("--timeout-minutes", type=float, default=720.0, help="limit of each wait")
    add("--dry-run", action="store_true", help="show each command, run none")
    return parser.parse_args()


def main() -> None:
    """Check what is staged, then publish it or show how."""
    args = parse()
    dataset, folder = args.staged / "dataset", args.staged / args.kernel
    check_dataset(dataset)
    metadata = check_kernel(folder, offline=args.kernel == "inference")
    if broken := verify(dataset / "kit"):
        raise UserError(f"The staged kit is incomplete: {broken[0]}; stage it again.")
    say(f"{dataset} and {folder} passed the checks")
    if args.dry_run:
        for command in plan(args, metadata["id"]):
            say(f"$ kaggle {' '.join(command)}")
        return
    publish(args, metadata)


def plan(args: argparse.Namespace, ref: str) -> list[list[str]]:
    """List the commands; either `create` or `version` will be run."""
    dataset, folder = args.staged / "dataset", args.staged / args.kernel
    dataset_ref = check_dataset(dataset)["id"]
    shape = check_kernel(folder, offline=False)["machine_shape"]
    uploading = [
        cli.dataset_status(dataset_ref),
        cli.create_dataset(dataset),
        cli.version_dataset(dataset, args.message),
        cli.dataset_status(dataset_ref),
    ]
    running = [
        cli.push_kernel(folder, shape),
        cli.pull_kernel(ref, Path("SCRATCH")),
        cli.kernel_status(ref),
        cli.kernel_output(ref, output_folder(args)),
    ]
    submitting = [
        cli.submissions(),
        cli.submit(ref, "VERSION", args.message),
        cli.submissions(),
    ]
    return [
        *([] if args.no_upload else uploading),
        *running,
        *(submitting if submits(args) else []),
    ]


def publish(args: argparse.Namespace, metadata: dict[str, Any]) -> None:
    """Upload, push, follow, fetch the output and submit."""
    ref = metadata["id"]
    polling = Polling(args.poll_seconds, 60 * args.timeout_minutes)
    if not args.no_upload:
        with timed("Uploaded the dataset"):
            version = upload(args.staged / "dataset", args.message, polling)
        say(f"The dataset is ready at version {version}")
    with timed("Pushed the notebook"):
        version = push(args.staged / args.kernel, metadata)
    with timed(f"Version {version} of {ref} ran to its end"):
        follow(ref, polling)
    fetch_output(ref, output_folder(args))
    if args.kernel == "inference":
        # A kit that was trained on Kaggle differs from the staged one.
        ours = not metadata["kernel_sources"]
        check_output(output_folder(args), kit_id(args.staged) if ours else None)
    say(f"The output is in {output_folder(args)}")
    if submits(args):
        submit(ref, version, args.message)
        say("Submitted; the hidden rerun takes hours. Its score will be listed by")
        say(f"  kaggle {' '.join(cli.submissions()[:3])}")


def submits(args: argparse.Namespace) -> bool:
    """Return whether a submission follows."""
    return args.kernel == "inference" and not args.no_submit


def output_folder(args: argparse.Namespace) -> Path:
    """Return the folder for a notebook's output."""
    return args.staged / "output" / args.kernel


def kit_id(staged: Path) -> str:
    """Return the staged kit's id."""
    return read_manifest(staged / "dataset" / "kit")["kit"]


if __name__ == "__main__":
    run_script(main)

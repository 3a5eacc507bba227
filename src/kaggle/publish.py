"""Publish what is staged: upload, push, follow, fetch the output, submit.

    python -m src.kaggle.publish --staged staged --message "six backbones"

stops with one sentence at the first failure, also where the CLI itself reports none;
while Kaggle or the network is down it tries again. --dry-run shows the commands and
runs none of them. After an interruption --follow goes on with what was pushed.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from src.command_line import make_parser, run_script
from src.console import say, timed
from src.errors import UserError
from src.kaggle import cli
from src.kaggle.datasets import upload
from src.kaggle.kernels import (
    check_output,
    check_sources,
    fetch_output,
    follow,
    push,
    pushed_before,
    submit,
)
from src.kaggle.lint import KernelMetadata, check_dataset, check_kernel
from src.kaggle.manifest import read_manifest, verify
from src.kaggle.names import KERNELS
from src.kaggle.polling import Polling
from src.kaggle.push_record import Push, fingerprint, write_push

FETCHES = 4  # of an output: just after a run Kaggle may still serve an older one's


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
    text = "if this very notebook and kit were pushed, follow that run; else push"
    add("--follow", action="store_true", help=text)
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
        cli.pull_kernel(ref, Path("SCRATCH")),
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


def publish(args: argparse.Namespace, metadata: KernelMetadata) -> None:
    """Upload, push, follow, fetch the output and submit."""
    ref = metadata["id"]
    polling = Polling(args.poll_seconds, 60 * args.timeout_minutes)
    pushed = follow_up(args, metadata, polling) or start(args, metadata, polling)
    with timed(f"{_version(pushed)} of {ref} ran to its end"):
        follow(ref, polling)
    fetch(args, metadata, polling)
    say(f"The output is in {output_folder(args)}")
    if submits(args):
        submit_once(args, pushed, polling)


def follow_up(
    args: argparse.Namespace, metadata: KernelMetadata, polling: Polling
) -> Push | None:
    """Return the push of these very files that --follow goes on with, if any."""
    if not args.follow:
        return None
    ref = metadata["id"]
    pushed = pushed_before(ref, content(args, metadata), record(args), polling)
    if pushed:
        polling.ask(lambda: check_sources(ref, metadata))
        say(f"{_version(pushed)} of {ref} is what is staged: it is not pushed anew")
    return pushed


def start(args: argparse.Namespace, metadata: KernelMetadata, polling: Polling) -> Push:
    """Upload the dataset and push the notebook, which runs it."""
    if not args.no_upload:
        with timed("Uploaded the dataset"):
            version = upload(args.staged / "dataset", args.message, polling)
        say(f"The dataset is ready at version {version}")
    folder, what = args.staged / args.kernel, content(args, metadata)
    with timed("Pushed the notebook"):
        pushed = push(folder, metadata, what, record(args), polling)
    say("If this is interrupted, run it again with --follow")
    return pushed


def fetch(args: argparse.Namespace, metadata: KernelMetadata, polling: Polling) -> None:
    """Fetch the output; of the inference notebook, until it is a valid submission."""
    folder = output_folder(args)
    # A kit that was trained on Kaggle differs from the staged one.
    kit = None if metadata["kernel_sources"] else kit_id(args.staged)
    for left in reversed(range(FETCHES)):
        polling.ask(lambda: fetch_output(metadata["id"], folder))
        if args.kernel != "inference":
            return
        try:
            return check_output(folder, kit)
        except UserError:
            if not left:
                raise
        say("That output is not the run's submission: fetching it again")
        time.sleep(args.poll_seconds)


def submit_once(args: argparse.Namespace, pushed: Push, polling: Polling) -> None:
    """Submit a push that was not submitted yet."""
    command = f"kaggle {' '.join(cli.submissions()[:3])}"
    if pushed.submitted:
        say(f"It was submitted before; its score is listed by\n  {command}")
        return
    if pushed.version is None:
        by_hand = " ".join(cli.submit(pushed.ref, "VERSION", "MESSAGE"))
        raise UserError(
            "The notebook ran, but the connection broke before Kaggle named its "
            f"version; look that up at https://www.kaggle.com/code/{pushed.ref}, and "
            f"submit with `kaggle {by_hand}`."
        )
    submit(pushed.ref, pushed.version, args.message, polling)
    write_push(replace(pushed, submitted=True), record(args))
    say("Submitted; the hidden rerun takes hours. Its score will be listed by")
    say(f"  {command}")


def _version(pushed: Push) -> str:
    return f"Version {pushed.version or '(unknown)'}"


def content(args: argparse.Namespace, metadata: KernelMetadata) -> str:
    """Return the fingerprint of what is staged."""
    return fingerprint(args.staged / args.kernel, metadata, kit_id(args.staged))


def record(args: argparse.Namespace) -> Path:
    """Return the file that records the notebook's last push."""
    return args.staged / "pushed" / f"{args.kernel}.json"


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

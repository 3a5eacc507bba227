"""The `kaggle` commands that publishing runs, in order; a dry run prints the same."""

from pathlib import Path

from src.kaggle.names import COMPETITION

# What the inference notebook leaves: its answer, and a note of which kit gave it.
SUBMISSION, ANSWERED = "submission.csv", "answered.json"


def dataset_status(ref: str) -> list[str]:
    """Ask whether a dataset is ready, and at which version."""
    return ["datasets", "status", ref, "--format", "json"]


def create_dataset(folder: Path) -> list[str]:
    """Upload a dataset for the first time; its folders travel zipped."""
    return ["datasets", "create", "-p", str(folder), "-r", "zip"]


def version_dataset(folder: Path, message: str) -> list[str]:
    """Upload a dataset anew."""
    return ["datasets", "version", "-p", str(folder), "-r", "zip", "-m", message]


def push_kernel(folder: Path, shape: str) -> list[str]:
    """Upload a notebook, which also runs it."""
    return ["kernels", "push", "-p", str(folder), "--accelerator", shape]


def pull_kernel(ref: str, folder: Path) -> list[str]:
    """Fetch a notebook's metadata as Kaggle has it."""
    return ["kernels", "pull", ref, "-p", str(folder), "-m"]


def kernel_status(ref: str) -> list[str]:
    """Ask how a notebook's run is doing."""
    return ["kernels", "status", ref]


def kernel_output(ref: str, folder: Path) -> list[str]:
    """Fetch what a notebook's run left."""
    return ["kernels", "output", ref, "-p", str(folder), "-o"]


def submit(ref: str, version: int | str, message: str) -> list[str]:
    """Hand a notebook's version in."""
    notebook = ["-k", ref, "-v", str(version), "-f", SUBMISSION]
    return ["competitions", "submit", COMPETITION, *notebook, "-m", message]


def submissions() -> list[str]:
    """List what was handed in."""
    return ["competitions", "submissions", COMPETITION, "--format", "json"]


def download(folder: Path) -> list[str]:
    """Fetch the competition's archive."""
    return ["competitions", "download", COMPETITION, "-p", str(folder)]

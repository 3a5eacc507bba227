"""The kaggle CLI: its output decides whether a command succeeded.

`kaggle` exits 0 after a refused push, an unusable source or a failed upload. Here each
command must print its message of success, and none of a failure.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar, cast

from src.console import say
from src.errors import UserError
from src.kaggle.names import COMPETITION

# What the CLI prints on a failure, and the sentence shown; {0} is the first group.
_REFUSALS = (
    (r"Upload unsuccessful: (.+)", "Kaggle did not accept {0}, so it is missing there"),
    (r"Kernel push error: (.+)", "Kaggle refused the notebook: {0}"),
    (r"not valid (\w+ sources) .*added to the kernel: (.+)", "Kaggle dropped {0} {1}"),
    (r"Dataset (?:version )?creation error: (.+)", "Kaggle refused the dataset: {0}"),
    (r"(Could not submit to competition.*)", "{0}"),
    (r"(Could not find competition.*)", "{0}"),
    (r"(ModuleNotFoundError: .+)", "the kaggle package is incomplete ({0})"),
)
_LOGIN = (
    "You are not logged in to Kaggle: make a token at "
    "https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token, or run "
    "`kaggle auth login`."
)
_RULES = (
    "Kaggle forbids this: accept the competition's rules at "
    f"https://www.kaggle.com/c/{COMPETITION}/rules, and check that you are logged in "
    "as the owner of the dataset and the notebook."
)
_BUSY = "Kaggle is busy or out of quota ({0}); wait some minutes and run this again."
_UNREACHABLE = "Kaggle cannot be reached; check the network and run this again."
# Failures of any command that exits 1, by the server's message where it sent one, else
# by the HTTP status.
_REASONS = (
    (r"Authentication required|401 Client Error|[Uu]nauth\w+", _LOGIN),
    (r"(429) Client Error|([Tt]oo many requests)|(5\d\d) Server Error", _BUSY),
    (r"([Ii]nternal server error|[Uu]navailable|quota)", _BUSY),
    (r"403 Client Error|was denied|Forbidden|accept.{0,40}rules", _RULES),
    (r"Max retries exceeded|ConnectionError|Network is unreachable", _UNREACHABLE),
)


@dataclass(frozen=True)
class CliResult:
    """A command's exit code and all of its output."""

    command: list[str]
    code: int
    output: str


def run_cli(arguments: list[str], live: bool = False) -> CliResult:
    """Run `kaggle` and capture its output; `live` also shows it meanwhile."""
    say(f"$ kaggle {' '.join(arguments)}")
    # Merged, so that lines keep their order; unbuffered, so that a progress bar moves.
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "kaggle", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    output = b""
    with process:
        stream = cast(BufferedReader, process.stdout)  # a pipe of bytes is one
        while part := stream.read1():
            output += part
            if live:
                sys.stdout.write(part.decode(errors="replace"))
                sys.stdout.flush()
    return CliResult(arguments, process.returncode, output.decode(errors="replace"))


def run_checked(
    arguments: list[str], success: str = "", live: bool = False
) -> re.Match[str]:
    """Run `kaggle`; return the match of `success` in its output.

    Raises UserError, one sentence, if it failed or did not report success.
    """
    result = run_cli(arguments, live)
    if error := error_in(result):
        raise UserError(error)
    match = re.search(success, result.output)
    if not match:
        raise UserError(
            f"`kaggle {' '.join(arguments[:2])}` did not report success, but: "
            f"{_last_line(result.output)}"
        )
    return match


def error_in(result: CliResult) -> str | None:
    """Return what went wrong in one sentence, or None."""
    for pattern, sentence in _REFUSALS:
        if match := re.search(pattern, result.output):
            return f"{sentence.format(*match.groups())}."
    if result.code == 0:
        return None
    for pattern, sentence in _REASONS:
        if match := re.search(pattern, result.output):
            return sentence.format(*(g for g in match.groups() if g))
    name = " ".join(result.command[:2])
    return f"`kaggle {name}` exited with {result.code}: {_last_line(result.output)}"


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


Found = TypeVar("Found")


@dataclass(frozen=True)
class Polling:
    """A polling interval and its time limit."""

    every_s: float = 20.0
    limit_s: float = 12 * 3600.0

    def wait(self, poll: Callable[[], Found | None], what: str) -> Found:
        """Poll until there is a result. Raises UserError at the time limit."""
        end = time.monotonic() + self.limit_s
        while not (found := poll()):
            if time.monotonic() >= end:
                raise UserError(
                    f"{what} after {self.limit_s / 60:.0f} minutes; look at it on "
                    "kaggle.com, and run this again."
                )
            time.sleep(self.every_s)
        return found


# What the inference notebook writes: the submission, and which kit made it.
SUBMISSION_FILE, RUN_INFO_FILE = "submission.csv", "run_info.json"


def dataset_status(ref: str) -> list[str]:
    """Ask whether a dataset is ready, and at which version."""
    return ["datasets", "status", ref, "--format", "json"]


def create_dataset(folder: Path) -> list[str]:
    """Upload a dataset for the first time, its folders zipped."""
    return ["datasets", "create", "-p", str(folder), "-r", "zip"]


def version_dataset(folder: Path, message: str) -> list[str]:
    """Upload a new version of a dataset."""
    return ["datasets", "version", "-p", str(folder), "-r", "zip", "-m", message]


def push_kernel(folder: Path, shape: str) -> list[str]:
    """Upload a notebook, which also runs it."""
    return ["kernels", "push", "-p", str(folder), "--accelerator", shape]


def pull_kernel(ref: str, folder: Path) -> list[str]:
    """Fetch a notebook's metadata as Kaggle has it."""
    return ["kernels", "pull", ref, "-p", str(folder), "-m"]


def kernel_status(ref: str) -> list[str]:
    """Ask for the status of a notebook's run."""
    return ["kernels", "status", ref]


def kernel_output(ref: str, folder: Path) -> list[str]:
    """Fetch the output of a notebook's run."""
    return ["kernels", "output", ref, "-p", str(folder), "-o"]


def submit(ref: str, version: int | str, message: str) -> list[str]:
    """Submit a version of a notebook."""
    notebook = ["-k", ref, "-v", str(version), "-f", SUBMISSION_FILE]
    return ["competitions", "submit", COMPETITION, *notebook, "-m", message]


def submissions() -> list[str]:
    """List the submissions."""
    return ["competitions", "submissions", COMPETITION, "--format", "json"]


def download(folder: Path) -> list[str]:
    """Fetch the competition's archive."""
    return ["competitions", "download", COMPETITION, "-p", str(folder)]

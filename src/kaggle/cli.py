"""Kaggle's command line, believed by its words.

`kaggle` ends with 0 after a refused push, an unusable source or an upload that failed.
Here each command must say the words of success, and none of those of a failure.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from src.console import say
from src.errors import UserError
from src.kaggle.names import COMPETITION

# What the CLI prints, and the sentence it means. {0} is what the pattern caught.
_REFUSALS = (
    (r"Upload unsuccessful: (.+)", "Kaggle did not take {0}, so it is missing there"),
    (r"Kernel push error: (.+)", "Kaggle refused the notebook: {0}"),
    (r"not valid (\w+ sources) .*added to the kernel: (.+)", "Kaggle left out {0} {1}"),
    (r"Dataset (?:version )?creation error: (.+)", "Kaggle refused the dataset: {0}"),
    (r"(Could not submit to competition.*)", "{0}"),
    (r"(Could not find competition.*)", "{0}"),
    (r"(ModuleNotFoundError: .+)", "the kaggle package is not whole ({0})"),
)
_LOGIN = (
    "Kaggle does not know you: make a token at https://www.kaggle.com/settings/api "
    "and save it as ~/.kaggle/access_token, or run `kaggle auth login`."
)
_RULES = (
    "Kaggle says it is forbidden: accept the competition's rules at "
    f"https://www.kaggle.com/c/{COMPETITION}/rules, and see that you are logged in as "
    "the owner of what is named."
)
_BUSY = "Kaggle is busy or out of quota ({0}); wait some minutes and run this again."
_AWAY = "Kaggle cannot be reached; check the network and run this again."
# Failures of every command, told by what the CLI prints as it ends with 1: the server's
# own message where it sent one, else the status.
_REASONS = (
    (r"Authentication required|401 Client Error|[Uu]nauth\w+", _LOGIN),
    (r"(429) Client Error|([Tt]oo many requests)|(5\d\d) Server Error", _BUSY),
    (r"([Ii]nternal server error|[Uu]navailable|quota)", _BUSY),
    (r"403 Client Error|was denied|Forbidden|accept.{0,40}rules", _RULES),
    (r"Max retries exceeded|ConnectionError|Network is unreachable", _AWAY),
)


@dataclass(frozen=True)
class CliResult:
    """How a command ended, and everything it printed."""

    command: list[str]
    code: int
    output: str


def run_cli(arguments: list[str], live: bool = False) -> CliResult:
    """Run `kaggle` and keep its words, whatever they are; `live` shows them as well."""
    say(f"$ kaggle {' '.join(arguments)}")
    # Merged, so that the words keep their order; unbuffered, so that a bar moves.
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "kaggle", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    words = b""
    with process, process.stdout as stream:
        while part := stream.read1():
            words += part
            if live:
                sys.stdout.write(part.decode(errors="replace"))
                sys.stdout.flush()
    return CliResult(arguments, process.returncode, words.decode(errors="replace"))


def run_checked(
    arguments: list[str], success: str = "", live: bool = False
) -> re.Match[str]:
    """Run `kaggle`; return the match of `success` in its words.

    Raises UserError, one sentence, where it failed or did not say so.
    """
    answer = run_cli(arguments, live)
    if refusal := error_in(answer):
        raise UserError(refusal)
    match = re.search(success, answer.output)
    if not match:
        raise UserError(
            f"`kaggle {' '.join(arguments[:2])}` did not say that it succeeded, but: "
            f"{_last_line(answer.output)}"
        )
    return match


def error_in(answer: CliResult) -> str | None:
    """Say in one sentence what went wrong, if anything did, by the words alone."""
    for pattern, sentence in _REFUSALS:
        if match := re.search(pattern, answer.output):
            return f"{sentence.format(*match.groups())}."
    if answer.code == 0:
        return None
    for pattern, sentence in _REASONS:
        if match := re.search(pattern, answer.output):
            return sentence.format(*(g for g in match.groups() if g))
    name = " ".join(answer.command[:2])
    return f"`kaggle {name}` ended with {answer.code}: {_last_line(answer.output)}"


def _last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


Found = TypeVar("Found")


@dataclass(frozen=True)
class Polling:
    """How often to ask, and for how long."""

    every_s: float = 20.0
    limit_s: float = 12 * 3600.0

    def wait(self, look: Callable[[], Found | None], what: str) -> Found:
        """Look until something is found. Raises UserError when the time is up."""
        end = time.monotonic() + self.limit_s
        while not (found := look()):
            if time.monotonic() >= end:
                raise UserError(
                    f"{what} after {self.limit_s / 60:.0f} minutes; look at it on "
                    "kaggle.com, and run this again."
                )
            time.sleep(self.every_s)
        return found


# What the inference notebook leaves: its answer, and a note of which kit gave it.
SUBMISSION_FILE, RUN_INFO_FILE = "submission.csv", "run_info.json"


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
    notebook = ["-k", ref, "-v", str(version), "-f", SUBMISSION_FILE]
    return ["competitions", "submit", COMPETITION, *notebook, "-m", message]


def submissions() -> list[str]:
    """List what was handed in."""
    return ["competitions", "submissions", COMPETITION, "--format", "json"]


def download(folder: Path) -> list[str]:
    """Fetch the competition's archive."""
    return ["competitions", "download", COMPETITION, "-p", str(folder)]

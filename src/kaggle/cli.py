"""The kaggle CLI: its output decides whether a command succeeded.

`kaggle` exits 0 after a refused push, an unusable source or a failed upload. Here each
command must print its message of success, and none of a failure.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from threading import Timer
from typing import cast

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
_BUSY = ("Kaggle is busy or out of quota ({0})", "wait some minutes")
_UNREACHABLE = ("Kaggle cannot be reached", "check the network")
# Failures of any command that exits 1, by the server's message where it sent one, else
# by the HTTP status. The CLI prints one of the two, never both.
_REASONS = (
    (r"Authentication required|401 Client Error|[Uu]nauth\w+", _LOGIN),
    (r"403 Client Error|was denied|Forbidden|accept.{0,40}rules", _RULES),
    (r"([Qq]uota)", "; ".join(_BUSY) + " and run this again."),
)
# The server answers alike for what is another's and private, and for what is missing.
_ABSENT = r"40[34] Client Error|was denied|Forbidden|[Nn]ot [Ff]ound"
# Failures that pass by themselves.
_OUTAGES = (
    (r"(408|429) Client Error|(5\d\d) Server Error", _BUSY),
    (r"(?i)(too many requests|rate.?limit|throttl|slow down|overloaded)", _BUSY),
    (r"(?i)(internal (?:server )?error|bad gateway|gateway time-?out)", _BUSY),
    (r"(?i)(unavailable|try again|backend error|deadline exceeded)", _BUSY),
    (r"Max retries exceeded|Connection ?[Ee]rror|Network is unreachable", _UNREACHABLE),
    (r"Connection (?:broken|aborted|reset|refused)|RemoteDisconnected", _UNREACHABLE),
    (r"IncompleteRead|ProtocolError|[Tt]imed out|name resolution", _UNREACHABLE),
    (r"Expecting value: line 1 column 1", _UNREACHABLE),  # a page in place of an answer
)
# The CLI itself waits forever for an answer, and a progress bar is not silent.
SILENCE_S = 600.0


class UnavailableError(UserError):
    """Kaggle or the network is down: the same command may succeed later.

    what: the fault without the way out, to be told while it is tried again.
    """

    def __init__(self, what: str, remedy: str) -> None:
        """Join fault and remedy to one sentence."""
        super().__init__(f"{what}; {remedy} and run this again.")
        self.what = what


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
    with process:
        output = _read(process, live)
    return CliResult(arguments, process.returncode, output.decode(errors="replace"))


def _read(process: subprocess.Popen[bytes], live: bool) -> bytes:
    """Return all that a command prints; a silent one is stopped."""
    output, stream = b"", cast(BufferedReader, process.stdout)  # a pipe of bytes is one
    while part := _read_part(process, stream):
        output += part
        if live:
            sys.stdout.write(part.decode(errors="replace"))
            sys.stdout.flush()
    return output


def _read_part(process: subprocess.Popen[bytes], stream: BufferedReader) -> bytes:
    silent = []

    def stop() -> None:
        silent.append(True)
        process.kill()

    timer = Timer(SILENCE_S, stop)
    timer.start()
    part = stream.read1()
    timer.cancel()
    return part or (b"\nTimed out" if silent else b"")


def run_checked(
    arguments: list[str], success: str = "", live: bool = False
) -> re.Match[str]:
    """Run `kaggle`; return the match of `success` in its output.

    Raises UserError, one sentence, if it failed or did not report success, and
    UnavailableError if it may succeed later.
    """
    return checked(run_cli(arguments, live), success)


def checked(result: CliResult, success: str = "") -> re.Match[str]:
    """Return the match of `success` in a command's output, or raise as run_checked."""
    if error := error_in(result):
        raise error
    match = re.search(success, result.output)
    if not match:
        raise UserError(
            f"`kaggle {' '.join(result.command[:2])}` did not report success, but: "
            f"{_last_line(result.output)}"
        )
    return match


def error_in(result: CliResult) -> UserError | None:
    """Return what went wrong, one sentence, or None."""
    for pattern, sentence in _REFUSALS:
        if match := re.search(pattern, result.output):
            return UserError(f"{sentence.format(*match.groups())}.")
    if result.code == 0:
        return None
    for pattern, (what, remedy) in _OUTAGES:
        if match := re.search(pattern, result.output):
            return UnavailableError(what.format(*filter(None, match.groups())), remedy)
    for pattern, sentence in _REASONS:
        if match := re.search(pattern, result.output):
            return UserError(sentence.format(*match.groups()))
    name = " ".join(result.command[:2])
    return UserError(
        f"`kaggle {name}` exited with {result.code}: {_last_line(result.output)}"
    )


def is_absent(result: CliResult) -> bool:
    """Tell whether a command failed since what it asks about is not there."""
    return result.code != 0 and bool(re.search(_ABSENT, result.output))


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


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

"""Kaggle's command line, believed by its words.

`kaggle` ends with 0 after a refused push, an unusable source or an upload that failed.
Here each command must say the words of success, and none of those of a failure.
"""

import re
import subprocess
import sys
from dataclasses import dataclass

from src.errors import InputError
from src.kaggle.names import COMPETITION
from src.reporting.console import say

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
class Answer:
    """How a command ended, and everything it printed."""

    command: list[str]
    code: int
    words: str


def ask(arguments: list[str], live: bool = False) -> Answer:
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
    return Answer(arguments, process.returncode, words.decode(errors="replace"))


def order(arguments: list[str], success: str = "", live: bool = False) -> re.Match[str]:
    """Run `kaggle`; return the match of `success` in its words.

    Raises InputError, one sentence, where it failed or did not say so.
    """
    answer = ask(arguments, live)
    if refusal := refused(answer):
        raise InputError(refusal)
    match = re.search(success, answer.words)
    if not match:
        raise InputError(
            f"`kaggle {' '.join(arguments[:2])}` did not say that it succeeded, but: "
            f"{_last_line(answer.words)}"
        )
    return match


def refused(answer: Answer) -> str | None:
    """Say in one sentence what went wrong, if anything did, by the words alone."""
    for pattern, sentence in _REFUSALS:
        if match := re.search(pattern, answer.words):
            return f"{sentence.format(*match.groups())}."
    if answer.code == 0:
        return None
    for pattern, sentence in _REASONS:
        if match := re.search(pattern, answer.words):
            return sentence.format(*(g for g in match.groups() if g))
    name = " ".join(answer.command[:2])
    return f"`kaggle {name}` ended with {answer.code}: {_last_line(answer.words)}"


def _last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"

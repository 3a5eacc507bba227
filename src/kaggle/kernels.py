"""A notebook on Kaggle: push it, follow its run, fetch the output, submit."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from src.competition.submission import read_submission
from src.errors import UserError
from src.kaggle import cli
from src.kaggle.cli import Polling, error_in, run_checked, run_cli
from src.kaggle.lint import KERNEL_FILE

_PUSHED = r"Kernel version (\d+) successfully pushed.*?/code/([\w-]+/[\w-]+)"
_STATUS = r'has status "(?:\w+\.)?(\w+)"'
_SOURCES = ("dataset_sources", "kernel_sources", "competition_sources", "model_sources")


def push(folder: Path, metadata: dict[str, Any]) -> int:
    """Push a notebook; return its version. UserError if Kaggle refuses or moves it."""
    ref = metadata["id"]
    command = cli.push_kernel(folder, metadata["machine_shape"])
    match = run_checked(command, _PUSHED)
    version, found = int(match[1]), match[2]
    if found != ref:
        raise UserError(
            f"Kaggle put the notebook at {found}, not at {ref}; delete one of the two "
            "there, or stage again with another --slug-prefix."
        )
    check_sources(ref, metadata)
    return version


def check_sources(ref: str, metadata: dict[str, Any]) -> None:
    """Refuse a notebook whose sources on Kaggle are not those asked for.

    The CLI does not report a dropped model source, so the metadata is fetched back.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run_checked(cli.pull_kernel(ref, Path(scratch)), "downloaded to")
        held = json.loads((Path(scratch) / KERNEL_FILE).read_text(encoding="utf-8"))
    for key in _SOURCES:
        kept = {_bare(source) for source in held.get(key) or []}
        lost = [each for each in metadata[key] if _bare(each) not in kept]
        if lost:
            raise UserError(
                f"Kaggle dropped {lost[0]} from the notebook's {key}; check that it "
                "exists and is yours to use, then push again."
            )


def follow(ref: str, polling: Polling) -> None:
    """Wait until the run is complete. UserError, with Kaggle's message, if it fails."""

    def done() -> bool:
        status = run_checked(cli.kernel_status(ref), _STATUS)
        if status[1].startswith(("ERROR", "CANCEL")):
            message = re.search(r'Failure message: "(.*)"', status.string)
            because = f" ({message[1]})" if message else ""
            raise UserError(
                f"The run of {ref} ended as {status[1]}{because}; its log is at "
                f"https://www.kaggle.com/code/{ref}."
            )
        return status[1] == "COMPLETE"

    polling.wait(done, f"The run of {ref} is still not complete")


def fetch_output(ref: str, folder: Path) -> None:
    """Fetch the run's files into an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    run_checked(cli.kernel_output(ref, folder), "downloaded to")


def check_output(folder: Path, kit: str | None) -> None:
    """Refuse an output that is not a valid submission, made by `kit` if given.

    Kaggle serves the files of the last successful run, perhaps an older one, and the
    CLI writes a server's error message into the file it was asked for.
    """
    read_submission(folder / cli.SUBMISSION_FILE)
    try:
        made_by = json.loads((folder / cli.RUN_INFO_FILE).read_text())["kit"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"The run wrote no readable {cli.RUN_INFO_FILE}; look at its log on Kaggle."
        ) from None
    if kit not in (None, made_by):
        raise UserError(
            f"The output was made by kit {made_by}, not by {kit} that is staged: the "
            "notebook ran on an older version; push again."
        )


def submit(ref: str, version: int, message: str) -> None:
    """Submit a version, and check that it is listed."""
    before = _submissions()
    run_checked(cli.submit(ref, version, message), "Successfully submitted")
    new = [each for each in _submissions() if each not in before]
    if not new:
        raise UserError(
            "Kaggle reported the submission but does not list it; look at the "
            "competition's page before submitting again."
        )


def _submissions() -> set[str]:
    result = run_cli(cli.submissions())
    if error := error_in(result):
        raise UserError(error)
    match = re.search(r"\[.*\]", result.output, re.DOTALL)
    return {str(each.get("ref")) for each in json.loads(match[0])} if match else set()


def _bare(source: str) -> str:
    """Strip the prefix that Kaggle sometimes adds, and a version."""
    source = re.sub(r"^/?(datasets|code|models|competitions)/", "", source)
    return re.sub(r"^([\w-]+/[\w-]+)/\d+$", r"\1", source).lower()

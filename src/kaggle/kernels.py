"""A notebook on Kaggle: push it, follow its run, fetch the output, submit."""

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast, get_args

from src.competition.submission import read_submission
from src.errors import UserError
from src.json_object import read_object
from src.kaggle import cli
from src.kaggle.cli import checked, is_absent, run_checked, run_cli
from src.kaggle.lint import KERNEL_FILE, KernelMetadata
from src.kaggle.polling import Polling
from src.kaggle.push_record import Push, read_push, stamp_in, stamp_notebook, write_push

_PUSHED = r"Kernel version (\d+) successfully pushed.*?/code/([\w-]+/[\w-]+)"
_STATUS = r'has status "(?:\w+\.)?(\w+)"'
_SourceKind = Literal[
    "dataset_sources", "kernel_sources", "competition_sources", "model_sources"
]
_SOURCES: tuple[_SourceKind, ...] = get_args(_SourceKind)


def push(
    folder: Path,
    metadata: KernelMetadata,
    content: str,
    record: Path,
    polling: Polling,
) -> Push:
    """Push a notebook once, and record it. UserError if Kaggle refuses or moves it.

    content: its fingerprint. record: the file that a rerun with --follow looks at.
    """
    ref = metadata["id"]
    before = polling.ask(lambda: held_stamp(ref))
    version = _next_version(before, read_push(record))
    stamp = stamp_notebook(folder / metadata["code_file"])
    planned = Push(ref, content, stamp, version)
    write_push(planned, record)

    def send() -> Push:
        command = cli.push_kernel(folder, metadata["machine_shape"])
        match = run_checked(command, _PUSHED)
        if match[2] != ref:
            raise UserError(
                f"Kaggle put the notebook at {match[2]}, not at {ref}; delete one of "
                "the two there, or stage again with another --slug-prefix."
            )
        return replace(planned, version=int(match[1]))

    def arrived() -> Push | None:
        return planned if held_stamp(ref) == stamp else None

    pushed = polling.send(send, arrived)
    write_push(pushed, record)
    polling.ask(lambda: check_sources(ref, metadata))
    return pushed


def pushed_before(
    ref: str, content: str, record: Path, polling: Polling
) -> Push | None:
    """Return the recorded push if it is this content's and still Kaggle's newest."""
    push = read_push(record)
    if push is None or (push.ref, push.content) != (ref, content):
        return None
    held = polling.ask(lambda: held_stamp(ref))
    return push if held == push.stamp else None


def held_stamp(ref: str) -> str | None:
    """Return the stamp of Kaggle's notebook: '' without one, None if it is absent."""
    with tempfile.TemporaryDirectory() as scratch:
        result = run_cli(cli.pull_kernel(ref, Path(scratch)))
        if is_absent(result):
            return None
        checked(result, "downloaded to")
        texts = [path.read_text("utf-8") for path in Path(scratch).glob("*.ipynb")]
    return next(filter(None, map(stamp_in, texts)), "")


def _next_version(held: str | None, last: Push | None) -> int | None:
    """Return the number that a push will get, where that is certain."""
    if held is None:
        return 1
    if last is None or last.version is None or held != last.stamp:
        return None
    return last.version + 1


def check_sources(ref: str, metadata: KernelMetadata) -> None:
    """Refuse a notebook whose sources on Kaggle are not those asked for.

    The CLI does not report a dropped model source, so the metadata is fetched back.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run_checked(cli.pull_kernel(ref, Path(scratch)), "downloaded to")
        remedy = "push again"
        held = cast(KernelMetadata, read_object(Path(scratch) / KERNEL_FILE, remedy))
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

    what = f"The run of {ref} is still not complete"
    polling.wait(done, what, remedy="run this again with --follow")


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
        made_by = read_object(folder / cli.RUN_INFO_FILE, "fetch it again")["kit"]
    except (UserError, KeyError):
        raise UserError(
            f"The run wrote no readable {cli.RUN_INFO_FILE}; look at its log on Kaggle."
        ) from None
    if kit not in (None, made_by):
        raise UserError(
            f"The output was made by kit {made_by}, not by {kit} that is staged: the "
            "notebook ran on an older version; push again."
        )


def submit(ref: str, version: int, message: str, polling: Polling) -> None:
    """Submit a version once, and check that it is listed."""
    before = polling.ask(_submissions)

    def listed() -> bool:
        return bool(_submissions() - before)

    def send() -> bool:
        run_checked(cli.submit(ref, version, message), "Successfully submitted")
        return True

    polling.send(send, listed)
    if not polling.ask(listed):
        raise UserError(
            "Kaggle reported the submission but does not list it; look at the "
            "competition's page before submitting again."
        )


def _submissions() -> set[str]:
    output = run_checked(cli.submissions()).string
    match = re.search(r"\[.*\]", output, re.DOTALL)
    try:
        listed = json.loads(match[0]) if match else []
        return {str(each.get("ref")) for each in listed}
    except (ValueError, AttributeError):
        raise UserError(
            "`kaggle competitions submissions` gave no list that can be read; look at "
            "the competition's page."
        ) from None


def _bare(source: str) -> str:
    """Strip the prefix that Kaggle sometimes adds, and a version."""
    source = re.sub(r"^/?(datasets|code|models|competitions)/", "", source)
    return re.sub(r"^([\w-]+/[\w-]+)/\d+$", r"\1", source).lower()

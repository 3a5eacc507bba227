"""The kit's dataset on Kaggle: upload it, wait for its new version."""

import json
import re
from pathlib import Path

from src.errors import UserError
from src.kaggle import cli
from src.kaggle.cli import CliResult, checked, is_absent, run_cli
from src.kaggle.lint import DATASET_FILE, check_dataset
from src.kaggle.polling import Polling


def upload(folder: Path, message: str, polling: Polling) -> int:
    """Upload the staged dataset and wait for it; return its version on Kaggle."""
    ref = check_dataset(folder)["id"]
    before = polling.ask(lambda: current_version(ref))
    if before is None:
        command = cli.create_dataset(folder)
    else:
        command = cli.version_dataset(folder, message)
    output = ""

    def send() -> str:
        nonlocal output
        result = run_cli(command, live=True)
        output += result.output
        checked(result, r"is being created")
        return output

    def arrived() -> str | None:
        return output if (current_version(ref) or 0) > (before or 0) else None

    check_uploaded(folder, polling.send(send, arrived))
    return polling.wait(
        lambda: ready_version(ref, before or 0), f"The dataset {ref} is not ready"
    )


def check_uploaded(folder: Path, output: str) -> None:
    """Refuse an upload for which the CLI does not report every file as uploaded."""
    uploaded = set(re.findall(r"Upload successful: (\S+)", output))
    entries = [path for path in folder.iterdir() if path.name != DATASET_FILE]
    wanted = {f"{p.name}.zip" if p.is_dir() else p.name for p in entries}
    if wanted - uploaded:
        raise UserError(
            f"The new version lacks {', '.join(sorted(wanted - uploaded))}, which was "
            "not uploaded; run this again to replace it."
        )


def ready_version(ref: str, above: int) -> int | None:
    """Return a version above the last one that is ready; UserError if it failed."""
    result = run_cli(cli.dataset_status(ref))
    if is_absent(result):
        return None  # just created, not visible yet
    status, version = _status(result)
    if status in ("failed", "deleted"):
        raise UserError(f"Kaggle could not process the dataset {ref}: it is {status}.")
    return version if status == "ready" and version > above else None


def current_version(ref: str) -> int | None:
    """Return a dataset's version, or None where there is none.

    A server's error is not taken for absence, as the CLI's `create` does.
    """
    result = run_cli(cli.dataset_status(ref))
    if is_absent(result):
        return None
    return _status(result)[1]


def _status(result: CliResult) -> tuple[str, int]:
    match = re.search(r"\{.*\}", checked(result).string, re.DOTALL)
    try:
        info = json.loads(match[0]) if match else {}
        version = int(info.get("current_version_number") or 0)
        return str(info.get("status")).lower(), version
    except (ValueError, TypeError, AttributeError):
        raise UserError(
            "`kaggle datasets status` gave no status that can be read; run it by hand "
            "and compare the CLI's version with requirements.txt."
        ) from None

"""The kit's dataset on Kaggle: upload it, wait for its new version."""

import json
import re
from pathlib import Path

from src.errors import UserError
from src.kaggle import cli
from src.kaggle.cli import CliResult, Polling, error_in, run_checked, run_cli
from src.kaggle.lint import DATASET_FILE, check_dataset

# The server answers alike for another's private dataset and for a missing one.
_ABSENT = r"40[34] Client Error|was denied|Forbidden|[Nn]ot [Ff]ound"


def upload(folder: Path, message: str, polling: Polling) -> int:
    """Upload the staged dataset and wait for it; return its version on Kaggle."""
    ref = check_dataset(folder)["id"]
    before = current_version(ref)
    if before is None:
        command = cli.create_dataset(folder)
    else:
        command = cli.version_dataset(folder, message)
    check_uploaded(folder, run_checked(command, r"is being created", live=True).string)
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
    if result.code and re.search(_ABSENT, result.output):
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
    if result.code and re.search(_ABSENT, result.output):
        return None
    return _status(result)[1]


def _status(result: CliResult) -> tuple[str, int]:
    if error := error_in(result):
        raise UserError(error)
    match = re.search(r"\{.*\}", result.output, re.DOTALL)
    info = json.loads(match.group()) if match else {}
    return str(info.get("status")).lower(), int(info.get("current_version_number") or 0)

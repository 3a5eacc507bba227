"""The kit's dataset on Kaggle: uploaded, and ready at its new version."""

import json
import re
from pathlib import Path

from src.errors import UserError
from src.kaggle import cli
from src.kaggle.cli import CliResult, Polling, error_in, run_checked, run_cli
from src.kaggle.lint import DATASET_FILE, check_dataset

# Another's private dataset and one that does not exist are told alike.
_ABSENT = r"40[34] Client Error|was denied|Forbidden|[Nn]ot [Ff]ound"


def upload(folder: Path, message: str, patience: Polling) -> int:
    """Upload the staged dataset and wait for it; return its version on Kaggle."""
    ref = check_dataset(folder)["id"]
    before = current_version(ref)
    if before is None:
        command = cli.create_dataset(folder)
    else:
        command = cli.version_dataset(folder, message)
    check_uploaded(folder, run_checked(command, r"is being created", live=True).string)
    return patience.wait(
        lambda: ready_version(ref, before or 0), f"The dataset {ref} is not ready"
    )


def check_uploaded(folder: Path, words: str) -> None:
    """Refuse an upload in which the CLI does not name every file as taken."""
    taken = set(re.findall(r"Upload successful: (\S+)", words))
    entries = [path for path in folder.iterdir() if path.name != DATASET_FILE]
    wanted = {f"{p.name}.zip" if p.is_dir() else p.name for p in entries}
    if wanted - taken:
        raise UserError(
            f"The new version lacks {', '.join(sorted(wanted - taken))}, which was not "
            "uploaded; run this again to replace it."
        )


def ready_version(ref: str, above: int) -> int | None:
    """Return a version above the last one that is ready; UserError if it failed."""
    answer = run_cli(cli.dataset_status(ref))
    if answer.code and re.search(_ABSENT, answer.output):
        return None  # just created, and not to be seen yet
    status, version = _status(answer)
    if status in ("failed", "deleted"):
        raise UserError(f"Kaggle could not process the dataset {ref}: it is {status}.")
    return version if status == "ready" and version > above else None


def current_version(ref: str) -> int | None:
    """Return a dataset's version, or None where there is none.

    A server's error is not taken for absence, as the CLI's `create` does.
    """
    answer = run_cli(cli.dataset_status(ref))
    if answer.code and re.search(_ABSENT, answer.output):
        return None
    return _status(answer)[1]


def _status(answer: CliResult) -> tuple[str, int]:
    if refusal := error_in(answer):
        raise UserError(refusal)
    match = re.search(r"\{.*\}", answer.output, re.DOTALL)
    told = json.loads(match.group()) if match else {}
    return str(told.get("status")).lower(), int(told.get("current_version_number") or 0)

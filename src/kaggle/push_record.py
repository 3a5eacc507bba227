"""The record of a push, by which a rerun follows it instead of pushing anew.

Kaggle's status names no version, so each push is stamped: the stamp stands in the
pushed notebook, and in the record from before the push on.
"""

import json
import re
import uuid
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from src.files import write_json
from src.kaggle.lint import KERNEL_FILE, KernelMetadata

_STAMP = "<!-- pushed as {} -->"


@dataclass(frozen=True)
class Push:
    """A push of a notebook.

    content: fingerprint of what was pushed. stamp: marks this push in the notebook on
    Kaggle. version: Kaggle's number, None where its answer was lost.
    """

    ref: str
    content: str
    stamp: str
    version: int | None
    submitted: bool = False


def read_push(path: Path) -> Push | None:
    """Read a record; None where there is none, or a damaged one."""
    try:
        push = Push(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    words = (push.ref, push.content, push.stamp)
    known = push.version is None or type(push.version) is int
    return push if known and all(isinstance(word, str) for word in words) else None


def write_push(push: Push, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_json(asdict(push), path)


def fingerprint(folder: Path, metadata: KernelMetadata, kit: str) -> str:
    """Hash what a push runs: the notebook without its stamp, its metadata, the kit."""
    notebook = _unstamped(folder / metadata["code_file"])
    parts = (json.dumps(notebook), (folder / KERNEL_FILE).read_text("utf-8"), kit)
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def stamp_notebook(path: Path) -> str:
    """Put a new stamp into a notebook, in place of an old one; return it."""
    notebook, stamp = _unstamped(path), uuid.uuid4().hex[:16]
    cell: dict[str, Any] = {"cell_type": "markdown", "metadata": {}}
    if notebook.get("nbformat_minor", 0) >= 5:
        cell["id"] = "pushed-as"
    cell["source"] = [_STAMP.format(stamp)]
    write_json({**notebook, "cells": [*notebook["cells"], cell]}, path)
    return stamp


def stamp_in(text: str) -> str | None:
    """Return the stamp in a notebook's text."""
    match = re.search(_STAMP.format(r"(\w+)"), text)
    return match[1] if match else None


def _unstamped(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if not stamp_in(json.dumps(cell))]
    return {**notebook, "cells": cells}

"""Where a cache's data is from: whether they are phantoms, and the command."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.files import write_json
from src.json_object import read_object

ORIGIN_FILE = "origin.json"


@dataclass(frozen=True)
class DataOrigin:
    """phantom: the recipe of the phantom, None for other data; command: as typed."""

    phantom: dict[str, Any] | None
    command: str


def write_origin(origin: DataOrigin, cache: Path) -> None:
    """Record the origin in a cache."""
    write_json(asdict(origin), cache / ORIGIN_FILE)


def read_origin(cache: Path) -> DataOrigin | None:
    """Read a cache's record; None if a kit before it wrote the cache."""
    path = cache / ORIGIN_FILE
    if not path.is_file():
        return None
    remedy = "delete it and run input_prep.py again: it cuts nothing anew"
    held = read_object(path, remedy)
    phantom, command = held.get("phantom"), held.get("command")
    if not isinstance(command, str) or not isinstance(phantom, dict | None):
        raise UserError(f"{path} is damaged; {remedy}.")
    return DataOrigin(phantom, command)

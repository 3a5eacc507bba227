"""manifest.json: a kit's files with their hashes, to check that all of it arrived."""

import json
import platform
from collections.abc import Iterator
from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, NotRequired, TypedDict, cast

from src.errors import UserError
from src.files import write_json
from src.json_object import read_object

MANIFEST = "manifest.json"
WHEELS = "wheels"  # optional at run time, and Kaggle may unpack a wheel it finds
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "pydicom")
_RESTAGE = "stage the kit again with `python -m src.kaggle.bundle`"


class FileEntry(TypedDict):
    """A file of a kit."""

    sha256: str
    bytes: int


class RunEntry(TypedDict):
    """A run in a kit: what its config says, and the scores of its best epoch."""

    name: str
    task: str | None
    backbone: str | None
    split: str | None
    fold: str | None
    validation_loss: NotRequired[float]
    validation_top1: NotRequired[float]


class Manifest(TypedDict):
    """manifest.json; `files` by their path in the kit, `packages` by name."""

    kit: str
    commit: str
    python: str
    packages: dict[str, str | None]
    runs: list[RunEntry]
    files: dict[str, FileEntry]


_KINDS = {
    **{"kit": str, "commit": str, "python": str},
    **{"packages": dict, "runs": list, "files": dict},
}


def write_manifest(kit: Path, commit: str, runs: list[RunEntry]) -> str:
    """Write the hashes of a kit's files, and what made them; return the kit's id."""
    files: dict[str, FileEntry] = {
        path.relative_to(kit).as_posix(): {
            "sha256": _hash(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(kit.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    manifest: Manifest = {
        "kit": _identity(files),
        "commit": commit,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "runs": runs,
        "files": files,
    }
    write_json(manifest, kit / MANIFEST)
    return manifest["kit"]


def read_manifest(kit: Path) -> Manifest:
    """Read a kit's manifest. Raises UserError where there is none, or a damaged one."""
    if not (kit / MANIFEST).exists():
        raise UserError(f"{kit / MANIFEST} is missing; {_RESTAGE}.")
    held = read_object(kit / MANIFEST, _RESTAGE)
    for fault in _faults(held):
        raise UserError(f"{kit / MANIFEST} {fault}; {_RESTAGE}.")
    return cast(Manifest, {name: held[name] for name in _KINDS})


def _faults(held: dict[str, Any]) -> Iterator[str]:
    for name, kind in _KINDS.items():
        if not isinstance(held.get(name), kind):
            yield f"has no valid {name}"
            return
    for name, entry in held["files"].items():
        if not _is_file_entry(name, entry):
            yield f"has no valid hash of {name}"
    if not all(isinstance(run, dict) and "name" in run for run in held["runs"]):
        yield "lists a run without a name"


def _is_file_entry(name: str, entry: object) -> bool:
    """Check an entry of `files`, whose path must be inside the kit."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\0" not in name
    return (
        inside
        and isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and type(entry.get("bytes")) is int
    )


def verify(kit: Path) -> list[str]:
    """Report which of the manifest's files are missing or changed, but for wheels."""
    files = read_manifest(kit)["files"]
    # Empty files do not count either: an upload may lose them.
    needed = {
        name: entry
        for name, entry in files.items()
        if entry["bytes"] and not name.startswith(f"{WHEELS}/")
    }
    missing = [name for name in needed if not (kit / name).is_file()]
    changed = [
        name
        for name in needed
        if name not in missing and _hash(kit / name) != needed[name]["sha256"]
    ]
    return [*_listed("missing", missing), *_listed("changed", changed)]


def _listed(fault: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{fault} from the kit: {', '.join(names[:3])}{more}"


def _identity(files: dict[str, FileEntry]) -> str:
    text = json.dumps({name: entry["sha256"] for name, entry in files.items()})
    return sha256(text.encode()).hexdigest()[:12]


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

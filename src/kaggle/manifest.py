"""manifest.json: a kit's files with their hashes, to check that all of it arrived."""

import json
import platform
from collections.abc import Iterator
from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict, cast

from src.errors import UserError
from src.files import write_json

MANIFEST = "manifest.json"
WHEELS = "wheels"  # optional at run time, and Kaggle may unpack a wheel it finds
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "pydicom")


class FileEntry(TypedDict):
    """A file of a kit."""

    sha256: str
    bytes: int


class Manifest(TypedDict):
    """manifest.json; `files` by their path in the kit, `packages` by name."""

    kit: str
    commit: str
    python: str
    packages: dict[str, str | None]
    runs: list[dict[str, Any]]
    files: dict[str, FileEntry]


_KEYS = tuple(Manifest.__annotations__)


def write_manifest(kit: Path, commit: str, runs: list[dict[str, Any]]) -> str:
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
    """Read a kit's manifest. Raises UserError where there is none."""
    try:
        manifest = json.loads((kit / MANIFEST).read_text(encoding="utf-8"))
        return cast(Manifest, {name: manifest[name] for name in _KEYS})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{kit / MANIFEST} is missing or unreadable; stage the kit again with "
            "`python -m src.kaggle.bundle`."
        ) from error


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

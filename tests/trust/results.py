"""What the scripts leave in a folder, to be compared byte for byte."""

import json
from pathlib import Path


def results(folder: Path) -> dict[str, bytes]:
    """Read all finished files by their path; a history without what a clock says."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_temporary(path.relative_to(folder))
    }


def strays(folder: Path) -> list[str]:
    """List the files that no finished run of a script would leave."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _is_temporary(path.relative_to(folder))
    ]


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Name the files that are missing, extra or different."""
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


def _is_temporary(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or any(part.endswith("parts") for part in path.parts[:-1])


def _content(path: Path) -> bytes:
    if path.name != "history.jsonl":
        return path.read_bytes()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    timed = {"seconds": 0, "images_per_second": 0}
    return json.dumps([row | timed for row in rows]).encode()

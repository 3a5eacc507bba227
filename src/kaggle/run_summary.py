"""The summary of a whole run, to be pasted into an issue.

It names hardware, versions, times, counts and scores: no study, no patient, no path.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from src import __version__
from src.console import cell
from src.errors import UserError
from src.files import write_json, write_text
from src.json_object import read_object
from src.machine import Machine

PACKAGES = (
    *("torch", "torchvision", "timm", "numpy", "pandas", "pydicom"),
    *("opencv-python-headless", "albumentations"),
)
PARTS = ("score", "floor", "spinal", "foraminal", "subarticular", "any_severe")
# By task, the figures of metrics.json that a summary shows.
CONDITION = ("top1", "top1_low", "top1_high", "foraminal_side", "n", "studies")
LOCATION = (
    *("median_mm", "within_5mm", "slice_exact", "slice_within_one", "level_right"),
    *("side_right", "missed", "sites", "studies"),
)


def versions() -> dict[str, str]:
    """Return the versions of the kit, Python and the packages that matter."""
    found = {"kit": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(machine: Machine, device: str) -> dict[str, Any]:
    """Describe the machine; device: where the networks ran."""
    told = asdict(machine)
    gpus = [f"{gpu.model}, {gpu.memory_gb:.0f} GB" for gpu in machine.gpus]
    rounded = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in told.items()
    }
    return {**rounded, "gpus": gpus, "networks_ran_on": device}


def scores(report: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of a report's metrics.json by task, as rows."""
    try:
        metrics = read_object(report / "metrics.json", "evaluate the runs again")
    except UserError:
        return {}
    rows: dict[str, list[dict[str, Any]]] = {
        "condition": [
            {"backbone": entry["backbone"], **_some(entry, CONDITION)}
            for entry in metrics.get("condition", {}).values()
        ],
        "severity": [
            {"runs": which, **_some(entry, PARTS)}
            for which, entry in _severity(metrics.get("severity", {})).items()
        ],
        "location": [
            {"series": series, **_some(entry, LOCATION)}
            for series, entry in metrics.get("location", {}).items()
        ],
    }
    return {task: found for task, found in rows.items() if found}


def _severity(entry: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if not entry:
        return {}
    return {"ensemble": entry, "calibrated": entry.get("calibrated", {})}


def _some(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: entry.get(name) for name in names}


def outcome_counts(cache: Path, runs: Path, submission: Path) -> dict[str, Any]:
    """Count what the stages wrote: findings by kind, crops, rejects, runs, rows."""
    check = _table(cache / "check.csv")
    kinds = [] if check is None else check["what"].value_counts().sort_index().items()
    tables = {
        "crops": cache / "crops.csv",
        "rejects": cache / "rejects.csv",
        "overview_rejects": cache / "overview-rejects.csv",
        "suspects": cache / "suspects.csv",
        "submission_rows": submission,
    }
    read = {name: _table(path) for name, path in tables.items()}
    sizes = {n: None if table is None else len(table) for n, table in read.items()}
    finished = len(list(runs.glob("[!.]*/config.json")))
    found = _table(submission.with_name("findings.csv"))
    sources = {} if found is None else found["source"].value_counts().to_dict()
    return {
        **sizes,
        "runs": finished,
        "check_findings": {str(kind): int(count) for kind, count in kinds},
        "predicted_sites": {str(name): int(count) for name, count in sources.items()},
    }


def _table(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError):
        return None


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Write the summary as JSON, and beside it as Markdown."""
    write_json(summary, path)
    write_text(as_markdown(summary), path.with_suffix(".md"))


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Write each section as a heading and its table."""
    lines = ["# Summary of a whole run", ""]
    for title, content in summary.items():
        lines += [f"## {_words(title)}", "", *_section(content), ""]
    return "\n".join(lines)


def _section(content: Any) -> list[str]:
    if isinstance(content, list):
        return _rows(content)
    if not isinstance(content, Mapping):
        return [cell(content)]
    plain = [{"": _words(name), "value": _short(v)} for name, v in content.items()]
    tables = {name: v for name, v in content.items() if _is_table(v)}
    if len(tables) < len(content) or not tables:
        rest = [
            row
            for row, v in zip(plain, content.values(), strict=True)
            if not _is_table(v)
        ]
        lines = _rows(rest)
    else:
        lines = []
    for name, rows in tables.items():
        lines += ["", f"### {_words(name)}", "", *_rows(rows)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["none"]
    heads = [_words(name) for name in rows[0]]
    lines = [heads, ["---"] * len(heads)]
    lines += [[_short(value) for value in row.values()] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_short(v)}" for name, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value)) or "none"
    return cell(value)


def _words(name: str) -> str:
    return name.replace("_", " ")

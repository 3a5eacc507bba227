"""Metadata of a notebook or a dataset, checked before Kaggle sees it.

Kaggle ignores a key it does not know, turns the internet on unless told otherwise, and
makes the slug from the title, all without a message: such faults are found here.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.kaggle.names import OWNER, slugify

KERNEL_FILE, DATASET_FILE = "kernel-metadata.json", "dataset-metadata.json"
_SLUG = r"[a-z0-9][a-z0-9-]*"
_REF = rf"{_SLUG}/{_SLUG}"
_SOURCES = {
    "dataset_sources": rf"{_REF}(/\d+)?",
    "kernel_sources": rf"{_REF}(/\d+)?",
    "competition_sources": _SLUG,
    "model_sources": rf"{_REF}/\w+/[\w.-]+/\d+",
}
_SWITCHES = ("is_private", "enable_gpu", "enable_internet")
_KERNEL_KEYS = {
    *("id", "title", "code_file", "language", "kernel_type", "machine_shape"),
    *("keywords", "docker_image_pinning_type", *_SWITCHES, *_SOURCES),
}
_DATASET_KEYS = {"id", "title", "subtitle", "description", "licenses", "keywords"}
_LICENSES = ("other", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-4.0")
_SHAPES = ("", "None", "NvidiaTeslaT4")  # the P100 is gone


def check_kernel(folder: Path, offline: bool) -> dict[str, Any]:
    """Return a notebook's metadata; UserError lists what Kaggle would refuse or ignore.

    offline: it will be submitted, so the internet must be off.
    """
    metadata = _read(folder / KERNEL_FILE)
    _refuse(folder / KERNEL_FILE, list(_kernel_faults(metadata, folder, offline)))
    return metadata


def check_dataset(folder: Path) -> dict[str, Any]:
    """Return a dataset's metadata; UserError lists what Kaggle would refuse."""
    metadata = _read(folder / DATASET_FILE)
    _refuse(folder / DATASET_FILE, list(_dataset_faults(metadata)))
    return metadata


def _kernel_faults(
    metadata: dict[str, Any], folder: Path, offline: bool
) -> Iterator[str]:
    yield from _name_faults(metadata, _KERNEL_KEYS, slug=(5, 50), title=(5, 50))
    if (metadata.get("language"), metadata.get("kernel_type")) != (
        "python",
        "notebook",
    ):
        yield "language must be python and kernel_type notebook"
    for key in _SWITCHES:
        if not isinstance(metadata.get(key), bool):
            yield f"{key} must be written out, true or false"
    if metadata.get("is_private") is False:
        yield "is_private must be true"
    if offline and metadata.get("enable_internet") is not False:
        yield "enable_internet must be false for a submission"
    if metadata.get("machine_shape") not in _SHAPES:
        yield f"machine_shape must be one of {', '.join(filter(None, _SHAPES))}"
    yield from _source_faults(metadata)
    yield from _notebook_faults(folder / str(metadata.get("code_file")))


def _name_faults(
    metadata: dict[str, Any],
    keys: set[str],
    slug: tuple[int, int],
    title: tuple[int, int],
) -> Iterator[str]:
    if unknown := sorted(metadata.keys() - keys):
        yield f"{unknown[0]} is not a key that Kaggle reads"
    ref, named = str(metadata.get("id")), str(metadata.get("title"))
    owner, _, name = ref.partition("/")
    if not re.fullmatch(_REF, ref) or owner == OWNER:
        yield f"id must be owner/slug in lower case, not {ref}"
        return
    if not slug[0] <= len(name) <= slug[1]:
        yield f"the slug {name} must have {slug[0]} to {slug[1]} characters"
    if not title[0] <= len(named) <= title[1]:
        yield f"title must have {title[0]} to {title[1]} characters"
    if slugify(named) != name:
        yield f"the title becomes the slug {slugify(named)}, but id says {name}"


def _source_faults(metadata: dict[str, Any]) -> Iterator[str]:
    for key, form in _SOURCES.items():
        sources = metadata.get(key)
        if not isinstance(sources, list):
            yield f"{key} must be a list, which may be empty"
            continue
        for source in sources:
            if not re.fullmatch(form, str(source)):
                yield f"{key} has {source}, which is not of the form Kaggle accepts"


def _notebook_faults(path: Path) -> Iterator[str]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells, metadata = notebook["cells"], notebook["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        yield f"code_file {path.name} is not a notebook in the same folder"
        return
    if not metadata.get("kernelspec", {}).get("name"):
        yield f"{path.name} names no kernelspec, so Kaggle cannot run it"
    if any(cell.get("outputs") for cell in cells):
        yield f"{path.name} stores outputs; clear them"


def _dataset_faults(metadata: dict[str, Any]) -> Iterator[str]:
    yield from _name_faults(metadata, _DATASET_KEYS, slug=(6, 50), title=(6, 50))
    subtitle = metadata.get("subtitle")
    if subtitle is not None and not 20 <= len(str(subtitle)) <= 80:
        yield "subtitle must have 20 to 80 characters"
    licenses = metadata.get("licenses")
    names = [x.get("name") for x in licenses] if isinstance(licenses, list) else []
    if len(names) != 1 or names[0] not in _LICENSES:
        yield f"licenses must be one of {', '.join(_LICENSES)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        way_out = "stage it with `python -m src.kaggle.bundle`"
        raise UserError(f"{path} is not there; {way_out}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); stage it again.") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path} does not hold a JSON object; stage it again.")
    return metadata


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        raise UserError(f"{path}: {'; '.join(faults)}.")

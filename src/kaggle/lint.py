"""Metadata of a notebook or a dataset, checked before Kaggle sees it.

Kaggle ignores a key it does not know, turns the internet on unless told otherwise, and
makes the slug from the title, all without a message: such faults are found here.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NotRequired, TypedDict, TypeGuard, cast

from src.errors import UserError
from src.json_object import read_object
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
_RESTAGE = "stage it again with `python -m src.kaggle.bundle`"


class KernelMetadata(TypedDict):
    """kernel-metadata.json, once checked; sources are `owner/slug` or slugs."""

    id: str
    title: str
    code_file: str
    language: str
    kernel_type: str
    is_private: bool
    enable_gpu: bool
    enable_internet: bool
    machine_shape: str
    keywords: NotRequired[list[str]]
    docker_image_pinning_type: NotRequired[str]
    dataset_sources: list[str]
    competition_sources: list[str]
    kernel_sources: list[str]
    model_sources: list[str]


class License(TypedDict):
    """A dataset's licence, by Kaggle's name of it."""

    name: str


class DatasetMetadata(TypedDict):
    """dataset-metadata.json, once checked."""

    id: str
    title: str
    subtitle: NotRequired[str]
    description: NotRequired[str]
    licenses: list[License]
    keywords: NotRequired[list[str]]


def check_kernel(folder: Path, offline: bool) -> KernelMetadata:
    """Return a notebook's metadata; UserError lists what Kaggle would refuse or ignore.

    offline: it will be submitted, so the internet must be off.
    """
    metadata = read_object(folder / KERNEL_FILE, _RESTAGE)
    _refuse(folder / KERNEL_FILE, list(_kernel_faults(metadata, folder, offline)))
    return cast(KernelMetadata, metadata)


def check_dataset(folder: Path) -> DatasetMetadata:
    """Return a dataset's metadata; UserError lists what Kaggle would refuse."""
    metadata = read_object(folder / DATASET_FILE, _RESTAGE)
    _refuse(folder / DATASET_FILE, list(_dataset_faults(metadata)))
    return cast(DatasetMetadata, metadata)


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
    yield from _notebook_faults(folder, str(metadata.get("code_file")))


def _name_faults(
    metadata: dict[str, Any],
    keys: set[str],
    slug: tuple[int, int],
    title: tuple[int, int],
) -> Iterator[str]:
    if unknown := sorted(metadata.keys() - keys):
        yield f"{unknown[0]} is not a key that Kaggle reads"
    ref, named = metadata.get("id"), metadata.get("title")
    if not (isinstance(ref, str) and isinstance(named, str)):
        yield "id and title must be text"
        return
    if not _is_list_of_text(metadata.get("keywords", [])):
        yield "keywords must be a list of words, which may be empty"
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
        if not _is_list_of_text(sources):
            yield f"{key} must be a list of names, which may be empty"
            continue
        for source in sources:
            if not re.fullmatch(form, source):
                yield f"{key} has {source}, which is not of the form Kaggle accepts"


def _is_list_of_text(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _notebook_faults(folder: Path, name: str) -> Iterator[str]:
    if PurePath(name).name != name:
        yield f"code_file {name} must be a notebook in the same folder"
        return
    try:
        notebook = read_object(folder / name, _RESTAGE)
        cells = list(notebook["cells"])
        stored = any(cell.get("outputs") for cell in cells)
        kernel = notebook["metadata"].get("kernelspec", {}).get("name")
    except (UserError, KeyError, TypeError, AttributeError):
        yield f"code_file {name} is not a notebook in the same folder"
        return
    if not kernel:
        yield f"{name} names no kernelspec, so Kaggle cannot run it"
    if stored:
        yield f"{name} stores outputs; clear them"


def _dataset_faults(metadata: dict[str, Any]) -> Iterator[str]:
    yield from _name_faults(metadata, _DATASET_KEYS, slug=(6, 50), title=(6, 50))
    subtitle = metadata.get("subtitle")
    if subtitle is not None and not 20 <= len(str(subtitle)) <= 80:
        yield "subtitle must have 20 to 80 characters"
    licenses = metadata.get("licenses")
    if licenses not in [[{"name": name}] for name in _LICENSES]:
        yield f"licenses must be one of {', '.join(_LICENSES)}"


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        raise UserError(f"{path}: {'; '.join(faults)}.")

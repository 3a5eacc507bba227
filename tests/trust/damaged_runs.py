"""Damages to what training and prediction read beside the images.

CACHES: `apply` takes the folder of a cache; CHECKPOINTS: the folder of an unfinished
run; RUNS: a run's folder, beside sound ones; CALIBRATIONS: the folder of the runs.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import COPED, REFUSED, UNCHANGED, Damage
from damaged_tables import (
    cell,
    column_lost,
    encoded,
    folder_instead,
    gone,
    row_added,
    text,
    where,
)
from safetensors.torch import load_file, save_file

from src.classification.calibration import VERSION, Calibration, Correction
from src.classification.ensemble import ENSEMBLE_RULE
from src.competition.constants import FAMILIES

Change = Callable[[Path], None]
RUN_KEYS = (
    *("task", "backbone", "split", "fold", "slices", "labels", "hyperparameters"),
    *("weights", "crop", "cache_fingerprint", "limit", "prior"),
)
SETTINGS = ("optimizer", "lr", "epochs", "batch_size", "input_px", "seed")
WRONG: dict[str, list[Any]] = {
    "task": ["segmentation", 7],
    "backbone": ["fnord", "vgg11", None],
    "split": ["weekly"],
    "slices": ["every", 3],
    "labels": [[], ["a", "b"], "severe"],
    "hyperparameters": [None, [], "adam"],
    "crop": [{}, {"crop_px": "wide"}, {"crop_px": -5, "field_mm": 50.0, "slices": 3}],
    "prior": [[], [{}], None, "even"],
}
OWNED = {"calls": 0}


class Bomb:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Count a call."""
        return (OWNED.__setitem__, ("calls", 1))


def of(name: str, change: Change) -> Change:
    """Change one file of a folder."""
    return lambda folder: change(folder / name)


def cut(share: float) -> Change:
    """Keep the first bytes of a file."""

    def apply(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return apply


def grown(path: Path) -> None:
    """Append to a file."""
    path.write_bytes(path.read_bytes() + bytes(1000))


def pickled(path: Path) -> None:
    """Write a pickle that runs code."""
    path.write_bytes(pickle.dumps({"config": Bomb()}))


def torch_pickled(path: Path) -> None:
    """Write a torch file that runs code."""
    torch.save({"config": Bomb()}, path)


def pointer(path: Path) -> None:
    """Write what git holds of a large file."""
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")


def config(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change a run's config.json."""

    def apply(folder: Path) -> None:
        path = folder / "config.json"
        held = json.loads(path.read_text())
        path.write_text(json.dumps(change(held)))

    return apply


def without(key: str) -> Change:
    """Remove an entry of config.json, or of its hyperparameters."""

    def change(held: dict[str, Any]) -> dict[str, Any]:
        part = held if key in held else held["hyperparameters"]
        del part[key]
        return held

    return config(change)


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Change a run's weights."""

    def apply(folder: Path) -> None:
        path = folder / "weights.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return apply


def filled(value: float) -> Change:
    """Fill all floating-point weights with a value."""

    def change(held: dict[str, torch.Tensor]) -> None:
        for tensor in held.values():
            if tensor.is_floating_point():
                tensor.fill_(value)

    return tensors(change)


def a_file(folder: Path) -> None:
    """Put a file in a folder's place."""
    shutil.rmtree(folder)
    folder.write_bytes(b"")


def an_empty_folder(folder: Path) -> None:
    """Remove all of a folder's files."""
    shutil.rmtree(folder)
    folder.mkdir()


def a_loop(folder: Path) -> None:
    """Put a link to itself in a folder's place."""
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def array(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change an array's file."""
    return lambda path: np.save(path, change(np.load(path)))


def a_pickled_array(path: Path) -> None:
    """Write an array of objects."""
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)


# What training refuses to read, or does not need.
def _cache(name: str, apply: Change, train: object = REFUSED) -> Damage:
    return Damage(name, apply, train=train)


JSON_DAMAGES: list[tuple[str, Change]] = [
    ("missing", gone),
    ("empty", text(lambda t: "")),
    ("cut", cut(0.5)),
    ("a list", text(lambda t: "[1, 2]")),
    ("null", text(lambda t: "null")),
    ("no JSON", text(lambda t: "{'task': 1}")),
    ("NaN", text(lambda t: "NaN")),
    ("nested 100,000 deep", text(lambda t: "[" * 100_000)),
    ("UTF-16", lambda p: p.write_bytes(p.read_text().encode("utf-16")) and None),
    ("a folder", folder_instead),
]
CACHES = [
    _cache("no folder", shutil.rmtree),
    _cache("an empty folder", an_empty_folder),
    _cache("a file in place of the folder", a_file),
    _cache("a folder that links to itself", a_loop),
    *(
        _cache(f"cache.json: {name}", of("cache.json", change))
        for name, change in JSON_DAMAGES
    ),
    _cache(
        "cache.json: another version",
        of(
            "cache.json",
            text(lambda t: t.replace('"cut_version": ', '"cut_version": 9')),
        ),
    ),
    _cache("crops.npy: missing", of("crops.npy", gone)),
    _cache("crops.npy: empty", of("crops.npy", cut(0))),
    _cache("crops.npy: cut", of("crops.npy", cut(0.5))),
    _cache("crops.npy: grown", of("crops.npy", grown), REFUSED | UNCHANGED),
    _cache("crops.npy: floats", of("crops.npy", array(lambda a: a.astype("f4")))),
    _cache("crops.npy: signed", of("crops.npy", array(lambda a: a.astype("i1")))),
    _cache("crops.npy: a crop fewer", of("crops.npy", array(lambda a: a[1:]))),
    _cache("crops.npy: objects", of("crops.npy", a_pickled_array)),
    _cache("crops.npy: text", of("crops.npy", pointer)),
    _cache("crops.csv: missing", of("crops.csv", gone)),
    _cache("crops.csv: empty", of("crops.csv", cut(0))),
    _cache("crops.csv: cut", of("crops.csv", cut(0.5))),
    _cache(
        "crops.csv: a column missing",
        of("crops.csv", column_lost(0)),
    ),
    _cache("crops.csv: an unknown condition", of("crops.csv", cell("condition", "x"))),
    _cache("crops.csv: a study that is none", of("crops.csv", cell("study_id", "x"))),
    _cache("crops.csv: a NaN", of("crops.csv", cell("x_mm", "")), REFUSED | COPED),
    _cache("crops.csv: UTF-16", of("crops.csv", encoded("utf-16"))),
    _cache("labels.csv: missing", of("labels.csv", gone)),
    _cache(
        "labels.csv: a column missing",
        of("labels.csv", column_lost(0)),
    ),
    _cache("series.csv: missing", of("series.csv", gone)),
    _cache("folds.csv: missing", of("folds.csv", gone)),
    _cache("folds.csv: empty", of("folds.csv", cut(0))),
    _cache(
        "folds.csv: a study missing", of("folds.csv", where("study_id", "103", None))
    ),
    _cache("folds.csv: a study twice", of("folds.csv", row_added(lambda r: r[1]))),
    _cache("folds.csv: an unknown split", of("folds.csv", cell("split", "exam"))),
    _cache("folds.csv: an unknown fold", of("folds.csv", cell("fold", "9"))),
]


CHECKPOINTS = [
    Damage(name, of("state.safetensors", change), train=UNCHANGED)
    for name, change in [
        ("empty", cut(0)),
        ("cut", cut(0.5)),
        ("grown", grown),
        ("text", pointer),
        ("a pickle that runs code", pickled),
        ("a torch file that runs code", torch_pickled),
        (
            "a header of an absurd length",
            lambda p: p.write_bytes(b"\xff" * 8 + b"{}") and None,
        ),
        ("no training in its header", lambda p: save_file({"a": torch.zeros(1)}, p)),
    ]
] + [
    # Nobody's folder is deleted, as it may hold what the user wants.
    Damage("a folder", of("state.safetensors", folder_instead), train=REFUSED),
    Damage("history.jsonl cut", of("history.jsonl", cut(0.5)), train=UNCHANGED),
    Damage("a file in place of the folder", a_file, train=REFUSED | UNCHANGED),
]


def _skipped(name: str, apply: Change) -> Damage:
    return Damage(name, apply, predict=UNCHANGED)


RUNS = [
    _skipped("an empty folder", an_empty_folder),
    _skipped("a file in place of the folder", a_file),
    _skipped("a folder that links to itself", a_loop),
    *(
        _skipped(f"config.json: {name}", of("config.json", change))
        for name, change in JSON_DAMAGES
    ),
    *(_skipped(f"config.json: no {key}", without(key)) for key in RUN_KEYS),
    # A setting of the training alone may be missed or not.
    *(
        Damage(f"config.json: no {key} in it", without(key), predict=COPED)
        for key in SETTINGS
    ),
    *(
        _skipped(
            f"config.json: {key} {str(value)[:30]!r}",
            config(lambda held, k=key, v=value: held | {k: v}),
        )
        for key, values in WRONG.items()
        for value in values
    ),
    Damage(
        "config.json: an entry more",
        config(lambda held: held | {"x": 1}),
        predict=COPED,
    ),
    _skipped("trained on the row split", config(lambda held: held | {"split": "row"})),
    _skipped("weights: missing", of("weights.safetensors", gone)),
    _skipped("weights: empty", of("weights.safetensors", cut(0))),
    _skipped("weights: cut", of("weights.safetensors", cut(0.5))),
    _skipped("weights: text", of("weights.safetensors", pointer)),
    _skipped("weights: a pickle that runs code", of("weights.safetensors", pickled)),
    _skipped(
        "weights: a torch file that runs code", of("weights.safetensors", torch_pickled)
    ),
    _skipped("weights: a folder", of("weights.safetensors", folder_instead)),
    _skipped("weights: NaN", filled(float("nan"))),
    _skipped("weights: infinite", filled(float("inf"))),
    _skipped("weights: a tensor fewer", tensors(lambda held: held.popitem())),
    _skipped(
        "weights: of another backbone",
        tensors(
            lambda held: held.update(
                {k: v[:1].clone() for k, v in held.items() if v.ndim}
            )
        ),
    ),
]
UNNEEDED = [
    Damage("predictions.csv missing", of("predictions.csv", gone), predict=UNCHANGED),
    Damage("history.jsonl missing", of("history.jsonl", gone), predict=UNCHANGED),
    Damage("history.jsonl cut", of("history.jsonl", cut(0.5)), predict=UNCHANGED),
]


SOFTENED = Correction("temperature", (np.eye(3) / 2).tolist())


def of_each(changes: dict[str, Any]) -> dict[str, Any]:
    """Spoil the correction of each family."""
    return {family: asdict(SOFTENED) | changes for family in FAMILIES}


def calibration(**changes: Any) -> Change:
    """Write a calibration that would change every answer; `changes` spoil it."""

    def apply(runs: Path) -> None:
        names = sorted(run.name for run in runs.glob("severity-*"))
        sound = asdict(Calibration(dict.fromkeys(FAMILIES, SOFTENED), 1.5, 0.1))
        sound |= {"runs": names, "ensemble": ENSEMBLE_RULE, "version": VERSION}
        held = json.dumps(sound | changes)
        (runs / "calibration.json").write_text(held)

    return apply


def spoiled(change: Change) -> Change:
    """Write a sound calibration, then damage its file."""

    def apply(runs: Path) -> None:
        calibration()(runs)
        change(runs / "calibration.json")

    return apply


CALIBRATIONS = [
    *(
        Damage(name, spoiled(change), predict=UNCHANGED)
        for name, change in JSON_DAMAGES
    ),
    *(
        Damage(name, calibration(**changes), predict=UNCHANGED)
        for name, changes in {
            "of other runs": {"runs": ["severity-other"]},
            "runs that are no list": {"runs": 3},
            "of another version": {"version": 1},
            "no families": {"families": {}},
            "families that are numbers": {"families": dict.fromkeys(FAMILIES, 2.0)},
            "a method that is unknown": {"families": of_each({"method": "magic"})},
            "a matrix that is text": {"families": of_each({"matrix": [["2"] * 3] * 3})},
            "a share of the prior above 1": {
                "families": of_each({"prior_weight": 1.5})
            },
            "a factor of NaN": {"any_severe": float("nan")},
            "an infinite factor": {"any_severe": float("inf")},
            "an entry more": {"x": 1},
        }.items()
    ),
]


def _overviews(name: str, change: Change, train: object = REFUSED) -> Damage:
    return Damage(name, change, train=train)


OVERVIEWS = [
    *(
        _overviews(f"overviews.json: {name}", of("overviews.json", change))
        for name, change in JSON_DAMAGES
    ),
    _overviews("overviews.npy: missing", of("overviews.npy", gone)),
    _overviews("overviews.npy: cut", of("overviews.npy", cut(0.5))),
    _overviews("overviews.npy: floats", of("overviews.npy", array(lambda a: a / 1.0))),
    _overviews("overviews.csv: missing", of("overviews.csv", gone)),
    _overviews("overviews.csv: cut", of("overviews.csv", cut(0.5))),
    _overviews("overviews.csv: no number", of("overviews.csv", cell("rows", "x"))),
]


def _shards(change: Change) -> Change:
    def apply(cache: Path) -> None:
        for path in (cache / "parts").glob("*.safetensors"):
            change(path)

    return apply


# A cache that was killed when all shards were written.
SHARDS = [
    Damage("shards: sound", lambda cache: None, prep=UNCHANGED),
    Damage("shards: missing", _shards(gone), prep=UNCHANGED),
    Damage("shards: empty", _shards(cut(0)), prep=UNCHANGED),
    Damage("shards: cut", _shards(cut(0.5)), prep=UNCHANGED),
    Damage("shards: text", _shards(pointer), prep=UNCHANGED),
    Damage("shards: of objects", _shards(pickled), prep=UNCHANGED),
    Damage(
        "shards: a half-written file",
        lambda cache: (cache / "parts/.1_2.77.tmp.safetensors").write_bytes(b"half"),
        prep=UNCHANGED,
    ),
    Damage(
        "shards: half-written tables",
        lambda cache: (cache / ".crops.csv.77.tmp.csv").write_bytes(b"half"),
        prep=UNCHANGED,
    ),
    *(
        Damage(
            f"key of the shards: {name}",
            of("parts/cache.json", change),
            prep=UNCHANGED if name == "missing" else REFUSED,
        )
        for name, change in JSON_DAMAGES
    ),
]
# A finished cache that prep finds.
FOUND = [
    Damage("found: sound", lambda cache: None, prep=UNCHANGED),
    *(
        Damage(f"found: {damage.name}", damage.apply, prep=REFUSED)
        for damage in CACHES
        if damage.name.startswith(("cache.json", "crops.npy"))
        and damage.train == REFUSED
        if damage.name != "cache.json: missing"
    ),
]

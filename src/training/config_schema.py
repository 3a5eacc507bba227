"""config.json read back entry by entry, so that no wrong one reaches a prediction."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from src.competition.constants import CONDITIONS, LEVELS, SEVERITIES
from src.training.config import (
    BN_STATS,
    LABELS,
    MAX_AUGMENT,
    MAX_EMA,
    MAX_INPUT_PX,
    MAX_MIXUP,
    SCHEDULES,
    SELECTIONS,
    SLICES,
    SPLIT_WAYS,
    VIEWS,
    Hyperparameters,
    RunConfig,
)
from src.training.optimizers import OPTIMIZERS

Check = Callable[[Any], bool]
MAX_MM = 1000.0  # of an offset or a distance within a spine
MAX_SLICES = 99  # of a crop
TOLERANCE = 1e-3  # of a sum of probabilities


def parse_config(held: Any) -> RunConfig:
    """Make a run's config of config.json's object; raises ValueError for a wrong one.

    The message names the first entry that is missing, unknown or not valid.
    """
    required = set(_CONFIG) - _OPTIONAL
    _require(held, _CONFIG, "", required)
    if held["labels"] != list(LABELS[held["task"]]):
        raise ValueError(f"labels that are not those of the task {held['task']}")
    all_views = held.get("views") == "all"
    if all_views and (held["task"] != "severity" or held["slices"] == "repeat"):
        raise ValueError("views that are not for its task and slices")
    least = {"neighbours": 3, "repeat": 1, "attention": 1 if all_views else 5}
    if held["task"] != "location" and held["crop"]["slices"] < least[held["slices"]]:
        raise ValueError(f"crop slices that are too few for {held['slices']}")
    settings = Hyperparameters(**_ADDED_LATER | held["hyperparameters"])
    return RunConfig(**{**held, "hyperparameters": settings})


def _require(
    held: Any, checks: Mapping[str, Check], within: str, required: set[str]
) -> None:
    """Raise ValueError unless `held` has the required entries, and valid ones only."""
    if not isinstance(held, dict):
        raise ValueError(f"{within.rstrip('.') or 'its content'} that is no object")
    if missing := sorted(required - set(held)):
        raise ValueError(f"no {within}{missing[0]}")
    for name, value in held.items():
        if name not in checks:
            raise ValueError(f"an unknown entry {within}{name[:40]}")
        if not checks[name](value):
            raise ValueError(f"an entry {within}{name} that is not valid")


def _number(low: float, high: float) -> Check:
    """Accept a finite number from low to high."""

    def check(value: Any) -> bool:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return plain and low <= value <= high

    return check


def _whole(low: int, high: float = 2**63) -> Check:
    """Accept a whole number from low to high."""
    within = _number(low, high)
    return lambda value: isinstance(value, int) and within(value)


def _one_of(*allowed: str) -> Check:
    return lambda value: isinstance(value, str) and value in allowed


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _object(**checks: Check) -> Check:
    """Accept an object of exactly these entries."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() == checks.keys()
        and all(check(value[name]) for name, check in checks.items())
    )


def _rows(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _point(low: float) -> Check:
    check = _number(low, MAX_MM)
    return lambda value: _rows(check)(value) and len(value) == 3


def _numbers(high: float, least: int) -> Check:
    """Accept `least` numbers or more from 0 to high."""
    rows = _rows(_number(0, high))
    return lambda value: rows(value) and len(value) >= least


def _shares(value: Any) -> bool:
    """Accept shares that sum to 1."""
    shares = _numbers(1.0, least=1)
    return shares(value) and math.isclose(sum(value), 1.0, abs_tol=TOLERANCE)


def _is_prior(value: Any) -> bool:
    """Accept probabilities of each condition and level, once each."""
    share = _number(0.0, 1.0)
    row = _object(condition=_text, level=_text, **dict.fromkeys(SEVERITIES, share))
    if not _rows(row)(value):
        return False
    sites = [(row["condition"], row["level"]) for row in value]
    sums = [sum(row[name] for name in SEVERITIES) for row in value]
    return sorted(sites) == sorted(product(CONDITIONS, LEVELS)) and all(
        math.isclose(total, 1.0, abs_tol=TOLERANCE) for total in sums
    )


def _is_hyperparameters(value: Any) -> bool:
    names = {field.name for field in fields(Hyperparameters)}
    _require(value, _HYPERPARAMETERS, "hyperparameters.", names - set(_ADDED_LATER))
    return True


def _is_crop(value: Any) -> bool:
    _require(value, _CROP, "crop.", set(_CROP))
    return value["slices"] % 2 == 1


_HYPERPARAMETERS: dict[str, Check] = {
    "optimizer": _one_of(*OPTIMIZERS),
    "lr": _number(5e-324, 1e9),
    "weight_decay": _number(0, 1e9),
    "schedule": _one_of(*SCHEDULES),
    "epochs": _whole(1),
    "patience": _whole(0),
    "batch_size": _whole(1),
    "input_px": _whole(0, MAX_INPUT_PX),
    "augment": _number(0, MAX_AUGMENT),
    "bn_stats": _one_of(*BN_STATS),
    "seed": _whole(0, math.inf),
    "accumulate": _whole(1),
    "sync_bn": _is_bool,
    "select": _one_of(*SELECTIONS),
    "ema": _number(0, MAX_EMA),
    "mixup": _number(0, MAX_MIXUP),
    "soften": _number(0, 1),
}
# Runs of older versions lack these: they were trained so.
_ADDED_LATER: dict[str, Any] = {
    "accumulate": 1,
    "sync_bn": False,
    "select": "best",
    "ema": 0.0,
    "mixup": 0.0,
    "soften": 0.0,
}
_CROP: dict[str, Check] = {
    "crop_px": _whole(1, 1024),
    "field_mm": _optional(_number(1, MAX_MM)),
    "slices": _whole(1, MAX_SLICES),
}
# Runs of other tasks or older versions lack these: RunConfig has their defaults.
_OPTIONAL = {"canal_offsets", "level_spacing", "site_errors", "views"}
_CONFIG: dict[str, Check] = {
    "task": _one_of(*LABELS),
    "backbone": lambda value: _text(value) and bool(re.fullmatch(r"[\w.\-]+", value)),
    "split": _one_of(*SPLIT_WAYS),
    "fold": _one_of("holdout", "0", "1", "2", "3", "4"),
    "slices": _one_of(*SLICES),
    "labels": _rows(_text),
    "hyperparameters": _is_hyperparameters,
    "weights": _text,
    "crop": _is_crop,
    "cache_fingerprint": _object(points=_text, labels=_text, series=_text),
    "limit": _optional(_whole(1)),
    "prior": _is_prior,
    "canal_offsets": _optional(
        _rows(
            _object(
                condition=_one_of(*CONDITIONS),
                level=_one_of(*LEVELS),
                mean_mm=_point(-MAX_MM),
                sd_mm=_point(0),
            )
        )
    ),
    "level_spacing": _optional(
        _rows(
            _object(
                level=_one_of(*LEVELS[:-1]),
                mean_mm=_number(0, MAX_MM),
                sd_mm=_number(0, MAX_MM),
            )
        )
    ),
    "views": _one_of(*VIEWS),
    "site_errors": _optional(
        _rows(
            _object(
                axial=_is_bool,
                error_mm=_numbers(MAX_MM, least=2),
                slices_off=_shares,
            )
        )
    ),
}

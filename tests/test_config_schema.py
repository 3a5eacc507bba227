"""config.json: whatever is wrong with it, one sentence; what is right, read back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_condition_runs import description

from src.competition.constants import CONDITIONS, SEVERITIES
from src.errors import UserError
from src.training.config_schema import parse_config
from src.training.run_folder import read_run, readable_runs

SITE = {"condition": CONDITIONS[0], "level": "l1_l2"}
WHOLE = description(
    canal_offsets=[{**SITE, "mean_mm": [1.0, 2.0, 3.0], "sd_mm": [0.5, 0.5, 0.5]}],
    level_spacing=[{"level": "l1_l2", "mean_mm": 30.0, "sd_mm": 2.0}],
    site_errors=[{"axial": True, "error_mm": [0.5, 2.5], "slices_off": [1.0]}],
    views="own",
    limit=9,
)
GONE = object()
HUGE = 10**400
DAMAGES = [GONE, None, True, -1, HUGE, float("nan"), float("inf"), "", "no", [], {}]
FITTED = {"canal_offsets", "level_spacing", "site_errors"}
ADDED = {
    **{"accumulate": 1, "sync_bn": False, "select": "best", "ema": 0, "mixup": 0},
    "soften": 0,
}
ADDED_LATER = {f"hyperparameters.{name}" for name in ADDED}
OPTIONAL = FITTED | {"limit", "crop.field_mm"}


def paths(held: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every entry, at any depth."""
    parts = held.items() if isinstance(held, dict) else enumerate(held)
    for key, value in parts:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*path, key))


def damaged(path: tuple, damage: object) -> Any:
    """Copy the description with one entry replaced, or gone."""
    held = json.loads(json.dumps(WHOLE))
    within = held
    for key in path[:-1]:
        within = within[key]
    if damage is GONE:
        del within[path[-1]]
    else:
        within[path[-1]] = damage
    return held


def is_allowed(path: tuple, damage: object) -> bool:
    """Say whether a change leaves a valid description."""
    name = ".".join(map(str, path))
    if name == "weights" or "cache_fingerprint" in path[:-1]:
        return isinstance(damage, str)
    if name in ADDED_LATER | {"views"} and damage is GONE:  # as in older runs
        return True
    if name in ("hyperparameters.sync_bn", "site_errors.0.axial"):
        return damage is True
    if damage is GONE:  # a key with a default, or a row
        return name in FITTED or (path[0] in FITTED and path[1:] == (0,))
    if damage is None:
        return name in OPTIONAL
    if damage == []:
        return name in FITTED
    if damage == -1:
        return "mean_mm" in path and path[-1] in (0, 1, 2)
    if damage == "no":
        return name == "backbone"  # is looked up when the network is built
    return name == "hyperparameters.seed" and damage is HUGE


def refusal(held: Any) -> str | None:
    """Return why a description is refused; None if it is read."""
    try:
        parse_config(held)
    except ValueError as error:
        return str(error)
    return None


EVERY = list(paths(WHOLE))


def test_every_wrong_entry_is_refused_in_one_sentence() -> None:
    cases = [(path, damage) for path in EVERY for damage in DAMAGES]
    assert len(cases) > 1000
    for path, damage in cases:
        reason = refusal(damaged(path, damage))
        assert (reason is None) == is_allowed(path, damage), (path, damage, reason)
        assert "\n" not in (reason or "")


def test_a_whole_description_is_read_back_to_the_byte() -> None:
    assert parse_config(json.loads(json.dumps(WHOLE))).to_dict() == WHOLE
    text = json.dumps(parse_config(WHOLE).to_dict(), sort_keys=True)
    assert text == json.dumps(WHOLE, sort_keys=True)


def test_a_run_of_an_older_version_was_trained_by_the_defaults() -> None:
    held = json.loads(json.dumps(WHOLE))
    for name in ("accumulate", "sync_bn"):
        del held["hyperparameters"][name]
    config = parse_config(held)
    assert config.hyperparameters.accumulate == 1
    assert config.hyperparameters.sync_bn is False
    assert config.to_dict() == WHOLE


def test_all_views_are_for_severity_and_no_repeated_slice() -> None:
    crop = {**WHOLE["crop"], "slices": 1}
    severity = {"task": "severity", "labels": list(SEVERITIES), "views": "all"}
    good = description(**severity, slices="attention", crop=crop)
    assert parse_config(good).views == "all"
    assert (
        refusal(good | {"views": "own"}) == "crop slices that are too few for attention"
    )
    others = [{"slices": "repeat"}, {"task": "condition", "labels": list(CONDITIONS)}]
    for other in others:
        assert "views" in (refusal(good | other) or "")
    assert "views" in (refusal(good | {"views": "most"}) or "")
    near = good | {"slices": "neighbours"}
    assert refusal(near) == "crop slices that are too few for neighbours"
    assert parse_config(near | {"crop": {**crop, "slices": 3}}).slices == "neighbours"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accumulate": 0}, "hyperparameters.accumulate"),
        ({"sync_bn": 1}, "hyperparameters.sync_bn"),
        ({"task": "sorting"}, "entry task"),
        ({"labels": list(CONDITIONS[::-1])}, "labels"),
        ({"labels": ["a", *CONDITIONS[1:]]}, "labels"),
        ({"fold": "5"}, "entry fold"),
        ({"backbone": "../other"}, "entry backbone"),
        ({"backbone": "hf-hub:some/model"}, "entry backbone"),
        ({"crop": {"crop_px": 16, "field_mm": 50.0, "slices": 4}}, "entry crop"),
        ({"crop": {"crop_px": 16, "field_mm": 50.0, "slices": 1}}, "too few"),
        ({"lr": -0.1}, "hyperparameters.lr"),
        ({"lr": 0}, "hyperparameters.lr"),
        ({"batch_size": 2.5}, "hyperparameters.batch_size"),
        ({"optimizer": "lion"}, "hyperparameters.optimizer"),
        ({"colour": "red"}, "unknown entry colour"),
    ],
    ids=str,
)
def test_a_wrong_entry_is_named(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_config(description(**change))


TEXTS = [
    *(b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe\x00", b"\x00" * 64),
    *(b"[" * 100_000, json.dumps(WHOLE).encode()[:-40], b"version https://git-lfs"),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_file_that_is_no_description_is_one_sentence(
    text: bytes, tmp_path: Path
) -> None:
    for name, content in (("bad", text), ("good", json.dumps(WHOLE).encode())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"bad is no .* run: its config\.json"):
        read_run(tmp_path / "bad")
    told: list[str] = []
    [run] = readable_runs(tmp_path, told.append)
    assert run.folder.name == "good"
    [sentence] = told
    assert "train it again" in sentence
    assert "\n" not in sentence

"""Recipes in TOML: a preset's values stand where a flag was not given.

optimizer = "adam"        # for every backbone
[vgg11]                   # and for one
batch-size = 64
"""

import tomllib
from pathlib import Path
from typing import Any

from src.errors import UserError


def read_preset(path: Path, flags: set[str], backbones: set[str]) -> dict[str, Any]:
    """Read a preset: values by flag, and a table of such by backbone.

    flags: the names it may set; backbones: those it may have a table for. Raises
    UserError for anything else.
    """
    try:
        preset = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path} is no TOML: {error}") from error
    for name, value in preset.items():
        given = value.keys() if isinstance(value, dict) else {name}
        if unknown := sorted(set(given) - flags):
            raise UserError(
                f"{path} sets {unknown[0]!r}, which is no setting: use one of "
                f"{', '.join(sorted(flags))}"
            )
        if isinstance(value, dict) and name not in backbones:
            raise UserError(
                f"{path} has a table [{name}], which is none of the backbones "
                f"{', '.join(sorted(backbones))}"
            )
    return preset


def values_for(preset: dict[str, Any], backbone: str) -> dict[str, Any]:
    """Return the values for one backbone, its own before everyone's, by Python name."""
    shared = {k: v for k, v in preset.items() if not isinstance(v, dict)}
    chosen = shared | preset.get(backbone, {})
    return {name.replace("-", "_"): value for name, value in chosen.items()}

"""Reading a JSON file that must hold an object."""

import json
from pathlib import Path
from typing import Any

from src.errors import UserError


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object. UserError, which ends in `remedy`, if it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}); {remedy}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); {remedy}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object; {remedy}.")
    return value

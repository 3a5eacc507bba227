"""The error for a problem that the user can fix."""

import re
from pathlib import Path


class UserError(Exception):
    """A problem that the user can fix.

    The message is one sentence: the value, what was expected, the way out. The scripts
    print it and exit with 1; any other exception is a bug in the kit.
    """


def shown_name(name: str) -> str:
    """Return the name of a slice's file; any other could name a person."""
    return name if re.fullmatch(r"[0-9]+\.dcm", name) else "a file"


def without_folder(sentence: str, folder: Path) -> str:
    """Remove a study's folder from a sentence that goes into a results file."""
    return sentence.replace(f"{folder}/", "series ").replace(str(folder), "the study")

"""The error for a problem that the user can fix."""

from pathlib import Path


class UserError(Exception):
    """A problem that the user can fix.

    The message is one sentence: the value, what was expected, the way out. The scripts
    print it and exit with 1; any other exception is a bug in the kit.
    """


def without_folder(sentence: str, folder: Path) -> str:
    """Remove a study's folder from a sentence that goes into a results file."""
    return sentence.replace(f"{folder}/", "series ").replace(str(folder), "the study")

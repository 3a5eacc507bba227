"""The one exception a user can mend."""

from pathlib import Path


class UserError(Exception):
    """Input that is wrong in a way its owner can put right.

    The message is one sentence: the value, what was expected, the way out. The scripts
    print it and exit with 1; anything else that is raised is a bug of ours.
    """


def without_folder(sentence: str, folder: Path) -> str:
    """Leave a study's folder out of a sentence that others will read."""
    return sentence.replace(f"{folder}/", "series ").replace(str(folder), "the study")

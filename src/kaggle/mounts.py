"""Find Kaggle's mounts by what they hold, not by their path.

Since 2026 a competition lies in /kaggle/input/competitions/SLUG, a dataset in
/kaggle/input/datasets/OWNER/SLUG and a notebook's output in
/kaggle/input/notebooks/OWNER/SLUG; before, and sometimes still, all of them lay in
/kaggle/input/SLUG.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from src.competition.tables import TEST_SERIES_FILE
from src.errors import UserError
from src.kaggle.names import COMPETITION

ROOT_VARIABLE = "KAGGLE_INPUT"  # the root of the mounts, if not /kaggle/input
_MAX_DEPTH = 4


def input_root() -> Path:
    """Return the folder that everything is mounted under."""
    return Path(os.environ.get(ROOT_VARIABLE, "/kaggle/input"))


def find_competition(root: Path) -> Path:
    """Return the competition's folder: one with the test's series or its images.

    Raises UserError, which lists the mounts, if there is none.
    """
    known = (root / "competitions" / COMPETITION, root / COMPETITION)
    for folder in (*known, *_folders(root)):
        series, images = folder / TEST_SERIES_FILE, folder / "test_images"
        if os.path.isfile(series) or os.path.isdir(images):
            return folder
    raise UserError(
        f"No competition is mounted in {root}, which holds {_listing(root)}; add the "
        "competition to the notebook's inputs."
    )


def _folders(root: Path, depth: int = 1) -> Iterator[Path]:
    """Walk downwards, but never into images: there are 147,000 of them."""
    if depth > _MAX_DEPTH:
        return
    inside = [path for path in _subfolders(root) if path.name[-7:] != "_images"]
    yield from inside
    for path in inside:
        yield from _folders(path, depth + 1)


def _subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, without links upwards; none if it is unreadable."""
    try:
        # os.path answers no where Path raises: at a folder without permission.
        inside = sorted(path for path in folder.iterdir() if os.path.isdir(path))
        real = folder.resolve()
        return [path for path in inside if not real.is_relative_to(path.resolve())]
    except OSError:
        return []


def _listing(root: Path) -> str:
    names = [path.relative_to(root).as_posix() for path in _folders(root, 3)]
    # A name need not be text that can be printed.
    printable = [name.encode(errors="replace").decode() for name in names[:12]]
    return ", ".join(printable) or "nothing"

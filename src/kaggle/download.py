"""Fetching the competition: its archive, checked, unpacked file by file.

Everything resumes after a kill: the archive through the CLI's own
resumption, the files because one that is there in its full size is left alone.
"""

import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from src.competition.tables import LABEL_FILE
from src.console import progress, say, timed
from src.errors import UserError
from src.files import replacing
from src.kaggle import cli
from src.kaggle.cli import run_checked
from src.kaggle.names import COMPETITION

# The archive's size is not told beforehand; 147,000 files are about 35 GB unpacked.
ARCHIVE_BYTES = UNPACKED_BYTES = 35 * 10**9


def fetch_competition(data: Path) -> None:
    """Download and unpack the competition into `data`, if it is not there already.

    Raises UserError that says what to do if the disk is too small, credentials or
    accepted rules are missing, or the archive is damaged.
    """
    if (data / LABEL_FILE).is_file():
        say(f"{data} holds a competition already: nothing is downloaded")
        return
    data.mkdir(parents=True, exist_ok=True)
    archive = data / f"{COMPETITION}.zip"
    if not _whole(archive):
        held = archive.stat().st_size if archive.is_file() else 0
        require_room(data, ARCHIVE_BYTES + UNPACKED_BYTES - held)
        with timed(f"Downloaded {archive}"):
            run_checked(cli.download(data), live=True)
        if not _whole(archive):
            raise UserError(
                f"{archive} is not whole after the download; run this again to go on."
            )
    with timed(f"Unpacked it into {data}"), progress("files") as tick:
        unpack(archive, data, tick)
    archive.unlink()


def require_room(folder: Path, needed: int) -> None:
    """Refuse a disk with too little room, before anything is written."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are "
            "needed for the archive and its files; make room or choose another --data."
        )


def unpack(archive: Path, data: Path, tick: Callable[[int, int], None]) -> None:
    """Unpack what is not there yet, each file whole or not at all, train.csv last.

    Each file's checksum is compared. Raises UserError where one is damaged.
    """
    with zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        left = [entry for entry in entries if not _is_there(entry, data)]
        require_room(data, sum(entry.file_size for entry in left))
        # A folder with train.csv is taken for a whole competition.
        left.sort(key=lambda entry: entry.filename == LABEL_FILE)
        for done, entry in enumerate(left, 1):
            _extract(opened, entry, _target(entry, data))
            tick(done, len(left))


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    try:
        with (
            opened.open(entry) as source,
            replacing(target) as temporary,
            temporary.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(
            f"{entry.filename} is damaged in {opened.filename}; delete the archive and "
            "run this again to fetch it anew."
        ) from error


def _target(entry: zipfile.ZipInfo, data: Path) -> Path:
    """Place an entry below `data`, and nowhere else."""
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"The archive names {entry.filename}, outside of its own folder; do not "
            "trust it, delete it and run this again."
        )
    return data / path


def _is_there(entry: zipfile.ZipInfo, data: Path) -> bool:
    target = _target(entry, data)
    return target.is_file() and target.stat().st_size == entry.file_size


def _whole(archive: Path) -> bool:
    """Say whether the archive's table of contents, its last part, is there."""
    return zipfile.is_zipfile(archive)

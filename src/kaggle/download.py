"""Download the competition: its archive, checked, unpacked file by file.

If interrupted, it resumes: the archive by the CLI's own means, the files because those
of full size are skipped.
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

# The archive's size is not known beforehand; 147,000 files are about 35 GB unpacked.
ARCHIVE_BYTES = UNPACKED_BYTES = 35 * 10**9


def fetch_competition(data: Path) -> None:
    """Download and unpack the competition into `data`, unless it is there.

    Raises UserError that says what to do if the disk is too small, credentials or
    accepted rules are missing, or the archive is damaged.
    """
    if (data / LABEL_FILE).is_file():
        say(f"{data} already holds a competition: nothing to download")
        return
    data.mkdir(parents=True, exist_ok=True)
    archive = data / f"{COMPETITION}.zip"
    if not _is_complete(archive):
        held = archive.stat().st_size if archive.is_file() else 0
        require_room(data, ARCHIVE_BYTES + UNPACKED_BYTES - held)
        with timed(f"Downloaded {archive}"):
            run_checked(cli.download(data), live=True)
        if not _is_complete(archive):
            raise UserError(
                f"{archive} is incomplete after the download; run this again to resume."
            )
    with timed(f"Unpacked it into {data}"), progress("files") as on_file:
        unpack(archive, data, on_file)
    archive.unlink()


def require_room(folder: Path, needed: int) -> None:
    """Refuse a disk with too little free space, before anything is written."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are "
            "needed for the archive and its files; make room or choose another --data."
        )


def unpack(archive: Path, data: Path, on_file: Callable[[int, int], None]) -> None:
    """Unpack the missing files, each complete or not at all, train.csv last.

    Checksums are compared. Raises UserError for a damaged file.
    """
    with zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        missing = [entry for entry in entries if not _is_unpacked(entry, data)]
        require_room(data, sum(entry.file_size for entry in missing))
        # A folder with train.csv counts as a complete competition.
        missing.sort(key=lambda entry: entry.filename == LABEL_FILE)
        for done, entry in enumerate(missing, 1):
            _extract(opened, entry, _target(entry, data))
            on_file(done, len(missing))


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
    """Return an entry's path, which must be below `data`."""
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"The archive names {entry.filename}, outside of its own folder; do not "
            "trust it, delete it and run this again."
        )
    return data / path


def _is_unpacked(entry: zipfile.ZipInfo, data: Path) -> bool:
    target = _target(entry, data)
    return target.is_file() and target.stat().st_size == entry.file_size


def _is_complete(archive: Path) -> bool:
    """Check for the archive's table of contents, its last part."""
    return zipfile.is_zipfile(archive)

"""Download the competition: its archive, checked, unpacked file by file.

If interrupted, it resumes: the archive by the CLI's own means, the files because those
of full size are skipped.
"""

import csv
import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from src.competition.tables import LABEL_FILE, image_folder
from src.console import progress, say, timed
from src.errors import UserError
from src.files import replacing
from src.kaggle import cli
from src.kaggle.cli import UnavailableError, run_checked
from src.kaggle.names import COMPETITION
from src.kaggle.polling import Polling

# The archive's size is not known beforehand; 147,000 files are about 35 GB unpacked.
ARCHIVE_BYTES = UNPACKED_BYTES = 35 * 10**9
# Through an outage, for as long as no byte arrives.
PATIENCE = Polling(every_s=20.0, limit_s=3600.0)
# What zipfile raises for damage, depending on where it is.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError),
)


def fetch_competition(data: Path) -> None:
    """Download and unpack the competition into `data`, unless it is there.

    Raises UserError that says what to do if the disk is too small, credentials or
    accepted rules are missing, or the archive is damaged.
    """
    archive = data / f"{COMPETITION}.zip"
    if is_whole(data) and not archive.is_file():
        say(f"{data} already holds a competition: nothing to download")
        return
    data.mkdir(parents=True, exist_ok=True)
    if not _is_complete(archive):
        require_room(data, ARCHIVE_BYTES + UNPACKED_BYTES - _size(archive))
        with timed(f"Downloaded {archive}"):
            _download(archive)
        if not _is_complete(archive):
            raise UserError(
                f"{archive} is incomplete after the download; run this again to resume."
            )
    with timed(f"Unpacked it into {data}"), progress("files") as on_file:
        unpack(archive, data, on_file)
    archive.unlink()


def is_whole(data: Path) -> bool:
    """Tell whether `data` has training labels, and images of each of their studies."""
    try:
        with (data / LABEL_FILE).open(encoding="utf-8-sig", newline="") as stream:
            studies = {(row.get("study_id") or "") for row in csv.DictReader(stream)}
        images = image_folder(data, "train")
        held = {folder.name for folder in images.iterdir() if any(folder.iterdir())}
    except (OSError, ValueError, csv.Error):
        return False
    return bool(studies) and studies <= held


def _download(archive: Path) -> None:
    """Fetch the archive; after a broken connection, what is missing of it."""
    while True:
        before = _size(archive)
        try:
            PATIENCE.ask(lambda: run_checked(cli.download(archive.parent), live=True))
            return
        except UnavailableError:
            if _size(archive) <= before:
                raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


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
    with _opened(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        missing = [entry for entry in entries if not _is_unpacked(entry, data)]
        require_room(data, sum(entry.file_size for entry in missing))
        # A folder with train.csv counts as a complete competition.
        missing.sort(key=lambda entry: entry.filename == LABEL_FILE)
        for done, entry in enumerate(missing, 1):
            _extract(opened, entry, _target(entry, data))
            on_file(done, len(missing))


def _opened(archive: Path) -> zipfile.ZipFile:
    """Open an archive, whose table of contents must be whole."""
    try:
        return zipfile.ZipFile(archive)
    except (*_DAMAGE, OSError) as error:
        raise UserError(
            f"The table of contents of {archive} is damaged; delete the archive and "
            "run this again to fetch it anew."
        ) from error


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    try:
        with (
            opened.open(entry) as source,
            replacing(target) as temporary,
            temporary.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except (*_DAMAGE, OSError) as error:
        # A position before the archive's begin is an invalid argument.
        if not isinstance(error, OSError) or error.errno == errno.EINVAL:
            raise UserError(
                f"{entry.filename} is damaged in {opened.filename}; delete the archive "
                "and run this again to fetch it anew."
            ) from error
        raise UserError(
            f"{target} cannot be unpacked ({error.strerror}); make it writable or make "
            "room, and run this again to resume."
        ) from error


def _target(entry: zipfile.ZipInfo, data: Path) -> Path:
    """Return an entry's path, which must be below `data`."""
    path = PurePosixPath(entry.filename)
    outside = path.is_absolute() or ".." in path.parts
    # Windows takes a backslash and a drive for more than letters of a name.
    foreign = "\\" in entry.filename or ":" in entry.filename
    if outside or foreign or stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(
            f"The archive has {entry.filename}, a link or a path outside of its own "
            "folder; do not trust it, delete it and run this again."
        )
    return data / path


def _is_unpacked(entry: zipfile.ZipInfo, data: Path) -> bool:
    target = _target(entry, data)
    return target.is_file() and target.stat().st_size == entry.file_size


def _is_complete(archive: Path) -> bool:
    """Check for the archive's table of contents, its last part."""
    return zipfile.is_zipfile(archive)

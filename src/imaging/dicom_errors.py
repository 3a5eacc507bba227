"""pydicom kept quiet, and whatever it raises put into one plain sentence."""

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import config
from pydicom.errors import BytesLengthException, InvalidDicomError

from src.errors import UserError

DAMAGED = "is cut short or damaged; download it again or remove it"

# What pydicom 3 and the decoders it calls were seen to raise, or say that they raise,
# on files with cut ends and flipped bytes. There is no common ancestor to catch.
RAISED_ON_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    BytesLengthException,
    struct.error,
    zlib.error,
)

# Warning filters and pydicom's settings belong to the process, not to a thread.
_one_at_a_time = threading.RLock()


class DicomError(UserError):
    """A DICOM file that cannot be used.

    reason: what is wrong with it and the way out, to be read after the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        """Keep both parts, which is also what lets it travel between processes."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.path} {self.reason}."


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Run pydicom on the file at `path`, in silence, to raise only DicomError."""
    try:
        with _quiet():
            yield
    except InvalidDicomError:
        reason = "is not a DICOM file; download it again or remove it"
        raise DicomError(path, reason) from None
    except OSError as error:
        # One without a number is pydicom's own, not the system's.
        cause = f"cannot be read ({error.strerror}); check the disk and its rights"
        raise DicomError(path, cause if error.errno else DAMAGED) from None
    except RAISED_ON_DAMAGE:
        raise DicomError(path, DAMAGED) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and log records: they quote values, and so patients' names."""
    log = logging.getLogger("pydicom")
    with _one_at_a_time, warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            log.setLevel(level)

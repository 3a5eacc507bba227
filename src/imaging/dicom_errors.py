"""Silencing pydicom, and translating its exceptions into one plain sentence."""

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

# What pydicom 3 and its decoders raise, observed or documented, on files with cut ends
# and flipped bytes. They have no common base class.
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
_settings_lock = threading.RLock()
_is_quiet = [False]  # by block, the innermost last


class DicomError(UserError):
    """A DICOM file that cannot be used.

    reason: what is wrong with it and the way out, to be read after the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        """Keep both parts, so that the exception can be pickled."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """Return one sentence."""
        return f"{self.path} {self.reason}."


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Silence pydicom on the file at `path`, and raise only DicomError."""
    try:
        with quiet():
            yield
    except InvalidDicomError:
        reason = "is not a DICOM file; download it again or remove it"
        raise DicomError(path, reason) from None
    except OSError as error:
        # Without an errno it is pydicom's own, not the system's.
        cause = f"cannot be read ({error.strerror}); check the disk and its permissions"
        raise DicomError(path, cause if error.errno else DAMAGED) from None
    except RAISED_ON_DAMAGE:
        raise DicomError(path, DAMAGED) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and log records, which may quote patients' names.

    Blocks can be nested; the outermost pays.
    """
    with _settings_lock:
        # To change the settings takes longer than to read a small file: a series does
        # it once. The lock is this thread's, so that the outer block is as well.
        if _is_quiet[-1]:
            yield
            return
        log = logging.getLogger("pydicom")
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            level = log.level
            log.setLevel(logging.CRITICAL + 1)
            _is_quiet.append(True)
            try:
                yield
            finally:
                _is_quiet.pop()
                log.setLevel(level)

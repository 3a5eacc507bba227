"""Shared by the scripts' command lines: parser, argument types and exit codes."""

import argparse
import errno
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from src.errors import UserError

MAX_PATH = 300  # characters of a path in a sentence


class _Formatter(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    """Keeps the docstring's line breaks and shows every default but None."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None:
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser whose help shows a script's docstring and all defaults."""
    # No abbreviations: a preset must recognise the flags that override it.
    return argparse.ArgumentParser(
        description=description, formatter_class=_Formatter, allow_abbrev=False
    )


def shown_command(arguments: Sequence[str]) -> str:
    """Return a command to be shown to others: of each path only its last part.

    arguments: the script first, as sys.argv.
    """
    names = ("=".join(_last_part(p) for p in one.split("=")) for one in arguments)
    return f"python {shlex.join(names)}"


def _last_part(text: str) -> str:
    return Path(text).name if "/" in text else text


def positive_int(text: str) -> int:
    """Parse an integer of at least 1, for argparse."""
    return _at_least(1, text)


def non_negative_int(text: str) -> int:
    """Parse an integer of at least 0, for argparse."""
    return _at_least(0, text)


def positive_float(text: str) -> float:
    """Parse a finite number above 0, for argparse."""
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def non_negative_float(text: str) -> float:
    """Parse a finite number of at least 0, for argparse."""
    return bounded_float(0.0, math.inf)(text)


def positive_share(text: str) -> float:
    """Parse a number above 0 and at most 1, for argparse."""
    positive_float(text)
    return bounded_float(0.0, 1.0)(text)


def bounded_float(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return what parses a finite number between two bounds, for argparse."""

    def parse(text: str) -> float:
        value = _finite(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than {minimum:g}")
        if value > maximum:
            raise argparse.ArgumentTypeError(f"{text} is more than {maximum:g}")
        return value

    return parse


def _at_least(minimum: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
    if value < minimum:
        raise argparse.ArgumentTypeError(f"{value} is less than {minimum}")
    return value


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not finite")
    return value


def run_script(main: Callable[[], None]) -> None:
    """Run a script; on an error that the user can fix, print it and exit with 1."""
    try:
        main()
    except UserError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _stop("Interrupted; run the same command again to resume.")
    except OSError as error:
        _stop(_system_error(error))


def _system_error(error: OSError) -> str:
    """Describe an error such as a full disk or a folder without write permission."""
    if error.errno == errno.ENOSPC:
        return "The disk is full; make room and run the same command again."
    name = str(error.filename or "")
    where = f" at {name[:MAX_PATH]}" + "..." * (len(name) > MAX_PATH) if name else ""
    return f"Operating system error{where}: {error.strerror or error}."


def _stop(sentence: str) -> None:
    end = "" if sentence.endswith((".", "!", "?")) else "."
    print(f"{Path(sys.argv[0]).name}: {sentence}{end}", file=sys.stderr)
    sys.exit(1)

"""What the four scripts' command lines share: their parser, and how they end."""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path

from src.errors import UserError


class _Formatter(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    """Keeps the docstring's lines, and shows the defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None:
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def make_parser(story: str) -> argparse.ArgumentParser:
    """Make a parser that shows a script's docstring and every default."""
    # No abbreviations: a preset would win over a flag that it does not recognise.
    return argparse.ArgumentParser(
        description=story, formatter_class=_Formatter, allow_abbrev=False
    )


def positive_int(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    return _at_least(1, text)


def non_negative_int(text: str) -> int:
    """Read a whole number of at least 0, for argparse."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    return value


def run_script(main: Callable[[], None]) -> None:
    """Run a script; end with 1 and one sentence where the user can mend the cause."""
    try:
        main()
    except UserError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _stop("Interrupted; run the same command again to go on.")
    except OSError as error:
        _stop(_refusal(error))


def _refusal(error: OSError) -> str:
    """Say what the system refused: a full disk, a folder that may not be written."""
    if error.errno == errno.ENOSPC:
        return "The disk is full; make room and run the same command again."
    where = f" at {error.filename}" if error.filename else ""
    return f"The system refused{where}: {error.strerror or error}."


def _stop(sentence: str) -> None:
    end = "" if sentence.endswith((".", "!", "?")) else "."
    print(f"{Path(sys.argv[0]).name}: {sentence}{end}", file=sys.stderr)
    sys.exit(1)

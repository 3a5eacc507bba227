"""What a CSV's column may hold.

A column is declared as its name and its kind: a function that turns the column's text
into values, and refuses the first text it cannot take by file, line and value. The
text is indexed by line number less two, so that the first row is line 2.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from src.competition.vocab import token
from src.errors import InputError

Kind = Callable[[pd.Series, str], pd.Series]


def whole_number(text: pd.Series, source: str) -> pd.Series:
    """Read digits as int64; an id must be one before it becomes a path."""
    _refuse(~text.str.fullmatch("[0-9]{1,18}"), text, source, "a whole number")
    return text.astype("int64")


def number(text: pd.Series, source: str) -> pd.Series:
    """Read a finite number as float64."""
    values = pd.to_numeric(text, errors="coerce").astype("float64")
    _refuse(~np.isfinite(values), text, source, "a finite number")
    return values


def number_or_blank(text: pd.Series, source: str) -> pd.Series:
    """Read a finite number as float64, and an empty cell as missing."""
    values = pd.Series(np.nan, index=text.index)
    told = text != ""
    values[told] = number(text[told], source)
    return values


def anything(text: pd.Series, _source: str) -> pd.Series:
    """Take the text as it is."""
    return text


def word(allowed: Iterable[str], *, blank: bool = False, unknown: bool = False) -> Kind:
    """Make the kind of a column of words, compared by token, returned as `allowed` has.

    `blank` lets an empty cell, and `unknown` any other word too, become missing.
    """
    spelling = {token(name): name for name in allowed}

    def read(text: pd.Series, source: str) -> pd.Series:
        words = text.map(token).map(spelling)
        bad = words.isna() & ~(unknown | (blank & (text == "")))
        _refuse(bad, text, source, f"one of {', '.join(spelling.values())}")
        return words

    return read


def and_more(bad: pd.Series) -> str:
    """Say how many rows are like the first one named."""
    others = int(bad.sum()) - 1
    return f" (and {others:,} more)" if others else ""


def _refuse(bad: pd.Series, text: pd.Series, source: str, expected: str) -> None:
    if bad.any():
        row = bad.idxmax()
        raise InputError(
            f"{text.name} {text[row]!r} on line {row + 2} of {source}{and_more(bad)} "
            f"is not {expected}; correct it there."
        )

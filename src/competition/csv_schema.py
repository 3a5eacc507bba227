"""Reading a CSV by its declared columns.

A column is declared as its name and its parser: a function that turns the column's text
into values, or raises UserError with file, line and value of the first invalid cell.
The text is indexed by line number less two, since the first row is on line 2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from src.competition.constants import normalise
from src.errors import UserError

MAX_QUOTED = 60
WHOLE_NUMBER = "[0-9]{1,18}"
ColumnParser = Callable[[pd.Series, str], pd.Series]


def whole_number(text: pd.Series, source: str) -> pd.Series:
    """Read digits as int64; an id must be one before it becomes a path."""
    _refuse(~text.str.fullmatch(WHOLE_NUMBER), text, source, "a whole number")
    return text.astype("int64")


def number(text: pd.Series, source: str) -> pd.Series:
    """Read a finite number as float64."""
    values = pd.to_numeric(text, errors="coerce").astype("float64")
    finite = values.abs() < float("inf")  # false for NaN too
    _refuse(~finite, text, source, "a finite number")
    return values


def optional_number(text: pd.Series, source: str) -> pd.Series:
    """Read a finite number as float64, and an empty cell as missing."""
    filled = text[text != ""]
    return number(filled, source).reindex(text.index)


def any_text(text: pd.Series, _source: str) -> pd.Series:
    """Keep the text as it is."""
    return text


def category(
    allowed: Iterable[str], *, blank: bool = False, unknown: bool = False
) -> ColumnParser:
    """Make the parser of a categorical column; case and separators do not matter.

    Values come out as `allowed` spells them. blank: an empty cell becomes missing;
    unknown: so it does, and any other text is kept as it is.
    """
    spelling = {normalise(name): name for name in allowed}

    def read(text: pd.Series, source: str) -> pd.Series:
        values = text.map(normalise).map(spelling)
        bad = values.isna() & ~(unknown | (blank & (text == "")))
        _refuse(bad, text, source, f"one of {', '.join(spelling.values())}")
        return values.fillna(text[text != ""]) if unknown else values

    return read


def quoted(text: str) -> str:
    """Quote a cell in an error sentence: shortened, and nothing in it unprintable."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def _and_more(bad: pd.Series) -> str:
    """Count the bad rows beside the first, for an error sentence."""
    others = int(bad.sum()) - 1
    return f" (and {others:,} more)" if others else ""


def _first(bad: pd.Series) -> int:
    return int(bad.index[bad][0])


def _refuse(bad: pd.Series, text: pd.Series, source: str, expected: str) -> None:
    if bad.any():
        row = _first(bad)
        raise UserError(
            f"{text.name} {quoted(text[row])} on line {row + 2} of {source}"
            f"{_and_more(bad)} is not {expected}; correct it there."
        )


def read_csv(
    path: Path,
    columns: Mapping[str, ColumnParser],
    *,
    key: Sequence[str] = (),
    exact: bool = False,
    empty: bool = False,
) -> pd.DataFrame:
    """Read the declared columns of a UTF-8 CSV.

    key: columns that together identify a row, so that no two rows may share them;
    exact: refuse any other column; empty: allow a header without rows.
    """
    text = read_text(path)
    _check_header(list(text.columns), list(columns), path.name, exact)
    if text.empty and not empty:
        raise UserError(f"{path} has a header but no rows; fetch the file again.")
    table = pd.DataFrame(
        {name: parse(text[name], path.name) for name, parse in columns.items()}
    )
    if key:
        _check_key(table, list(key), path.name)
    return table.reset_index(drop=True)


def read_text(path: Path) -> pd.DataFrame:
    """Read every cell as text, indexed by line number less two."""
    if not path.is_file():
        raise UserError(_not_found(path))
    try:
        # Blank lines are read, then dropped, so that the index still counts lines.
        text = pd.read_csv(path, dtype=str, na_filter=False, skip_blank_lines=False)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty; fetch the file again.") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        reason = f"{path} cannot be read as a UTF-8 CSV ({type(error).__name__})"
        raise UserError(f"{reason}; fetch or export it again.") from None
    if not isinstance(text.index, pd.RangeIndex):
        raise UserError(f"{path} has longer rows than its header; export it again.")
    text = text.rename(columns=str.strip).fillna("")
    text = text.apply(lambda column: column.str.strip())
    return text[(text != "").any(axis=1)]


def _check_header(
    present: list[str], declared: list[str], source: str, exact: bool
) -> None:
    missing = [name for name in declared if name not in present]
    others = [name for name in present if name not in declared]
    if missing:
        near = _closest(missing[0], others)
        held = ", ".join(quoted(name) for name in present[:8])
        way_out = f"rename its {near!r}" if near else f"it has {held}"
        count = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{source} has no column {missing[0]!r}{count}; {way_out}.")
    if exact and others:
        raise UserError(
            f"{source} has a column {quoted(others[0])} beside {', '.join(declared)}; "
            "remove it."
        )


def _check_key(table: pd.DataFrame, key: list[str], source: str) -> None:
    repeated = table.duplicated(key)
    if repeated.any():
        row = _first(repeated)
        values = table[key].loc[row].items()
        name = ", ".join(f"{column} {value}" for column, value in values)
        raise UserError(
            f"{name} on line {row + 2} of {source}{_and_more(repeated)} stands there "
            "already; keep one row of it."
        )


def _not_found(path: Path) -> str:
    """Describe a missing file, and suggest where it may be."""
    folder, name = path.parent, path.name
    if not folder.is_dir():
        beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
        near = _closest(folder.name, (each.name for each in beside if each.is_dir()))
        way_out = f"perhaps {near!r} beside it is meant" if near else "check its name"
        return f"{name} is looked for in {folder}, which is no folder; {way_out}."
    if nested := sorted(folder.glob(f"*/{name}")):
        return f"{name} is not in {folder} but in {nested[0].parent}; give that one."
    near = _closest(name, (each.name for each in folder.iterdir()))
    closest = f", whose closest name is {near!r}" if near else ""
    return f"{name} is not in {folder}{closest}; correct the path, or unzip it there."


def _closest(name: str, options: Iterable[str]) -> str | None:
    spelling = {normalise(option): option for option in options}
    near = get_close_matches(normalise(name), spelling, n=1)
    return spelling[near[0]] if near else None

"""Damages to the competition's CSVs.

WRITING damages how any CSV is written: `apply` takes its path. CELLS damages what some
tables say: `apply` takes the competition's folder.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from damage import COPED, PARTLY, REFUSED, REJECTED, UNCHANGED, Damage
from small_cohort import TEST, TRAINING, series_id

from src.competition.constants import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from src.competition.tables import (
    LABEL_FILE,
    POINT_FILE,
    SAMPLE_FILE,
    SERIES_FILE,
    TEST_SERIES_FILE,
)

Rows = list[list[str]]  # the header first
Change = Callable[[Path], None]
TRAINING_FILES = (LABEL_FILE, POINT_FILE, SERIES_FILE)
DESCRIPTION = "series_description"
LISTED = str(series_id(TRAINING[0], SAGITTAL_T1))


def text(change: Callable[[str], str]) -> Change:
    """Change a file's text."""

    def apply(path: Path) -> None:
        path.write_bytes(change(path.read_text()).encode())

    return apply


def encoded(encoding: str, more: str = "") -> Change:
    """Write a file in another encoding, with text that tells it apart."""

    def apply(path: Path) -> None:
        head, _, rest = path.read_text().partition("\n")
        lines = [head + ",note", *(f"{row},{more}" for row in rest.splitlines())]
        path.write_bytes("\n".join(lines).encode(encoding))

    return apply


def table(change: Callable[[Rows], Rows], **dialect: object) -> Change:
    """Change a file's rows, the header first."""

    def apply(path: Path) -> None:
        rows = list(csv.reader(io.StringIO(path.read_text())))
        out = io.StringIO()
        csv.writer(out, lineterminator="\n", **dialect).writerows(change(rows))
        path.write_bytes(out.getvalue().encode(errors="surrogateescape"))

    return apply


def cell(column: str, value: str, row: int = 1) -> Change:
    """Write a cell, of the first row if no other is named."""

    def change(rows: Rows) -> Rows:
        rows[row][rows[0].index(column)] = value
        return rows

    return table(change)


def where(column: str, old: str, new: str | None) -> Change:
    """Write a column's cell anew in each row that has a value; None drops the row."""

    def change(rows: Rows) -> Rows:
        at = rows[0].index("series_id" if column == DESCRIPTION else column)
        to = rows[0].index(column)
        kept = [rows[0]]
        for row in rows[1:]:
            if row[at] == old:
                if new is None:
                    continue
                row[to] = new
            kept.append(row)
        return kept

    return table(change)


def of(name: str, change: Change) -> Change:
    """Change one file of the competition."""
    return lambda root: change(root / name)


def row_added(make: Callable[[Rows], list[str]]) -> Change:
    """Add a row, made from the others."""
    return table(lambda rows: [*rows, make(rows)])


def column_lost(index: int) -> Change:
    """Remove a column."""
    return table(lambda rows: [row[:index] + row[index:][1:] for row in rows])


def gone(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def folder_instead(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def _writing(name: str, apply: Change) -> Damage:
    return Damage(name, apply, prep=REFUSED, predict=COPED)


def _harmless(name: str, apply: Change) -> Damage:
    return Damage(name, apply, prep=UNCHANGED, predict=UNCHANGED)


HUGE = "9" * 1_000_000
WRITING = [
    _writing("missing", gone),
    _writing("a folder", folder_instead),
    _writing("a link to itself", lambda p: (p.unlink(), p.symlink_to(p))[0]),
    _writing("empty", text(lambda t: "")),
    _writing("a header alone", text(lambda t: t.splitlines()[0] + "\n")),
    _writing("rows without header", text(lambda t: t.partition("\n")[2])),
    _writing("a line break alone", text(lambda t: "\n")),
    _writing("a web page", text(lambda t: "<html><body>403</body></html>\n")),
    _writing("random bytes", lambda p: p.write_bytes(bytes(range(256)) * 9) and None),
    _writing("semicolons", text(lambda t: t.replace(",", ";"))),
    _writing("tabs", text(lambda t: t.replace(",", "\t"))),
    _writing("UTF-16", encoded("utf-16")),
    _writing("Latin-1", encoded("latin-1", "Wirbelsäule")),
    _writing("cut in a quoted cell", text(lambda t: t[: len(t) // 2] + ',"')),
    _writing("the first column missing", column_lost(0)),
    _writing("a row with more cells", row_added(lambda r: [*r[-1], "1", "2"])),
    _writing("ids as 123.0", table(lambda r: _ids(r, lambda v: f"{v}.0"))),
    _writing("negative ids", table(lambda r: _ids(r, lambda v: f"-{v}"))),
    _writing("ids that climb", table(lambda r: _ids(r, lambda v: f"../{v}"))),
    _writing("ids of 30 digits", table(lambda r: _ids(r, lambda v: v * 10))),
    _writing("ids in scientific form", table(lambda r: _ids(r, lambda v: f"{v}e0"))),
    _writing("ids that are NaN", table(lambda r: _ids(r, lambda v: "NaN"))),
    _writing("no ids", table(lambda r: _ids(r, lambda v: ""))),
    _writing("ids in other digits", table(lambda r: _ids(r, lambda v: "١٢٣"))),
    _writing("a NUL byte in an id", table(lambda r: _ids(r, lambda v: v + "\0"))),
    _writing("a cell of a million characters", cell("study_id", HUGE)),
    _writing("a terminal's escape in an id", cell("study_id", "\x1b[31m1")),
    _writing("a line break in an id", cell("study_id", "1\n2")),
    _writing("an open quote in the middle", text(lambda t: t.replace("\n", '\n"', 1))),
    _writing("one column name twice", table(lambda r: _double_header(r))),
    _harmless("a byte order mark", text(lambda t: "\ufeff" + t)),
    _harmless("CRLF", text(lambda t: t.replace("\n", "\r\n"))),
    _harmless("all cells quoted", table(lambda r: r, quoting=csv.QUOTE_ALL)),
    _harmless("columns in reverse", table(lambda r: [row[::-1] for row in r])),
    _harmless("rows in reverse", table(lambda r: [r[0], *r[:0:-1]])),
    _harmless("a further column", table(lambda r: [[*row, "x"] for row in r])),
    _harmless("blank lines", text(lambda t: t.replace("\n", "\n\n"))),
    _harmless("spaces around cells", text(lambda t: t.replace(",", " , "))),
    _harmless("no last line break", text(lambda t: t.rstrip("\n"))),
]


def _ids(rows: Rows, change: Callable[[str], str]) -> Rows:
    at = rows[0].index("study_id")
    for row in rows[1:]:
        row[at] = change(row[at])
    return rows


def _double_header(rows: Rows) -> Rows:
    rows[0][1] = rows[0][0]
    return rows


def _points(name: str, change: Change, prep: object) -> Damage:
    return Damage(f"points: {name}", of(POINT_FILE, change), prep=prep)


def _labels(name: str, change: Change, prep: object) -> Damage:
    return Damage(f"labels: {name}", of(LABEL_FILE, change), prep=prep)


def _series(name: str, change: Change, prep: object) -> Damage:
    return Damage(f"series: {name}", of(SERIES_FILE, change), prep=prep)


def _test(name: str, change: Change, predict: object) -> Damage:
    return Damage(f"test: {name}", of(TEST_SERIES_FILE, change), predict=predict)


def _sample(name: str, change: Change) -> Damage:
    return Damage(f"sample: {name}", of(SAMPLE_FILE, change), predict=UNCHANGED)


A_LABEL = "spinal_canal_stenosis_l1_l2"
T1, T2, AXIAL = (
    str(series_id(TEST[0], name)) for name in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)
)


def exchanged(path: Path) -> None:
    """Exchange the descriptions of a test study's two sagittal series."""
    where(DESCRIPTION, T1, SAGITTAL_T2)(path)
    where(DESCRIPTION, T2, SAGITTAL_T1)(path)


CELLS = [
    _labels("an unknown severity", cell(A_LABEL, "Terrible"), REFUSED),
    _labels("a severity in other letters", cell(A_LABEL, "SEVERE "), COPED),
    _labels("no severity", cell(A_LABEL, ""), COPED),
    _labels("a study twice", row_added(lambda r: r[1]), REFUSED),
    _labels("a study without images", row_added(lambda r: ["999", *r[1][1:]]), COPED),
    _labels("a column of a target missing", column_lost(25), REFUSED),
    _points("doubled rows", row_added(lambda r: r[1]), COPED),
    _points("an unknown condition", cell("condition", "Scoliosis"), REFUSED),
    _points("an unknown level", cell("level", "T12/L1"), REFUSED),
    _points("a NaN", cell("x", "NaN"), REFUSED),
    _points("an infinity", cell("x", "inf"), REFUSED),
    _points("a decimal comma", cell("x", "12,5"), REFUSED),
    _points("no number", cell("y", ""), REFUSED),
    _points("off the image", cell("x", "1000"), PARTLY),
    _points("off the image by 1e300", cell("x", "1e300"), PARTLY),
    _points("a negative pixel", cell("y", "-40"), PARTLY),
    _points("an instance that is not there", cell("instance_number", "77"), PARTLY),
    _points("an instance of 18 digits", cell("instance_number", "9" * 18), PARTLY),
    _points("an unknown series", where("series_id", LISTED, "5"), REJECTED),
    _points("an unknown study", cell("study_id", "5"), COPED),
    _series("a row without images", row_added(lambda r: ["101", "7", r[1][2]]), COPED),
    _series("no row", where(DESCRIPTION, LISTED, None), COPED),
    _series("a row twice", row_added(lambda r: r[1]), REFUSED),
    _series(
        "axial called Sagittal T1",
        where(DESCRIPTION, str(series_id(TRAINING[0], AXIAL_T2)), SAGITTAL_T1),
        COPED,
    ),
    _series("coronal", where(DESCRIPTION, LISTED, "Coronal T2"), COPED | REFUSED),
    _series("blank", where(DESCRIPTION, LISTED, ""), COPED | REFUSED),
    _test("a row without images", row_added(lambda r: ["201", "7", r[1][2]]), COPED),
    _test("a row twice", row_added(lambda r: r[1]), UNCHANGED),
    _test("no row of a series", where(DESCRIPTION, T1, None), COPED),
    _test("no row of a study", where("study_id", str(TEST[0]), None), COPED),
    _test("axial called T1", where(DESCRIPTION, AXIAL, SAGITTAL_T1), COPED),
    _test("T1 called axial", where(DESCRIPTION, T1, AXIAL_T2), COPED),
    _test("two rows exchanged", exchanged, COPED),
    _test("coronal", where(DESCRIPTION, T1, "Coronal T2"), COPED),
    _test("blank", where(DESCRIPTION, T1, ""), COPED),
    _test("a word of no sense", where(DESCRIPTION, T1, "fnord"), COPED),
    _test("a long word", where(DESCRIPTION, T1, "x" * 1_000_000), COPED),
    _test("an escape", where(DESCRIPTION, T1, "\x1b[31mred\a"), COPED),
    _sample("other rows", text(lambda t: t.replace("203_", "999_"))),
    _sample("missing", gone),
    _sample("empty", text(lambda t: "")),
]

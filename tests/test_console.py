"""What the scripts say on a terminal, what they take, and how they end."""

import errno
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.progress import Progress

from src import demo
from src.command_line import make_parser, non_negative_int, positive_int, run_script
from src.console import cell, progress, say, show_table, timed
from src.errors import UserError
from src.phantom.cohort import truth_folder
from src.training.train_run import epoch_printer


def ticks(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Let the clock show one time after the other."""
    shown = iter(seconds)
    monkeypatch.setattr(time, "perf_counter", lambda: next(shown))


def test_a_sentence_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    long = "[bold]x[/bold] " + "word " * 60 + "end"
    say(long)
    assert capsys.readouterr().out == f"{long}\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        ("", ""),
        (1234, "1234"),
    ],
)
def test_a_value_is_written_with_three_decimals_or_a_dash(
    value: object, words: str
) -> None:
    assert cell(value) == words


def test_a_table_has_words_on_the_left_and_numbers_on_the_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table(
        "A title", [{"a name": "x", "a number": 1.5}, {"a name": "yy", "n": None}]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("A title")
    [first] = [line for line in lines if "1.500" in line]
    [second] = [line for line in lines if "yy" in line]
    assert [first.index("x"), first.index("1.500")] == [2, second.rindex("-") - 4]
    assert second.index("yy") == 2


def test_an_epochs_line_has_its_figures_under_their_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    add = epoch_printer("Run one")
    for number, best in ((7, True), (8, False)):
        add(
            SimpleNamespace(
                epoch=number,
                train_loss=0.1111,
                validation_loss=0.2222,
                validation_top1=0.333,
                seconds=44.4,
                best=best,
            )
        )
    title, heads, first, second = capsys.readouterr().out.strip().splitlines()
    assert title == "Run one"
    names = ["epoch", "train loss", "validation loss", "validation top-1", "seconds"]
    ends = [heads.index(name) + len(name) for name in names]
    values = ["7", "0.1111", "0.2222", "0.333", "44.4"]
    for value, end in zip(values, ends, strict=True):
        assert first[:end].endswith(f" {value}")
    assert first.endswith(" *")
    assert second.endswith("44.4")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_shows_what_is_done_of_all(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    drawn = []

    def update(bar: Progress, _: int, **told: float) -> None:
        drawn.append((bar.disable, told))

    monkeypatch.setattr(Progress, "update", update)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    with progress("studies") as tick:
        tick(2, 9)
    assert drawn == [(not terminal, {"completed": 2, "total": 9})]


def test_a_step_says_its_time_when_it_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks(monkeypatch, 100, 103.25)
    with timed("Cut the crops"):
        assert capsys.readouterr().out == ""
    monkeypatch.undo()
    assert capsys.readouterr().out == "Cut the crops (3.2 s)\n"


@pytest.mark.parametrize(
    ("read", "least"),
    [(positive_int, 1), (non_negative_int, 0)],
    ids=["count", "or_zero"],
)
def test_a_count_below_its_least_is_refused(
    read: Callable[[str], int], least: int
) -> None:
    assert [read(str(least)), read("12")] == [least, 12]
    with pytest.raises(ArgumentTypeError, match=f"{least - 1} is less than {least}"):
        read(str(least - 1))


def test_help_shows_the_docstring_as_it_is_and_every_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = make_parser("Do it.\n\n    python do.py --n 3\n    and more")
    parser.add_argument("--n", type=positive_int, default=17, help="how many")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    told = capsys.readouterr().out
    assert "    python do.py --n 3\n    and more" in told
    assert "how many (default: 17)" in told


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("Give another --out"), "Give another --out."),
        (UserError("Why not?"), "Why not?"),
        (KeyboardInterrupt(), "Interrupted; run the same command again to go on."),
        (OSError(errno.ENOSPC, "No space", "x"), "The disk is full; make room and run"),
        (PermissionError(errno.EACCES, "Denied", "/a/b"), "at /a/b: Denied."),
        (OSError("odd"), "The system refused: odd."),
    ],
)
def test_what_a_user_can_mend_ends_with_1_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    sentence: str,
) -> None:
    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["/some/where/train.py", "--x"])
    with pytest.raises(SystemExit) as end:
        run_script(main)
    told = capsys.readouterr()
    assert (end.value.code, told.out) == (1, "")
    [line] = told.err.splitlines()
    assert line.startswith("train.py: ")
    assert sentence in line


def test_a_bug_of_ours_is_not_hidden() -> None:
    def main() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_script(main)


def flags(command: list[str]) -> dict[str, str]:
    return dict(zip(command[1::2], command[2::2], strict=False))


def test_each_step_of_the_demo_takes_what_the_one_before_it_left() -> None:
    steps = demo.steps(Path("d"), studies=30, epochs=4)
    assert [command[0] for command in steps.values()] == [
        *("input_prep.py", "train.py", "train.py", "train.py"),
        *("evaluate.py", "predict_submission.py", "evaluate.py"),
    ]
    told = {name: flags(command) for name, command in steps.items()}
    data, cache = told["prepare"]["--data"], told["prepare"]["--cache"]
    assert told["prepare"]["--phantom"] == "30"
    for task in ("condition", "location", "severity"):
        assert told[task]["--task"] == task
        assert told[task]["--epochs"] == "4"
        assert told[task]["--cache"] == told["evaluate"]["--cache"] == cache
        assert told[task]["--runs"] == told["evaluate"]["--runs"]
    assert told["predict"]["--runs"] == told["evaluate"]["--runs"]
    assert told["predict"]["--data"] == data
    assert told["score"]["--submission"] == told["predict"]["--out"]
    assert Path(told["score"]["--truth"]) == truth_folder(Path(data)) / "train.csv"
    assert told["score"]["--out"] == told["evaluate"]["--out"]
    places = {data, cache, *(told["evaluate"][name] for name in ("--runs", "--out"))}
    assert len(places) == 4
    assert {Path(place).parent for place in places} == {Path("d")}


def run_demo(monkeypatch: pytest.MonkeyPatch, codes: list[int]) -> tuple[list, list]:
    """Run the demo with scripts that end with some codes: what ran, what it took."""
    ran, rows, left = [], [], iter(codes)

    def script(command: list[str], **_: object) -> SimpleNamespace:
        ran.append(command)
        return SimpleNamespace(returncode=next(left))

    monkeypatch.setattr(demo.subprocess, "run", script)
    monkeypatch.setattr(demo, "show_table", lambda _, table: rows.extend(table))
    monkeypatch.setattr(sys, "argv", ["demo", "--folder", "d", "--studies", "9"])
    # Step n takes n seconds.
    ticks(monkeypatch, *(t for n in range(1, 8) for t in (100 * n, 101 * n)))
    try:
        demo.main()
    finally:
        monkeypatch.undo()
    return ran, rows


def test_the_demo_times_each_step_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, rows = run_demo(monkeypatch, [0] * 7)
    steps = demo.steps(Path("d"), 9, 8)
    assert ran == [[sys.executable, *command] for command in steps.values()]
    seconds = {row["step"]: float(row["seconds"]) for row in rows}
    assert seconds == dict(zip([*steps, "all"], [*range(1, 8), 28], strict=True))


def test_the_demo_stops_where_a_script_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"train\.py ended with 3"):
        run_demo(monkeypatch, [0, 3])


def test_help_shows_the_defaults_that_there_are() -> None:
    parser = make_parser("A story.")
    parser.add_argument("--needed", required=True, help="what must be given")
    parser.add_argument("--some", nargs="+", default=["a", "b"], help="several")
    parser.add_argument("--count", type=int, default=3, help="how many")
    shown = " ".join(parser.format_help().split())
    assert "what must be given --some" in shown
    assert "several (default: a b)" in shown
    assert "how many (default: 3)" in shown
    assert "None" not in shown

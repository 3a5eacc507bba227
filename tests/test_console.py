"""The scripts' console output, argument types, exit codes, and the demo."""

import errno
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.progress import Progress

from src import demo, script_calls
from src.command_line import make_parser, non_negative_int, positive_int, run_script
from src.console import cell, progress, say, show_table, timed
from src.errors import UserError
from src.phantom.cohort import truth_folder
from src.training.epoch_bar import epoch_bar
from src.training.train_run import epoch_printer


def ticks(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Replace the clock by a sequence of times."""
    shown = iter(seconds)
    monkeypatch.setattr(time, "perf_counter", lambda: next(shown))


def test_a_line_is_printed_without_markup_or_wrapping(
    capsys: pytest.CaptureFixture[str],
) -> None:
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


def test_a_table_aligns_text_left_and_numbers_right(
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


def test_a_table_shows_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table("A title", [{"a name": "[red]x[/blue]"}])
    assert "[red]x[/blue]" in capsys.readouterr().out


def test_an_epochs_values_are_aligned_with_their_headers(
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
                images_per_second=555.5,
            )
        )
    title, heads, first, second = capsys.readouterr().out.strip().splitlines()
    assert title == "Run one"
    names = ["epoch", "train loss", "validation loss", "validation top-1", "seconds"]
    names.append("images/s")
    ends = [heads.index(name) + len(name) for name in names]
    values = ["7", "0.1111", "0.2222", "0.333", "44.4", "556"]
    for value, end in zip(values, ends, strict=True):
        assert first[:end].endswith(f" {value}")
    assert first.endswith(" *")
    assert second.endswith("556")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_given_done_and_total_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    drawn = []

    def update(bar: Progress, _: int, **counts: object) -> None:
        drawn.append(counts)

    monkeypatch.setattr(Progress, "update", update)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    with progress("studies") as tick:
        tick(2, 9, "5 a second")
    counts = {"completed": 2, "total": 9, "note": "5 a second"}
    assert drawn == ([counts] if terminal else [])


def test_an_epochs_bar_tells_its_batches_and_its_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []

    @contextmanager
    def bar(title: str) -> Iterator[Callable[..., None]]:
        yield lambda *given: told.append((title, *given))

    with epoch_bar(3) as on_batch:
        on_batch(1, 4, 64)
    assert capsys.readouterr().out == ""  # in no notebook or log
    monkeypatch.setattr("src.training.epoch_bar.progress", bar)
    ticks(monkeypatch, 100, 102, 104)
    with epoch_bar(3) as on_batch:
        on_batch(1, 4, 64)
        on_batch(2, 4, 160)
    epoch = ("epoch 3",)
    assert told == [(*epoch, 1, 4, "32 images/s"), (*epoch, 2, 4, "40 images/s")]


def test_the_elapsed_time_is_printed_when_the_block_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks(monkeypatch, 100, 103.25)
    with timed("Cut the crops"):
        assert capsys.readouterr().out == ""
    monkeypatch.undo()
    assert capsys.readouterr().out == "Cut the crops (3.2 s)\n"


@pytest.mark.parametrize(
    ("read", "minimum"),
    [(positive_int, 1), (non_negative_int, 0)],
    ids=["positive", "non-negative"],
)
def test_an_integer_below_the_minimum_is_refused(
    read: Callable[[str], int], minimum: int
) -> None:
    assert [read(str(minimum)), read("12")] == [minimum, 12]
    message = f"{minimum - 1} is less than {minimum}"
    with pytest.raises(ArgumentTypeError, match=message):
        read(str(minimum - 1))


def test_help_shows_the_docstring_as_it_is_and_every_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = make_parser("Do it.\n\n    python do.py --n 3\n    and more")
    parser.add_argument("--n", type=positive_int, default=17, help="how many")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "    python do.py --n 3\n    and more" in shown
    assert "how many (default: 17)" in shown


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("Give another --out"), "Give another --out."),
        (UserError("Why not?"), "Why not?"),
        (KeyboardInterrupt(), "Interrupted; run the same command again to resume."),
        (OSError(errno.ENOSPC, "No space", "x"), "The disk is full; make room and run"),
        (PermissionError(errno.EACCES, "Denied", "/a/b"), "at /a/b: Denied."),
        (OSError("odd"), "Operating system error: odd."),
    ],
)
def test_an_error_that_a_user_can_fix_exits_with_1_and_one_sentence(
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
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (1, "")
    [line] = printed.err.splitlines()
    assert line.startswith("train.py: ")
    assert sentence in line


def test_any_other_exception_is_raised() -> None:
    def main() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_script(main)


def flags(command: list[str]) -> dict[str, str]:
    return dict(zip(command[1::2], command[2::2], strict=False))


def test_each_step_of_the_demo_reads_what_earlier_steps_wrote() -> None:
    steps = demo.steps(Path("d"), studies=30, epochs=4)
    assert [command[0] for command in steps.values()] == [
        *("input_prep.py", "train.py", "train.py", "train.py"),
        *("evaluate.py", "predict_submission.py", "evaluate.py"),
    ]
    by_step = {name: flags(command) for name, command in steps.items()}
    data, cache = by_step["prepare"]["--data"], by_step["prepare"]["--cache"]
    assert by_step["prepare"]["--phantom"] == "30"
    for task in ("condition", "location", "severity"):
        assert by_step[task]["--task"] == task
        assert by_step[task]["--epochs"] == "4"
        assert by_step[task]["--cache"] == by_step["evaluate"]["--cache"] == cache
        assert by_step[task]["--runs"] == by_step["evaluate"]["--runs"]
    assert by_step["predict"]["--runs"] == by_step["evaluate"]["--runs"]
    assert by_step["predict"]["--data"] == data
    assert by_step["score"]["--submission"] == by_step["predict"]["--out"]
    assert Path(by_step["score"]["--truth"]) == truth_folder(Path(data)) / "train.csv"
    assert by_step["score"]["--out"] == by_step["evaluate"]["--out"]
    paths = {data, cache, *(by_step["evaluate"][name] for name in ("--runs", "--out"))}
    assert len(paths) == 4
    assert {Path(path).parent for path in paths} == {Path("d")}


def test_the_demos_own_sizes_reach_its_steps() -> None:
    steps = demo.steps(Path("d"), studies=30)
    by_step = {name: flags(command) for name, command in steps.items()}
    epochs = {task: int(by_step[task]["--epochs"]) for task in demo.EPOCHS}
    assert epochs == demo.EPOCHS
    assert by_step["prepare"]["--crop-px"] == str(demo.CROP_PX)
    assert by_step["location"]["--input-px"] == str(demo.LOCATION_PX)
    # The grader sees all views, which the crops have to be cut in.
    assert by_step["prepare"]["--views"] == by_step["severity"]["--views"] == "all"
    assert "--views" not in by_step["condition"]


def run_demo(monkeypatch: pytest.MonkeyPatch, codes: list[int]) -> tuple[list, list]:
    """Run the demo with given exit codes; return its commands and its timing rows."""
    ran, rows, left = [], [], iter(codes)

    def script(command: list[str], **_: object) -> SimpleNamespace:
        ran.append(command)
        return SimpleNamespace(returncode=next(left))

    monkeypatch.setattr(script_calls.subprocess, "run", script)
    monkeypatch.setattr(demo, "show_table", lambda _, table: rows.extend(table))
    monkeypatch.setattr(sys, "argv", ["demo", "--folder", "d", "--studies", "9"])
    # Step n takes n seconds.
    ticks(monkeypatch, *(t for n in range(1, 8) for t in (100 * n, 101 * n)))
    try:
        demo.main()
    finally:
        monkeypatch.undo()
    return ran, rows


def test_the_demo_times_each_step_and_their_total(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran, rows = run_demo(monkeypatch, [0] * 7)
    steps = demo.steps(Path("d"), 9)
    assert ran == [[sys.executable, *command] for command in steps.values()]
    seconds = {row["step"]: float(row["seconds"]) for row in rows}
    assert seconds == dict(zip([*steps, "total"], [*range(1, 8), 28], strict=True))


def test_the_demo_stops_where_a_script_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"train\.py exited with code 3"):
        run_demo(monkeypatch, [0, 3])


def test_help_shows_no_default_that_is_none() -> None:
    parser = make_parser("A script.")
    parser.add_argument("--needed", required=True, help="what must be given")
    parser.add_argument("--some", nargs="+", default=["a", "b"], help="several")
    parser.add_argument("--count", type=int, default=3, help="how many")
    shown = " ".join(parser.format_help().split())
    assert "what must be given --some" in shown
    assert "several (default: a b)" in shown
    assert "how many (default: 3)" in shown
    assert "None" not in shown

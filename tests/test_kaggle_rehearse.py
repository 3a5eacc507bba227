"""The rehearsal's own parts: the made test, its damage, its verdicts, its estimate."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.competition import submission, tables
from src.competition.prior import uniform
from src.errors import UserError
from src.kaggle import rehearse as rehearsal
from src.kaggle.names import COMPETITION
from src.kaggle.rehearse import damage, estimate, hidden_test, rehearse

SERIES = {7: (71, 72, 73), 77: (771,)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A competition whose test is study 7, of three series of two files, and 77."""
    return write_source(tmp_path / "source")


def write_source(root: Path) -> Path:
    lines = ["study_id,series_id,series_description"]
    for study, numbers in SERIES.items():
        for number in numbers:
            lines.append(f"{study},{number},Axial T2")
            folder = root / "test_images" / str(study) / str(number)
            folder.mkdir(parents=True)
            for instance in (1, 2):
                (folder / f"{instance}.dcm").write_bytes(bytes([number % 256]) * 999)
    (root / "test_series_descriptions.csv").write_text("\n".join(lines) + "\n")
    return root


def held(folder: Path) -> dict[str, int]:
    """The size of each file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_hidden_test_copies_the_first_study(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "made"
    (root / "test_images" / "9").mkdir(parents=True)  # an earlier rehearsal's
    assert hidden_test(source, root, 3) == [101, 102, 103]
    assert tables.list_test_studies(root) == [101, 102, 103]
    table = tables.read_test_series(root)
    for study, own in table.groupby("study_id"):
        assert own["series_id"].tolist() == list(SERIES[7])
        folder = root / "test_images" / str(study)
        original = source / "test_images" / "7"
        assert held(folder) == held(original)
        file = Path("72") / "2.dcm"
        assert (folder / file).read_bytes() == (original / file).read_bytes()
    assert len(table) == 9


def test_five_studies_are_damaged_differently_and_nothing_else(
    source: Path, tmp_path: Path
) -> None:
    studies = hidden_test(source, tmp_path / "made", 6)
    root, before = tmp_path / "made" / "test_images", held(source)
    damage(studies, root)
    assert held(source) == before
    whole, cut, gone, empty, absent, blank = (root / str(n) for n in studies)
    files = [f"{number}/{instance}.dcm" for number in SERIES[7] for instance in (1, 2)]
    assert held(whole) == dict.fromkeys(files, 999)
    assert held(cut) == dict.fromkeys(files, 999) | dict.fromkeys(files[:2], 700)
    assert held(gone) == dict.fromkeys(files[2:], 999)
    assert not (gone / "71").exists()
    assert held(empty) == dict.fromkeys([*files[:2], *files[4:]], 999)
    assert (empty / "72").is_dir()
    assert not absent.exists()
    assert held(blank) == dict.fromkeys(files, 0)


def row(studies: int, seconds: float, peak_mb: int) -> dict[str, Any]:
    """A rehearsal whose notebook takes twice as long as its script."""
    row = {"studies": studies, "seconds": 2 * seconds, "script s": seconds}
    return row | {"peak MB": peak_mb}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        # Ten seconds to start and four a study: 750 of them are 3,010 s.
        ([row(1, 14, 900), row(11, 54, 950)], "0.84 hours (4.00 s a study) and 950 MB"),
        # One that gets quicker is not extrapolated to nothing.
        ([row(1, 90, 900), row(5, 72, 900)], "0.02 hours (0.00 s a study) and 900 MB"),
        ([row(750, 7200, 900)], "2.00 hours"),
    ],
)
def test_the_estimate_counts_the_start_once_and_each_study_750_times(
    rows: list[dict[str, Any]], sentence: str
) -> None:
    for order in (rows, rows[::-1]):
        assert sentence in estimate(order)


@pytest.mark.parametrize(("peak_mb", "grows"), [(1100, False), (1300, True)])
def test_memory_may_not_grow_by_more_than_a_fifth(peak_mb: int, grows: bool) -> None:
    rows = [row(1, 10, 1000), row(25, 50, peak_mb)]
    if grows:
        with pytest.raises(UserError, match="from 1000 MB for 1 to 1300 MB for 25"):
            estimate(rows)
    else:
        assert "1100 MB" in estimate(rows)


def played(
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    problems: list[str],
    studies: list[int] | None = None,
) -> list[Any]:
    """Let a notebook end in some way with some problems; return how it was run."""
    calls = []

    def run(notebook: Path, work: Path, *given: Any, **settings: str) -> Any:
        calls.append((notebook, work, *given, settings))
        work.mkdir(parents=True)
        answers = submission.from_prior(studies or [7, 77], uniform())
        submission.write_submission(answers, work / "submission.csv")
        info = {"problems": problems, "studies": 2, "seconds": 12.5, "peak_mb": 321}
        info |= {"kit": "5f1c", "rerun": False, "rows": {"located": 50}}
        (work / "run_info.json").write_text(json.dumps(info))
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(rehearsal, "run_notebook", run)
    return calls


def test_a_rehearsal_mounts_the_test_and_the_dataset(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rerun in (True, False):
        calls = played(monkeypatch, 0, [])
        staged, work = tmp_path / "staged", tmp_path / f"work-{rerun}"
        row = rehearse(staged, source, work, "old", rerun)
        [(notebook, where, layout, mounts, settings)] = calls
        assert notebook == staged / "inference" / "inference.ipynb"
        assert (where, layout) == (work, "old")
        assert mounts == {
            source: f"competition:{COMPETITION}",
            staged / "dataset": "dataset:alice/rsna-lumbar-kit",
        }
        assert settings == {"RERUN": "1" if rerun else ""}
        assert row.pop("seconds") < 60
        assert row == {
            **{"layout": "old", "rerun": "yes" if rerun else "no", "studies": 2},
            **{"ended": "good", "script s": 12.5, "peak MB": 321},
        }


@pytest.mark.parametrize("rerun", [True, False])
@pytest.mark.parametrize("problems", [[], ["no weights"]])
@pytest.mark.parametrize("code", [0, 1])
def test_a_notebook_must_refuse_what_is_unfit_outside_the_rerun_alone(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rerun: bool,
    problems: list[str],
    code: int,
) -> None:
    played(monkeypatch, code, problems)
    given = (tmp_path / "staged", source, tmp_path / "work", "new", rerun)
    if bool(code) == (bool(problems) and not rerun):
        assert rehearse(*given)["ended"] == ("refused" if code else "good")
    else:
        with pytest.raises(UserError, match=f"exited with {code}"):
            rehearse(*given)


def test_a_rehearsal_that_misses_a_study_fails(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, 0, [], studies=[7])
    with pytest.raises(UserError, match="no valid submission"):
        rehearse(tmp_path / "staged", source, tmp_path / "work", "new", True)


@pytest.mark.parametrize("given", [True, False])
def test_every_layout_number_and_mode_is_rehearsed_with_one_kit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    folder = tmp_path / "rehearsal"
    write_source(folder / "data")
    commands, played_out = [], []

    def script(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command[1:])
        return SimpleNamespace(returncode=0)

    def play(*case: Any) -> dict[str, Any]:
        played_out.append((*case, len(tables.list_test_studies(case[1]))))
        return row(len(tables.list_test_studies(case[1])), 10, 100)

    monkeypatch.setattr(rehearsal.subprocess, "run", script)
    monkeypatch.setattr(rehearsal, "rehearse", play)
    runs = ["--runs", str(tmp_path / "mine")] if given else []
    flags = ["--folder", str(folder), "--studies", "1", "3", *runs]
    monkeypatch.setattr(sys, "argv", ["rehearse", *flags])
    rehearsal.main()
    given_flags = [
        dict(zip(words[1::2], words[2::2], strict=False)) for words in commands
    ]
    names = [words[0] for words in commands]
    assert names == ["input_prep.py", *([] if given else ["train.py"] * 3), "-m"]
    bundled = dict(zip(commands[-1][2::2], commands[-1][3::2], strict=True))
    staged = folder / "staged"
    assert bundled == {
        **{"--runs": str(tmp_path / "mine" if given else folder / "runs")},
        **{"--owner": "alice", "--out": str(staged)},
    }
    assert given_flags[0]["--data"] == str(folder / "data")
    for training in given_flags[1:-1]:
        assert training["--runs"] == bundled["--runs"]
        assert training["--cache"] == given_flags[0]["--cache"]
    tasks = [training["--task"] for training in given_flags[1:-1]]
    assert sorted(tasks) == ([] if given else ["condition", "location", "severity"])
    cases = {
        (layout, rerun, count) for _, _, _, layout, rerun, count in played_out[:-2]
    }
    assert cases == {
        (layout, rerun, count)
        for layout in ("new", "old")
        for rerun in (True, False)
        for count in (1, 3)
    }
    # The damaged test lacks one of six studies' images, and none in its table.
    damaged = folder / "test-damaged"
    assert [(case[1], case[4]) for case in played_out[-2:]] == [
        *((damaged, True), (damaged, False))
    ]
    assert sum(path.is_dir() for path in (damaged / "test_images").iterdir()) == 5
    assert {case[0] for case in played_out} == {staged}
    assert len({case[2] for case in played_out}) == len(played_out)

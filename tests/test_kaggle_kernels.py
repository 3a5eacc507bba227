"""What publishing tells the `kaggle` command, what it waits for, and where it stops.

The command itself is a pretended one here; test_kaggle_publish.py runs the real one.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kaggle_command import Clock, Process
from kaggle_kit import write_run

from src.competition.prior import uniform
from src.competition.submission import from_prior
from src.errors import UserError
from src.kaggle import bundle, cli, datasets, kernels, polling, publish
from src.kaggle.manifest import read_manifest
from src.kaggle.names import COMPETITION
from src.kaggle.polling import Polling

REF, KIT = "alice/rsna-lumbar-inference", "alice/rsna-lumbar-kit"
UPLOADED = "Upload successful: kit.zip (1MB)\nYour private Dataset is being created."
Says = str | tuple[int, str] | Callable[[list[str]], str]


@dataclass
class Kaggle:
    """A pretended `kaggle`: what each of its commands says, the last one for ever."""

    says: dict[str, list[Says]]
    calls: list[list[str]] = field(default_factory=list)

    def start(self, command: list[str], **_: object) -> Process:
        """Run a command."""
        assert command[:4] == [sys.executable, "-u", "-m", "kaggle"]
        words = command[4:]
        self.calls.append(words)
        left = self.says[" ".join(words[:2])]
        say = left.pop(0) if len(left) > 1 else left[0]
        say = say(words) if callable(say) else say
        return Process(*((0, say) if isinstance(say, str) else say))

    def sent(self, name: str) -> list[list[str]]:
        """List what followed the two words of a command."""
        return [words[2:] for words in self.calls if " ".join(words[:2]) == name]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (polling, publish):
        monkeypatch.setattr(module, "time", clock)
    return clock


def flag(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def dataset(status: str, version: int) -> str:
    return json.dumps({"status": status, "current_version_number": version})


def ran(status: str) -> str:
    return f'{REF} has status "KernelWorkerStatus.{status}"'


def pull(folder: Path, **changes: Any) -> Callable[[list[str]], str]:
    """Give back the staged notebook's metadata, some of it changed."""
    staged = json.loads((folder / "kernel-metadata.json").read_text())

    def say(words: list[str]) -> str:
        target = Path(flag(words, "-p")) / "kernel-metadata.json"
        target.write_text(json.dumps({**staged, **changes}))
        return "Source code downloaded to there"

    return say


def leave(kit: str) -> Callable[[list[str]], str]:
    """Leave a good submission, noted to be of a kit."""

    def say(words: list[str]) -> str:
        folder = Path(flag(words, "-p"))
        folder.mkdir(parents=True)
        from_prior([1], uniform()).to_csv(folder / "submission.csv", index=False)
        (folder / "run_info.json").write_text(json.dumps({"kit": kit}))
        return "Output file downloaded to there"

    return say


def pretend(monkeypatch: pytest.MonkeyPatch, says: dict[str, list[Says]]) -> Kaggle:
    monkeypatch.setattr(cli.subprocess, "Popen", (kaggle := Kaggle(says)).start)
    return kaggle


def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> Path:
    """Stage a kit of one run and both notebooks, of alice."""
    write_run(tmp_path / "runs")
    out = tmp_path / "staged"
    words = ["--runs", str(tmp_path / "runs"), "--owner", "alice", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bundle", *words, *flags])
    bundle.main()
    return out


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return stage(tmp_path, monkeypatch)


def all_goes_well(staged: Path, kernel: str = "inference") -> dict[str, list[Says]]:
    """The dataset goes from version 3 to 4; the notebook is at its seventh."""
    kit = read_manifest(staged / "dataset" / "kit")["kit"]
    ref = REF.replace("inference", kernel)
    return {
        "datasets status": [
            *(dataset("ready", 3), dataset("ready", 3), dataset("pending", 4)),
            dataset("ready", 4),
        ],
        "datasets version": [UPLOADED],
        "kernels push": [
            f"Kernel version 7 successfully pushed.  See https://kaggle.com/code/{ref}"
        ],
        "kernels pull": [pull(staged / kernel)],
        "kernels status": [ran("QUEUED"), ran("RUNNING"), ran("COMPLETE")],
        "kernels output": [leave(kit)],
        "competitions submissions": ['[{"ref": 1}]', '[{"ref": 2}, {"ref": 1}]'],
        "competitions submit": ["Successfully submitted to it"],
    }


def run_publish(monkeypatch: pytest.MonkeyPatch, staged: Path, *flags: str) -> None:
    words = ["publish", "--staged", str(staged), "--message", "six of them", *flags]
    monkeypatch.setattr(sys, "argv", words)
    publish.main()


def test_the_notebooks_own_version_is_pushed_followed_and_submitted(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    kaggle = pretend(monkeypatch, all_goes_well(staged))
    run_publish(monkeypatch, staged, "--poll-seconds", "5")
    steps = [" ".join(words[:2]) for words in kaggle.calls]
    assert list(dict.fromkeys(steps)) == [
        *("datasets status", "datasets version", "kernels pull", "kernels push"),
        *("kernels status", "kernels output", "competitions submissions"),
        "competitions submit",
    ]
    assert steps[-1] == "competitions submissions"
    [uploaded] = kaggle.sent("datasets version")
    assert Path(flag(uploaded, "-p")) == staged / "dataset"
    assert (flag(uploaded, "-r"), flag(uploaded, "-m")) == ("zip", "six of them")
    [pushed] = kaggle.sent("kernels push")
    assert Path(flag(pushed, "-p")) == staged / "inference"
    assert flag(pushed, "--accelerator") == "NvidiaTeslaT4"
    assert {words[0] for words in kaggle.sent("kernels status")} == {REF}
    [submitted] = kaggle.sent("competitions submit")
    assert submitted[0] == COMPETITION
    flags = {name: flag(submitted, name) for name in ("-k", "-v", "-f", "-m")}
    assert flags == {
        **{"-k": REF, "-v": "7", "-f": "submission.csv", "-m": "six of them"}
    }
    # Twice the dataset is not ready, twice the run is not complete.
    assert clock.slept == [5, 5, 5, 5]


def test_a_dataset_of_another_kit_is_not_submitted(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    says = all_goes_well(staged) | {"kernels output": [leave("older")]}
    kaggle = pretend(monkeypatch, says)
    with pytest.raises(UserError, match="made by kit older"):
        run_publish(monkeypatch, staged)
    assert kaggle.sent("competitions submit") == []


def test_a_kit_that_was_trained_on_kaggle_is_submitted_whatever_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    staged = stage(tmp_path, monkeypatch, "--weights-from", "train")
    says = all_goes_well(staged) | {"kernels output": [leave("theirs")]}
    kaggle = pretend(monkeypatch, says)
    run_publish(monkeypatch, staged)
    assert len(kaggle.sent("competitions submit")) == 1


def test_the_training_notebook_ends_with_its_output(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def output(words: list[str]) -> str:
        Path(flag(words, "-p")).mkdir(parents=True)
        return "Output file downloaded to there"

    says = all_goes_well(staged, "train") | {"kernels output": [output]}
    kaggle = pretend(monkeypatch, says)
    run_publish(monkeypatch, staged, "--kernel", "train")
    [pushed] = kaggle.sent("kernels push")
    assert Path(flag(pushed, "-p")) == staged / "train"
    [fetched] = kaggle.sent("kernels output")
    assert fetched[0] == "alice/rsna-lumbar-train"
    assert Path(flag(fetched, "-p")) == staged / "output" / "train"
    assert not [words for words in kaggle.calls if words[0] == "competitions"]


@pytest.mark.parametrize(
    ("no", "absent"), [("--no-upload", "datasets"), ("--no-submit", "competitions")]
)
def test_an_unwanted_step_is_skipped(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, no: str, absent: str
) -> None:
    kaggle = pretend(monkeypatch, all_goes_well(staged))
    run_publish(monkeypatch, staged, no)
    groups = {words[0] for words in kaggle.calls}
    assert groups == {"datasets", "kernels", "competitions"} - {absent}


def test_publishing_waits_for_its_timeout(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    says = all_goes_well(staged) | {"kernels status": [ran("RUNNING")]}
    pretend(monkeypatch, says)
    flags = ("--no-upload", "--poll-seconds", "10", "--timeout-minutes", "3")
    with pytest.raises(UserError, match="not complete after 3 minutes"):
        run_publish(monkeypatch, staged, *flags)
    assert clock.slept == [10] * 18


def test_publishing_waits_for_half_a_day_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["publish"])
    args = publish.parse()
    usual = Polling()
    assert (args.poll_seconds, 60 * args.timeout_minutes) == (20, 12 * 3600)
    assert (usual.every_s, usual.limit_s) == (20, 12 * 3600)


@pytest.mark.parametrize("lose", [True, False])
def test_what_fails_the_checks_is_not_published(
    staged: Path, monkeypatch: pytest.MonkeyPatch, lose: bool
) -> None:
    kaggle = pretend(monkeypatch, {})
    if lose:
        (staged / "dataset" / "kit" / "train.py").unlink()
    else:
        path = staged / "inference" / "kernel-metadata.json"
        metadata = json.loads(path.read_text()) | {"enable_internet": True}
        path.write_text(json.dumps(metadata))
    sentence = "missing from the kit" if lose else "enable_internet must be false"
    with pytest.raises(UserError, match=sentence):
        run_publish(monkeypatch, staged)
    assert kaggle.calls == []


def test_polling_continues_until_there_is_a_result(clock: Clock) -> None:
    found = iter([None, 0, "", 17, 18])
    assert Polling(20, 3600).wait(lambda: next(found), "It is not there") == 17
    assert clock.slept == [20, 20, 20]


def test_polling_ends_at_its_limit(clock: Clock) -> None:
    looks = []
    with pytest.raises(UserError, match="It is not there after 60 minutes"):
        Polling(20, 3600).wait(lambda: looks.append(1), "It is not there")
    assert clock.slept == [20] * 180
    assert len(looks) == 181


@pytest.mark.parametrize("status", ["ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED"])
def test_a_run_that_ended_badly_is_not_waited_on(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, status: str
) -> None:
    kaggle = pretend(monkeypatch, {"kernels status": [ran("RUNNING"), ran(status)]})
    with pytest.raises(UserError, match=f"ended as {status}"):
        kernels.follow(REF, Polling(20, 12 * 3600))
    assert len(kaggle.calls) == 2
    assert clock.slept == [20]


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING", "NEW_SCRIPT"])
def test_a_run_that_is_not_complete_is_waited_on(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, status: str
) -> None:
    pretend(monkeypatch, {"kernels status": [ran(status), ran("COMPLETE")]})
    kernels.follow(REF, Polling(20, 3600))
    assert clock.slept == [20]


def test_an_earlier_outputs_files_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "submission.csv").write_text("of an earlier run")
    pretend(monkeypatch, {"kernels output": ["Output file downloaded to there"]})
    kernels.fetch_output(REF, folder)
    assert not folder.exists()


@pytest.mark.parametrize("words", ["row_id,normal_mild\n1_x,1\n", "<html>404</html>"])
def test_an_invalid_submission_is_refused_despite_its_run_info(
    tmp_path: Path, words: str
) -> None:
    (tmp_path / "submission.csv").write_text(words)
    (tmp_path / "run_info.json").write_text('{"kit": "ours"}')
    with pytest.raises(UserError):
        kernels.check_output(tmp_path, "ours")


SOURCES = {
    "dataset_sources": [KIT],
    "kernel_sources": ["alice/rsna-lumbar-train/3"],
    "competition_sources": [COMPETITION],
    "model_sources": ["a/b/pyTorch/c/1"],
}


@pytest.mark.parametrize("lost", [None, *SOURCES])
def test_every_kind_of_source_is_checked(
    staged: Path, monkeypatch: pytest.MonkeyPatch, lost: str | None
) -> None:
    # Kaggle writes some of them its own way.
    theirs = {
        **SOURCES,
        "kernel_sources": ["code/Alice/rsna-lumbar-train"],
        "dataset_sources": [f"datasets/{KIT}"],
        **({lost: []} if lost else {}),
    }
    pretend(monkeypatch, {"kernels pull": [pull(staged / "inference", **theirs)]})
    if lost:
        with pytest.raises(UserError, match=f"dropped {SOURCES[lost][0]}"):
            kernels.check_sources(REF, SOURCES)
    else:
        kernels.check_sources(REF, SOURCES)


@pytest.mark.parametrize("listed", ["[]", '[{"ref": 1}]', '[{"ref": 2}, {"ref": 1}]'])
def test_only_a_submission_that_was_not_listed_before_is_the_new_one(
    monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    says = {
        "competitions submissions": ['[{"ref": 1}]', listed],
        "competitions submit": ["Successfully submitted"],
    }
    pretend(monkeypatch, says)
    if "2" in listed:
        kernels.submit(REF, 7, "six of them", Polling(0, 0))
    else:
        with pytest.raises(UserError, match="does not list it"):
            kernels.submit(REF, 7, "six of them", Polling(0, 0))


def test_a_dataset_that_is_not_there_is_created(
    staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    says = {
        "datasets status": [(1, "404 Client Error: Not Found"), dataset("ready", 1)],
        "datasets create": [UPLOADED],
    }
    kaggle = pretend(monkeypatch, says)
    assert datasets.upload(staged / "dataset", "first", Polling(20, 60)) == 1
    [created] = kaggle.sent("datasets create")
    assert Path(flag(created, "-p")) == staged / "dataset"
    assert flag(created, "-r") == "zip"


def test_an_upload_must_name_every_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "dataset-metadata.json").touch()
    both = "Upload successful: kit.zip (1MB)\nUpload successful: notes.txt (1B)"
    datasets.check_uploaded(tmp_path, both)
    for name, words in zip(("notes.txt", "kit.zip"), both.splitlines(), strict=True):
        with pytest.raises(UserError, match=f"lacks {name}"):
            datasets.check_uploaded(tmp_path, words)


def test_a_commands_code_and_output_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, {"datasets status": [(3, "one\ntwo\n")]})
    answer = cli.run_cli(["datasets", "status", KIT])
    assert (answer.code, answer.output) == (3, "one\ntwo\n")
    assert capsys.readouterr().out == f"$ kaggle datasets status {KIT}\n"
    with pytest.raises(UserError, match="exited with 3: two"):
        cli.run_checked(["datasets", "status", KIT], live=True)
    assert "one\ntwo\n" in capsys.readouterr().out


def test_a_command_without_its_message_of_success_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, {"kernels push": ["Nothing to do"]})
    with pytest.raises(UserError, match=r"did not report success, but: Nothing to do"):
        cli.run_checked(["kernels", "push"], success="successfully pushed")

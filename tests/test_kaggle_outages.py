"""Publishing through outages: asked again, sent once, followed by --follow."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kaggle_command import BROKEN, UNAVAILABLE, Clock, Command, Outage
from kaggle_kit import write_run
from kaggle_rules import Rules

from src.competition.prior import uniform
from src.competition.submission import from_prior
from src.errors import UserError
from src.kaggle import bundle, cli, polling, publish
from src.kaggle.cli import UnavailableError
from src.kaggle.manifest import read_manifest, write_manifest
from src.kaggle.polling import Polling

REF = "alice/rsna-lumbar-inference"
READS = (
    *("datasets status", "kernels pull", "kernels status", "kernels output"),
    "competitions submissions",
)
SENDS = ("datasets create", "kernels push", "competitions submit")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (polling, publish):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path / "runs")
    out = tmp_path / "staged"
    words = ["--runs", str(tmp_path / "runs"), "--owner", "alice", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bundle", *words])
    bundle.main()
    return out


@pytest.fixture
def kaggle(staged: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A Kaggle that knows alice, whose runs end well at once."""
    command = Command(Rules("alice", outputs=good_outputs(staged)))
    monkeypatch.setattr(cli.subprocess, "Popen", command.start)
    return command


def good_outputs(staged: Path) -> dict[str, bytes]:
    kit = read_manifest(staged / "dataset" / "kit")["kit"]
    return {
        "submission.csv": from_prior([1], uniform()).to_csv(index=False).encode(),
        "run_info.json": json.dumps({"kit": kit}).encode(),
    }


def run_publish(staged: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["publish", "--staged", str(staged), *flags])
    publish.main()


def versions(kaggle: Command) -> int:
    return len(kaggle.rules.kernels[REF]["versions"])


@pytest.mark.parametrize("words", [UNAVAILABLE, BROKEN, "Too many requests"])
def test_publishing_goes_on_through_an_outage_at_every_step(
    kaggle: Command,
    staged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
) -> None:
    kaggle.outages += [Outage(name, words, times=3) for name in (*READS, *SENDS)]
    run_publish(staged, monkeypatch)
    assert [outage.times for outage in kaggle.outages] == [0] * 8
    assert kaggle.rules.datasets == {"alice/rsna-lumbar-kit": [["kit.zip"]]}
    assert versions(kaggle) == 1
    assert [each["fileName"] for each in kaggle.rules.submissions] == ["submission.csv"]
    # Once an outage, not once an attempt.
    assert capsys.readouterr().out.count("trying again, up to 720 minutes") == 8


@pytest.mark.parametrize("name", SENDS)
def test_what_arrived_though_its_answer_was_lost_is_not_sent_again(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Looking for it fails as well, at first.
    looks = dict(zip(SENDS, (READS[0], READS[1], READS[4]), strict=True))
    kaggle.outages.append(Outage(name, BROKEN, late=True))
    start = kaggle.start

    def down_too(command: list[str], **more: object) -> object:
        process = start(command, **more)
        if " ".join(command[4:6]) == name:
            kaggle.outages.append(Outage(looks[name], BROKEN, times=2))
        return process

    monkeypatch.setattr(cli.subprocess, "Popen", down_too)
    run_publish(staged, monkeypatch)
    assert kaggle.count(name) == 1
    assert kaggle.rules.datasets == {"alice/rsna-lumbar-kit": [["kit.zip"]]}
    assert versions(kaggle) == 1
    [submitted] = [words for words in kaggle.calls if words[1] == "submit"]
    assert submitted[submitted.index("-v") + 1] == "1"


def test_a_version_whose_number_was_lost_is_not_guessed(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"versions": [{"text": "{}"}] * 4, "id": 1, "lost": set()}
    kaggle.rules.kernels[REF] = theirs
    kaggle.outages.append(Outage("kernels push", late=True))
    with pytest.raises(UserError, match="before Kaggle named its version"):
        run_publish(staged, monkeypatch)
    assert (versions(kaggle), kaggle.rules.submissions) == (5, [])
    # The next push is the sixth, and Kaggle says so; then the one after is known.
    run_publish(staged, monkeypatch)
    kaggle.outages.append(Outage("kernels push", late=True))
    run_publish(staged, monkeypatch)
    submitted = [words for words in kaggle.calls if words[1] == "submit"]
    assert [words[words.index("-v") + 1] for words in submitted] == ["6", "7"]
    assert versions(kaggle) == 7
    # A push from elsewhere makes it uncertain again.
    theirs["versions"].append({"text": "{}"})
    kaggle.outages.append(Outage("kernels push", late=True))
    with pytest.raises(UserError, match="before Kaggle named its version"):
        run_publish(staged, monkeypatch)
    assert versions(kaggle) == 9


def test_a_push_that_did_not_arrive_is_sent_again_over_an_older_notebook(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"versions": [{"text": "{}"}] * 4, "id": 1, "lost": set()}
    kaggle.rules.kernels[REF] = theirs
    kaggle.outages.append(Outage("kernels push", BROKEN))
    run_publish(staged, monkeypatch)
    [submitted] = [words for words in kaggle.calls if words[1] == "submit"]
    assert submitted[submitted.index("-v") + 1] == "5"
    assert versions(kaggle) == 5


def interrupt(
    staged: Path, monkeypatch: pytest.MonkeyPatch, step: str = "follow"
) -> None:
    """Publish, and be interrupted at a step."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish, step, stop)
        with pytest.raises(KeyboardInterrupt):
            run_publish(staged, patch)


@pytest.mark.parametrize("step", ["follow", "fetch_output", "submit"])
def test_follow_goes_on_without_uploading_pushing_or_submitting_again(
    kaggle: Command,
    staged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
) -> None:
    interrupt(staged, monkeypatch, step)
    assert "run it again with --follow" in capsys.readouterr().out
    for _ in range(2):
        run_publish(staged, monkeypatch, "--follow")
    assert [kaggle.count(name) for name in SENDS] == [1, 1, 1]
    assert "It was submitted before" in capsys.readouterr().out


def test_a_push_that_was_killed_before_its_answer_is_followed(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = kaggle.start

    def killed(command: list[str], **more: object) -> object:
        process = start(command, **more)
        if command[5] == "push":
            raise KeyboardInterrupt
        return process

    with monkeypatch.context() as patch:
        patch.setattr(cli.subprocess, "Popen", killed)
        with pytest.raises(KeyboardInterrupt):
            run_publish(staged, patch)
    run_publish(staged, monkeypatch, "--follow")
    assert versions(kaggle) == len(kaggle.rules.submissions) == 1


def replaced_on_kaggle(kaggle: Command, staged: Path) -> None:
    kaggle.rules.kernels[REF]["versions"].append({"text": "{}"})


def another_kit(kaggle: Command, staged: Path) -> None:
    (staged / "dataset" / "kit" / "train.py").write_text("changed")
    write_manifest(staged / "dataset" / "kit", "test", [])
    kaggle.rules.outputs = good_outputs(staged)


def another_notebook(kaggle: Command, staged: Path) -> None:
    path = staged / "inference" / "inference.ipynb"
    path.write_text(path.read_text().replace("pictures=3", "pictures=4"))


def record(text: str) -> Callable[[Command, Path], None]:
    return lambda _, staged: (
        (staged / "pushed" / "inference.json").write_text(text) and None
    )


@pytest.mark.parametrize(
    "changed",
    [
        *(replaced_on_kaggle, another_kit, another_notebook, record('{"ref": "al')),
        *(record("null"), record('["a push"]'), record('{"ref": 1, "x": 2}')),
    ],
)
def test_follow_pushes_what_is_not_the_newest_on_kaggle(
    kaggle: Command,
    staged: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: Callable[[Command, Path], None],
) -> None:
    interrupt(staged, monkeypatch)
    changed(kaggle, staged)
    run_publish(staged, monkeypatch, "--follow")
    assert kaggle.count("kernels push") == 2
    [submitted] = [words for words in kaggle.calls if words[1] == "submit"]
    assert submitted[submitted.index("-v") + 1] == str(versions(kaggle))


def test_a_rerun_without_follow_pushes_anew(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(staged, monkeypatch)
    run_publish(staged, monkeypatch)
    assert versions(kaggle) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("401 Client Error: Unauthorized", "make a token"),
        ("Bad request", "exited with 1: Bad request"),
        ("quota is used up", "out of quota"),
    ],
)
def test_a_permanent_error_ends_publishing_at_once(
    kaggle: Command,
    staged: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    words: str,
    sentence: str,
) -> None:
    kaggle.outages.append(Outage("datasets status", words, times=9))
    with pytest.raises(UserError, match=sentence):
        run_publish(staged, monkeypatch)
    assert (len(kaggle.calls), clock.slept) == (1, [])


def test_an_output_that_kaggle_serves_late_is_fetched_again(
    kaggle: Command, staged: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    good, start = kaggle.rules.outputs, kaggle.start
    kaggle.rules.outputs = {"submission.csv": b'{"code": 503, "message": "busy"}'}

    def late(command: list[str], **more: object) -> object:
        if kaggle.count("kernels output") == 3:
            kaggle.rules.outputs = good
        return start(command, **more)

    monkeypatch.setattr(cli.subprocess, "Popen", late)
    run_publish(staged, monkeypatch)
    assert kaggle.count("kernels output") == 4
    assert clock.slept == [20, 20, 20]
    assert len(kaggle.rules.submissions) == 1


def outage() -> None:
    raise UnavailableError("Kaggle sleeps", "wait")


def test_attempts_come_ever_more_slowly_and_end_at_the_limit(clock: Clock) -> None:
    with pytest.raises(UnavailableError, match="Kaggle sleeps; wait and run this"):
        Polling(20, 1500).ask(outage)
    assert clock.slept == [20, 40, 80, 160, 300, 300, 300, 300]


def test_a_status_after_an_outage_is_asked_for_at_the_usual_pace(clock: Clock) -> None:
    answers = iter([False, None, None, False, None, True])

    def status() -> bool:
        answer = next(answers)
        return outage() if answer is None else answer

    assert Polling(20, 3600).wait(status, "It is not there")
    assert clock.slept == [20, 20, 40, 20, 20]

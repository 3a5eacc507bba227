"""Publishing with the real `kaggle` CLI against a loopback server.

Each thing that the CLI passes over in silence must end in one sentence.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_kit import write_run
from kaggle_stub import Fault, KaggleStub

from src.competition.prior import uniform
from src.competition.submission import from_prior
from src.errors import UserError
from src.kaggle import bundle, cli, datasets, kernels, publish
from src.kaggle.cli import RUN_INFO_FILE, CliResult, UnavailableError, error_in
from src.kaggle.lint import check_kernel
from src.kaggle.manifest import read_manifest
from src.kaggle.polling import Polling
from src.kaggle.push_record import Push

ROOT = Path(__file__).parents[1]
SOON = Polling(every_s=0.01, limit_s=0.0)
LATER = Polling(every_s=0.01, limit_s=60.0)
KERNEL = "stubuser/rsna-lumbar-inference"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleStub]:
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    with KaggleStub() as stub:
        for name, value in stub.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        yield stub
        assert [e for e in stub.log if e["rpc"].startswith("BLOCKED")] == []


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path / "runs")
    out = tmp_path / "staged"
    call(
        monkeypatch,
        bundle,
        *("--runs", tmp_path / "runs", "--owner", "stubuser", "--out", out),
    )
    return out


def call(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    module.main()


def good_outputs(staged: Path) -> dict[str, bytes]:
    kit = read_manifest(staged / "dataset" / "kit")["kit"]
    submission = from_prior([44036939], uniform()).to_csv(index=False)
    return {
        "submission.csv": submission.encode(),
        RUN_INFO_FILE: json.dumps({"kit": kit}).encode(),
    }


def test_publishing_runs_all_commands_and_a_dry_run_shows_them(
    stub: KaggleStub,
    staged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub.rules.outputs = good_outputs(staged)
    flags = ("--staged", staged, "--message", "first", "--poll-seconds", 0.01)
    call(monkeypatch, publish, *flags, "--dry-run")
    planned = shown(capsys)
    assert stub.log == []
    call(monkeypatch, publish, *flags)
    assert set(shown(capsys)) == {
        line for line in planned if not line.startswith("datasets version")
    }
    assert stub.rules.datasets == {"stubuser/rsna-lumbar-kit": [["kit.zip"]]}
    [pushed] = (entry["json"] for entry in stub.calls("SaveKernel"))
    assert pushed["isPrivate"] is True
    assert pushed["enableInternet"] is False
    assert pushed["machineShape"] == "NvidiaTeslaT4"
    assert pushed["datasetDataSources"] == ["stubuser/rsna-lumbar-kit"]
    [submitted] = (entry["json"] for entry in stub.calls("CreateCodeSubmission"))
    assert submitted["kernelVersion"] == 1
    assert submitted["fileName"] == "submission.csv"


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The commands on the terminal, each once, what differs by design made the same."""
    lines = capsys.readouterr().out.splitlines()
    commands = [line.removeprefix("$ kaggle ") for line in lines if line[:1] == "$"]
    for index, command in enumerate(commands):
        words = command.split()
        if words[1] == "pull":
            words[4] = "SCRATCH"
        if words[1] == "submit":
            words[words.index("-v") + 1] = "VERSION"
        commands[index] = " ".join(words)
    return list(dict.fromkeys(commands))


def test_a_second_upload_is_a_new_version(stub: KaggleStub, staged: Path) -> None:
    stub.rules.datasets["stubuser/rsna-lumbar-kit"] = [["old.zip"]]
    assert datasets.upload(staged / "dataset", "again", LATER) == 2
    assert stub.calls("CreateDataset") == []


def test_a_file_that_was_lost_is_noticed(stub: KaggleStub, staged: Path) -> None:
    stub.faults.append(Fault("PUT", 400))
    with pytest.raises(UserError, match=r"did not accept kit\.zip"):
        datasets.upload(staged / "dataset", "first", SOON)


def test_a_slug_that_is_taken_is_noticed(stub: KaggleStub, staged: Path) -> None:
    stub.rules.datasets["stubuser/rsna-lumbar-kit"] = [["old.zip"]]
    stub.faults.append(Fault("GetDatasetStatus", 404, times=1))
    with pytest.raises(UserError, match="already in use"):
        datasets.upload(staged / "dataset", "first", SOON)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [("BLOBS_RECEIVED", "not ready after 0 minutes"), ("FAILED", "it is failed")],
)
def test_a_dataset_that_does_not_get_ready_is_noticed(
    stub: KaggleStub, staged: Path, status: str, sentence: str
) -> None:
    stub.rules.datasets["stubuser/rsna-lumbar-kit"] = [["old.zip"]]
    later = Fault("GetDatasetStatus", body={"status": status})
    stub.faults += [Fault("GetDatasetStatus", body={"status": "READY"}, times=1), later]
    with pytest.raises(UserError, match=sentence):
        datasets.upload(staged / "dataset", "again", SOON)


def test_a_dataset_still_at_its_old_version_is_not_ready(stub: KaggleStub) -> None:
    stub.rules.datasets["stubuser/rsna-lumbar-kit"] = [["old.zip"]]
    assert datasets.ready_version("stubuser/rsna-lumbar-kit", above=1) is None
    assert datasets.ready_version("stubuser/rsna-lumbar-kit", above=0) == 1


def test_a_server_error_is_not_taken_for_an_absent_dataset(stub: KaggleStub) -> None:
    stub.faults.append(Fault("GetDatasetStatus", 500))
    with pytest.raises(UserError, match="busy"):
        datasets.current_version("stubuser/rsna-lumbar-kit")


def push(staged: Path, **changes: object) -> Push:
    folder = staged / "inference"
    metadata = {**check_kernel(folder, offline=True), **changes}
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return kernels.push(folder, metadata, "x", staged / "pushed.json", LATER)


def test_a_refused_push_is_noticed(stub: KaggleStub, staged: Path) -> None:
    stub.faults.append(Fault("SaveKernel", body={"error": "Maximum GPU sessions"}))
    with pytest.raises(UserError, match="Maximum GPU sessions"):
        push(staged)


def test_a_dropped_dataset_is_noticed(stub: KaggleStub, staged: Path) -> None:
    stub.rules.known_datasets = set()
    with pytest.raises(UserError, match=r"dropped dataset sources .*rsna-lumbar-kit"):
        push(staged)


def test_a_silently_dropped_model_is_noticed(stub: KaggleStub, staged: Path) -> None:
    stub.rules.known_models = set()
    with pytest.raises(UserError, match=r"dropped a/b/pyTorch/c/1 .*model_sources"):
        push(staged, model_sources=["a/b/pyTorch/c/1"])


def test_a_notebook_at_another_address_is_noticed(
    stub: KaggleStub, staged: Path
) -> None:
    with pytest.raises(UserError, match="at stubuser/another-name, not at"):
        push(staged, title="Another name")


def test_the_plain_command_pushes_too(stub: KaggleStub, staged: Path) -> None:
    command = [sys.executable, "-m", "kaggle", "kernels", "push", "-p"]
    done = subprocess.run(
        [*command, staged / "inference"], capture_output=True, text=True
    )
    assert "Kernel version 1 successfully pushed" in done.stdout
    [pushed] = (entry["json"] for entry in stub.calls("SaveKernel"))
    assert pushed["machineShape"] == "NvidiaTeslaT4"
    assert pushed["enableInternet"] is False


def test_a_run_that_failed_is_noticed(stub: KaggleStub) -> None:
    stub.rules.kernels[KERNEL] = {"id": 1, "versions": [{}]}
    stub.rules.run_ends_as = "ERROR"
    with pytest.raises(UserError, match=r"ERROR \(Your notebook raised"):
        kernels.follow(KERNEL, SOON)
    stub.rules.run_ends_as = "RUNNING"
    with pytest.raises(UserError, match="still not complete"):
        kernels.follow(KERNEL, SOON)


def test_an_output_that_cannot_be_fetched_is_noticed(
    stub: KaggleStub, staged: Path, tmp_path: Path
) -> None:
    stub.rules.outputs = good_outputs(staged)
    stub.faults.append(Fault("GET", 404))
    kernels.fetch_output(KERNEL, tmp_path / "output")
    with pytest.raises(UserError):
        kernels.check_output(tmp_path / "output", None)


@pytest.mark.parametrize(
    ("note", "sentence"),
    [('{"kit": "older"}', "made by kit older, not by newer"), (None, "no readable")],
)
def test_an_output_of_another_kit_is_noticed(
    tmp_path: Path, note: str | None, sentence: str
) -> None:
    from_prior([1], uniform()).to_csv(tmp_path / "submission.csv", index=False)
    if note:
        (tmp_path / RUN_INFO_FILE).write_text(note)
    with pytest.raises(UserError, match=sentence):
        kernels.check_output(tmp_path, "newer")


def test_a_refused_submission_is_noticed(stub: KaggleStub) -> None:
    stub.rules.kernels[KERNEL] = {"id": 1, "versions": [{"enableInternet": True}]}
    with pytest.raises(UserError, match="competitions submit"):
        kernels.submit(KERNEL, 1, "first", SOON)


def test_a_submission_that_is_not_listed_is_noticed(stub: KaggleStub) -> None:
    body = {"message": "Successfully submitted to it", "ref": 1}
    stub.faults.append(Fault("CreateCodeSubmission", body=body))
    with pytest.raises(UserError, match="does not list it"):
        kernels.submit(KERNEL, 1, "first", SOON)


def test_a_silent_failure_ends_the_command_with_1_and_one_sentence(
    stub: KaggleStub, staged: Path
) -> None:
    stub.faults.append(Fault("SaveKernel", body={"error": "Notebook not found"}))
    command = [sys.executable, "-m", "src.kaggle.publish", "--staged", staged]
    done = subprocess.run(
        [*command, "--no-upload"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.endswith("Kaggle refused the notebook: Notebook not found.")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_outage_is_known_by_what_the_command_prints(
    stub: KaggleStub, status: int
) -> None:
    stub.faults.append(Fault("GetKernelSessionStatus", status))
    with pytest.raises(UnavailableError, match="busy"):
        cli.run_checked(["kernels", "status", KERNEL])


def test_a_broken_connection_is_an_outage(stub: KaggleStub) -> None:
    stub.faults.append(Fault("GetKernelSessionStatus", lost=True))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        cli.run_checked(["kernels", "status", KERNEL])


def test_a_push_that_arrived_is_not_sent_again(stub: KaggleStub, staged: Path) -> None:
    stub.faults.append(Fault("SaveKernel", times=1, lost=True))
    assert push(staged).version == 1
    assert len(stub.rules.kernels[KERNEL]["versions"]) == 1


def test_a_command_that_prints_nothing_is_stopped(
    stub: KaggleStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "SILENCE_S", 0.05)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        cli.run_checked(["kernels", "status", KERNEL])


def test_a_kit_changed_after_staging_is_not_published(
    staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (staged / "dataset" / "kit" / "train.py").write_text("changed")
    with pytest.raises(UserError, match=r"changed from the kit: train\.py"):
        call(monkeypatch, publish, "--staged", staged, "--dry-run")


@pytest.mark.parametrize(
    ("code", "words", "sentence"),
    [
        (0, "Kernel push error: Title is taken\n", "refused the notebook: Title is ta"),
        (0, "Upload unsuccessful: kit.zip\n", r"did not accept kit\.zip"),
        (0, "Dataset version creation error: x\n", "refused the dataset: x"),
        (0, "Could not submit to competition\n", "Could not submit"),
        (1, "ModuleNotFoundError: No module named 'six'\n", "six"),
        (1, "401 Client Error: Unauthorized for url", "token"),
        (1, "403 Client Error: Forbidden for url", "/rules"),
        (1, "429 Client Error: Too Many Requests", r"\(429\)"),
        (1, "503 Server Error: Unavailable", r"\(503\)"),
        (1, "HTTPSConnectionPool: Max retries exceeded", "network"),
        (1, "something\nnobody foresaw\n", "exited with 1: nobody foresaw"),
    ],
)
def test_output_becomes_one_sentence(code: int, words: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        raise error_in(CliResult(["kernels", "push"], code, words))


def test_success_is_no_error() -> None:
    words = "Upload successful: kit.zip (1MB)\nYour Dataset is being created."
    assert error_in(CliResult(["datasets", "create"], 0, words)) is None

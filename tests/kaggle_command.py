"""A pretended `kaggle` command that speaks for kaggle_rules, and a pretended clock.

It prints what the real one prints, and can fail before or after a command took effect.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kaggle_rules import Body, Rules

UNAVAILABLE = "503 Server Error: Service Unavailable"
BROKEN = "('Connection aborted.', RemoteDisconnected('closed without response'))"


class Process:
    """A command that has printed some words and ended with some code."""

    def kill(self) -> None:
        """Be stopped, which comes too late."""

    def __init__(self, code: int, words: str) -> None:
        """Keep both."""
        self.returncode, self.stdout = code, io.BytesIO(words.encode())

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""


@dataclass
class Clock:
    """A clock that only sleep moves."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """Say the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let some time pass."""
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Outage:
    """The next `times` runs of a command fail; `late`: after they took effect."""

    command: str
    words: str = UNAVAILABLE
    times: int = 1
    late: bool = False


@dataclass
class Command:
    """`kaggle`, by the rules, of the user whose datasets and notebooks they are."""

    rules: Rules
    outages: list[Outage] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)

    def start(self, command: list[str], **_: object) -> Process:
        """Run a command."""
        words = command[4:]
        self.calls.append(words)
        name = " ".join(words[:2])
        fits = (each for each in self.outages if each.command == name and each.times)
        outage = next(fits, None)
        if outage:
            outage.times -= 1
            printed = self._run(name, words).stdout.read() if outage.late else b""
            uploaded = [x for x in printed.decode().splitlines() if x[:6] == "Upload"]
            return Process(1, "\n".join([*uploaded, outage.words]))
        return self._run(name, words)

    def count(self, name: str) -> int:
        """Count the runs of a command."""
        return sum(" ".join(words[:2]) == name for words in self.calls)

    def _run(self, name: str, words: list[str]) -> Process:
        run: Callable[[list[str]], str] = getattr(self, f"_{name.replace(' ', '_')}")
        try:
            return Process(0, run(words))
        except ValueError as refusal:
            return Process(1, str(refusal))

    def _reply(self, rpc: str, **body: Any) -> Body:
        status, reply = self.rules.reply(rpc, body)
        if status != 200:
            raise ValueError(reply["message"])
        return reply

    def _datasets_status(self, words: list[str]) -> str:
        owner, slug = words[2].split("/")
        reply = self._reply("GetDataset", ownerSlug=owner, datasetSlug=slug)
        number = reply["currentVersionNumber"]
        return json.dumps({"status": "ready", "current_version_number": number})

    def _upload(self, words: list[str]) -> str:
        path = Path(flag(words, "-p")) / "dataset-metadata.json"
        ref = json.loads(path.read_text())["id"]
        self.rules.datasets.setdefault(ref, []).append(["kit.zip"])
        return "Upload successful: kit.zip (1MB)\nYour Dataset is being created."

    _datasets_create = _datasets_version = _upload

    def _kernels_push(self, words: list[str]) -> str:
        folder = Path(flag(words, "-p"))
        metadata = json.loads((folder / "kernel-metadata.json").read_text())
        text = (folder / metadata["code_file"]).read_text()
        told = {"slug": metadata["id"], "newTitle": metadata["title"], "text": text}
        sources = {"metadata": metadata, "enableInternet": metadata["enable_internet"]}
        reply = self._reply("SaveKernel", **told, **sources)
        return (
            f"Kernel version {reply['versionNumber']} successfully pushed.  Please "
            f"check progress at {reply['url']}"
        )

    def _kernels_pull(self, words: list[str]) -> str:
        user, slug = words[2].split("/")
        text = self._reply("GetKernel", userName=user, kernelSlug=slug)["blob"]
        sent = self.rules.kernels[words[2]]["versions"][-1].get("metadata", {})
        folder = Path(flag(words, "-p"))
        (folder / f"{slug}.ipynb").write_text(text["source"])
        (folder / "kernel-metadata.json").write_text(json.dumps(sent))
        return f"Source code and metadata downloaded to {folder}"

    def _kernels_status(self, words: list[str]) -> str:
        user, slug = words[2].split("/")
        rpc = "GetKernelSessionStatus"
        reply = self._reply(rpc, userName=user, kernelSlug=slug)
        return f'{words[2]} has status "KernelWorkerStatus.{reply["status"]}"'

    def _kernels_output(self, words: list[str]) -> str:
        folder = Path(flag(words, "-p"))
        folder.mkdir(parents=True)
        for name, data in self.rules.outputs.items():
            (folder / name).write_bytes(data)
        return f"Output file downloaded to {folder}"

    def _competitions_submissions(self, _: list[str]) -> str:
        return json.dumps([{"ref": each["ref"]} for each in self.rules.submissions])

    def _competitions_submit(self, words: list[str]) -> str:
        owner, slug = flag(words, "-k").split("/")
        return self._reply(
            "CreateCodeSubmission",
            competitionName=words[2],
            kernelOwner=owner,
            kernelSlug=slug,
            kernelVersion=int(flag(words, "-v")),
            fileName=flag(words, "-f"),
        )["message"]


def flag(words: list[str], name: str) -> str:
    """Return what follows a flag."""
    return words[words.index(name) + 1]

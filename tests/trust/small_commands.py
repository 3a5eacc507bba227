"""The three scripts' command lines on the small cohort, and what they work on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from child_preparations import fork_workers
from script_child import succeed
from small_cohort import BACKBONE, write_cohort, write_run

Words = Sequence[object]


@dataclass(frozen=True)
class Workplace:
    """A folder with data/, a finished cache/ and runs/ that nobody trained."""

    folder: Path

    @property
    def data(self) -> Path:
        """The competition."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Where children print to."""
        return self.folder / "log"

    def prep(self, cache: Path, workers: int = 2) -> Words:
        """Prepare the small cohort."""
        return (
            *("input_prep.py", "--data", self.data, "--cache", cache),
            *("--crop-px", 16, "--workers", workers),
        )

    def train(self, runs: Path, *flags: object, task: str = "severity") -> Words:
        """Train a small network for three epochs."""
        return (
            *("train.py", "--cache", self.folder / "cache", "--runs", runs),
            *("--task", task, "--backbone", BACKBONE, "--epochs", 3, "--patience", 0),
            *("--input-px", 32, "--batch-size", 8, *flags),
        )

    def predict(self, out: Path) -> Words:
        """Predict the test studies into the folder `out`."""
        return (
            *("predict_submission.py", "--data", self.data),
            *("--runs", self.folder / "runs", "--out", out / "submission.csv"),
        )


def make_workplace(folder: Path) -> Workplace:
    """Write the cohort, its cache and its runs."""
    place = Workplace(folder)
    write_cohort(place.data)
    for task in ("location", "severity", "condition"):
        write_run(folder / "runs", task)
    succeed(place.log, *place.prep(folder / "cache"), prepare=[fork_workers])
    return place

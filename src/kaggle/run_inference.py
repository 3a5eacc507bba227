"""What the inference notebook runs: a complete submission in every case.

In the hidden rerun nothing may raise, since a study that keeps the prior costs little
and a notebook that fails costs everything. Outside it no problem may be ignored, since
a broken kit that predicts the prior looks like one that works.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

import pandas as pd

from src.competition.prior import smoothed_prior, uniform
from src.competition.submission import (
    check_submission,
    from_prior,
    read_submission,
    write_submission,
)
from src.competition.tables import (
    LABEL_FILE,
    list_test_studies,
    read_labels,
    usable_test_series,
)
from src.errors import UserError
from src.files import write_json
from src.inference.findings import keeps_prior
from src.json_object import read_object
from src.kaggle.cli import RUN_INFO_FILE, SUBMISSION_FILE
from src.kaggle.kit import WEIGHTS
from src.kaggle.manifest import WHEELS, read_manifest, verify
from src.kaggle.mounts import find_competition, input_root
from src.kaggle.wheels import install_wheels

LIMIT_MINUTES = 8 * 60.0  # of Kaggle's nine hours
GRACE_MINUTES = 20.0  # for the script to end after its own limit


@dataclass
class InferenceResult:
    """What was predicted, and the problems met.

    findings: the script's findings.csv, or None if it wrote none. seconds and peak_mb:
    the script's time and memory.
    """

    data: Path
    kit: str
    submission: Path
    studies: list[int]
    findings: pd.DataFrame | None = None
    seconds: float = 0.0
    peak_mb: float = 0.0
    problems: list[str] = field(default_factory=list)

    def verify(self) -> None:
        """Check the file; outside the rerun, raise UserError for any problem."""
        check_submission(read_submission(self.submission), self.studies)
        if self.problems and not in_rerun():
            raise UserError("NOT FIT TO SUBMIT: " + "; ".join(self.problems) + ".")


class RunInfo(TypedDict):
    """run_info.json; `rows` counts predictions by their source."""

    kit: str
    rerun: bool
    studies: int
    rows: dict[str, int]
    seconds: float
    peak_mb: int
    problems: list[str]


def in_rerun() -> bool:
    """Return whether this is the hidden rerun, whose errors nobody sees."""
    flag = os.environ.get("KAGGLE_IS_COMPETITION_RERUN", "")
    return flag.lower() not in ("", "0", "false")


def predict_test_set(
    kit: Path, out: Path, limit_minutes: float = LIMIT_MINUTES
) -> InferenceResult:
    """Write submission.csv, findings.csv and run_info.json to `out`.

    Raises UserError only if no competition is mounted or it lists no test study.
    """
    data, problems = find_competition(input_root()), list[str]()
    studies = _studies(data, problems)
    prior = from_prior(studies, _prior(data, problems))
    write_submission(prior, out / SUBMISSION_FILE)
    kit_id = _kit_id(kit)
    result = InferenceResult(data, kit_id, out / SUBMISSION_FILE, studies)
    result.problems = problems
    # From here on the file is complete, and whatever happens is a problem, no error.
    with _noting(problems, "the kit cannot be checked"):
        problems += _kit_problems(kit)
    with _noting(problems, "its findings are unusable"):
        _predict(result, kit, _limit_minutes(limit_minutes, problems))
    _keep_valid(result, prior)
    with _noting(problems, "its findings are unusable"):
        problems += _prior_problems(result)
    with _noting(problems, f"{RUN_INFO_FILE} cannot be written"):
        _write_run_info(result, out / RUN_INFO_FILE)
    return result


@contextmanager
def _noting(problems: list[str], what: str) -> Iterator[None]:
    """Turn any error of the block into a problem, as the hidden rerun needs it."""
    try:
        yield
    except Exception as error:
        problems.append(f"{what}: {error}".rstrip("."))


def _studies(data: Path, problems: list[str]) -> list[int]:
    """List the test studies; of a damaged table those of its whole rows and folders."""
    return list_test_studies(data, usable_test_series(data, problems.append))


def _prior(data: Path, problems: list[str]) -> pd.DataFrame:
    """Return the prior that is submitted until the script replaces it."""
    if not os.path.isfile(data / LABEL_FILE):
        return uniform()
    with _noting(problems, "the prior is uniform"):
        return smoothed_prior(read_labels(data / LABEL_FILE))
    return uniform()


def _limit_minutes(usual: float, problems: list[str]) -> float:
    """Return the limit that the environment sets, or the usual one."""
    with _noting(problems, "KIT_LIMIT_MINUTES is not followed"):
        limit = float(os.environ.get("KIT_LIMIT_MINUTES", usual))
        if 0 <= limit < float("inf"):
            return limit
        raise UserError(f"{limit} is no number of minutes")
    return usual


def _kit_problems(kit: Path) -> list[str]:
    try:
        problems = verify(kit)
    except (UserError, OSError) as error:
        problems = [str(error).rstrip(".")]
    if not any((kit / "runs").glob(f"*/{WEIGHTS}")):
        problems.append(f"the kit has no weights: {kit / 'runs'} holds no {WEIGHTS}")
    return problems


def _predict(result: InferenceResult, kit: Path, limit_minutes: float) -> None:
    """Let predict_submission.py replace the prior, and read its findings."""
    start = time.monotonic()
    try:
        _run_script(result, kit, limit_minutes)
    except subprocess.SubprocessError as error:
        result.problems.append(f"predict_submission.py failed: {_ending(error)}")
        return
    finally:
        result.seconds = time.monotonic() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        result.peak_mb = used.ru_maxrss / 1024
    result.findings = _read_findings(result.submission.with_name("findings.csv"))


def _keep_valid(result: InferenceResult, prior: pd.DataFrame) -> None:
    """Restore the prior where the script left no valid submission."""
    try:
        check_submission(read_submission(result.submission), result.studies)
    except Exception as error:
        result.problems.append(f"its submission is unusable: {error}".rstrip("."))
        write_submission(prior, result.submission)


def _read_findings(path: Path) -> pd.DataFrame:
    findings = pd.read_csv(path, dtype={"reason": str})  # also where all are blank
    needed = {"study_id", "condition", "level", "source", "reason", "severe"}
    if not needed <= {*findings.columns}:
        raise UserError(f"{path.name} lacks one of {', '.join(sorted(needed))}")
    return findings


def _run_script(result: InferenceResult, kit: Path, limit_minutes: float) -> None:
    """Run the kit's script on the test, with the kit's optional decoders if any fit."""
    findings = result.submission.with_name("findings.csv")
    findings.unlink(missing_ok=True)
    paths = ["--data", result.data, "--runs", kit / "runs", "--out", result.submission]
    rest = ["--findings", findings, "--limit-minutes", limit_minutes]
    command = [sys.executable, kit / "predict_submission.py", *paths, *rest]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [str(word) for word in command],
            check=True,
            env=_environment(result, kit, Path(scratch)),
            timeout=60 * (limit_minutes + GRACE_MINUTES),
        )


def _environment(result: InferenceResult, kit: Path, scratch: Path) -> dict[str, str]:
    """Add the kit's optional decoders, if any fit, to the module path."""
    try:
        found = install_wheels(kit / WHEELS, scratch)
    except UserError as error:
        result.problems.append(str(error))
        found = []
    paths = [*map(str, found), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _ending(error: subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it was stopped after {error.timeout / 60:.0f} minutes"
    if isinstance(error, subprocess.CalledProcessError):
        return f"it exited with {error.returncode}, see its output above"
    return str(error)


def _prior_problems(result: InferenceResult) -> list[str]:
    if result.findings is None:
        return ["every prediction is the prior: no study was read"]
    if keeps_prior(result.findings).all():
        return ["every prediction is the prior: no site was graded"]
    return []


def _kit_id(kit: Path) -> str:
    try:
        return read_manifest(kit)["kit"]
    except (UserError, OSError):
        return "unknown"


def _write_run_info(result: InferenceResult, path: Path) -> None:
    """Write the kit's id, which publish compares, and what a run cost."""
    counts: dict[Hashable, int] = {}
    if result.findings is not None:
        counts = result.findings["source"].value_counts().to_dict()
    info: RunInfo = {
        "kit": result.kit,
        "rerun": in_rerun(),
        "studies": len(result.studies),
        "rows": {str(name): int(count) for name, count in counts.items()},
        "seconds": round(result.seconds, 2),
        "peak_mb": round(result.peak_mb),
        "problems": result.problems,
    }
    write_json(info, path)


def read_run_info(folder: Path) -> RunInfo:
    """Read the run_info.json in a folder. UserError if it is damaged."""
    info = read_object(folder / RUN_INFO_FILE, "run the notebook again")
    if info.keys() != RunInfo.__annotations__.keys():
        raise UserError(f"{folder / RUN_INFO_FILE} is no {RUN_INFO_FILE} of this kit.")
    return cast(RunInfo, info)

"""What the inference notebook does: a whole answer to the test, whatever happens.

In the hidden rerun nothing may raise, since a study that keeps the prior costs little
and a notebook that fails costs everything. Outside it nothing may be passed over, since
a broken kit that answers the prior looks like one that works.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from src.competition.prior import smoothed_prior, uniform
from src.competition.submission import (
    check_submission,
    from_prior,
    read_submission,
    write_submission,
)
from src.competition.tables import LABEL_FILE, list_test_studies, read_labels
from src.errors import UserError
from src.files import write_json
from src.kaggle.cli import RUN_INFO_FILE, SUBMISSION_FILE
from src.kaggle.kit import WEIGHTS
from src.kaggle.manifest import WHEELS, read_manifest, verify
from src.kaggle.mounts import find_competition, input_root
from src.kaggle.wheels import install_wheels

LIMIT_MINUTES = 8 * 60.0  # of Kaggle's nine hours
GRACE_MINUTES = 20.0  # for the script to end after its own limit


@dataclass
class InferenceResult:
    """What was answered, and what went wrong on the way.

    findings: the script's findings.csv, or None where it wrote none. seconds and
    peak_mb: what the script took.
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
        """Check the file; outside the rerun, raise for whatever went wrong."""
        check_submission(read_submission(self.submission), self.studies)
        if self.problems and not in_rerun():
            raise UserError("NOT FIT TO SUBMIT: " + "; ".join(self.problems) + ".")


def in_rerun() -> bool:
    """Say whether this is the hidden rerun, whose failure nobody would see."""
    flag = os.environ.get("KAGGLE_IS_COMPETITION_RERUN", "")
    return flag.lower() not in ("", "0", "false")


def predict_test_set(
    kit: Path, out: Path, limit_minutes: float = LIMIT_MINUTES
) -> InferenceResult:
    """Write submission.csv, findings.csv and run_info.json to `out`.

    Raises UserError only if no competition is mounted or it lists no test study.
    """
    data = find_competition(input_root())
    result = InferenceResult(
        data, _kit_id(kit), out / SUBMISSION_FILE, list_test_studies(data)
    )
    write_submission(from_prior(result.studies, _prior(data)), result.submission)
    result.problems += _kit_problems(kit)
    limit_minutes = float(os.environ.get("KIT_LIMIT_MINUTES", limit_minutes))
    _predict(result, kit, limit_minutes)
    result.problems += _answer_problems(result)
    _note(result, out / RUN_INFO_FILE)
    return result


def _prior(data: Path) -> pd.DataFrame:
    """Make the answer that stands until the script has given a better one."""
    try:
        return smoothed_prior(read_labels(data / LABEL_FILE))
    except UserError:
        return uniform()


def _kit_problems(kit: Path) -> list[str]:
    try:
        problems = verify(kit)
    except (UserError, OSError) as error:
        problems = [str(error).rstrip(".")]
    if not any((kit / "runs").glob(f"*/{WEIGHTS}")):
        problems.append(f"the kit has no weights: {kit / 'runs'} holds no {WEIGHTS}")
    return problems


def _predict(result: InferenceResult, kit: Path, limit_minutes: float) -> None:
    """Let predict_submission.py replace the prior; put it back if that is no answer."""
    prior, start = read_submission(result.submission), time.monotonic()
    try:
        _run_script(result, kit, limit_minutes)
        result.findings = _read_findings(result.submission.with_name("findings.csv"))
    except subprocess.SubprocessError as error:
        result.problems.append(f"predict_submission.py failed: {_ending(error)}")
    except (UserError, OSError, ValueError) as error:
        result.problems.append(f"its findings cannot be used: {error}".rstrip("."))
    result.seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.peak_mb = used.ru_maxrss / 1024
    try:
        check_submission(read_submission(result.submission), result.studies)
    except UserError as error:
        result.problems.append(f"its answer cannot be used: {error}".rstrip("."))
        write_submission(prior, result.submission)


def _read_findings(path: Path) -> pd.DataFrame:
    findings = pd.read_csv(path)
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
    """Put the kit's optional decoders, if it has any that fit, on the path."""
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
        return f"it ended with {error.returncode}, see its last words above"
    return str(error)


def _answer_problems(result: InferenceResult) -> list[str]:
    if result.findings is None or (result.findings["source"] == "prior").all():
        return ["every answer is the prior: no study was read"]
    return []


def _kit_id(kit: Path) -> str:
    try:
        return read_manifest(kit)["kit"]
    except UserError:
        return "unknown"


def _note(result: InferenceResult, path: Path) -> None:
    """Write what publish compares with what it staged, and what a run cost."""
    sources = {} if result.findings is None else result.findings["source"]
    rows = dict(pd.Series(sources, dtype=object).value_counts())
    told = {
        "kit": result.kit,
        "rerun": in_rerun(),
        "studies": len(result.studies),
        "rows": {str(name): int(count) for name, count in rows.items()},
        "seconds": round(result.seconds, 2),
        "peak_mb": round(result.peak_mb),
        "problems": result.problems,
    }
    write_json(told, path)


def read_run_info(folder: Path) -> dict[str, object]:
    """Read what `answer` noted in a folder."""
    return json.loads((folder / RUN_INFO_FILE).read_text())

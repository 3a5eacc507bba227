"""evaluate.py --submission: a score beside the floor, both worked out by hand."""

import json
from math import log
from pathlib import Path

import pandas as pd
import pytest

from evaluate import score_submission
from src.competition.constants import SEVERITIES, TARGETS
from src.competition.submission import row_ids
from src.errors import UserError

# Normal at l1/l2; below that one study is normal and the other severe.
TRUTH = {
    1: dict.fromkeys(TARGETS, "Normal/Mild"),
    2: {name: "Normal/Mild" if "l1_l2" in name else "Severe" for name in TARGETS},
}
# A level of both weighs 1 and 4, so its prior is 0.2, 0, 0.8; l1/l2's is sure.
EACH = -log(0.2) - 4 * log(0.8)
FLOOR = (3 * (4 * EACH / 22) + EACH / 5) / 4


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = [{"study_id": study, **row} for study, row in TRUTH.items()]
    pd.DataFrame(rows).to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path / "truth.csv"


def write(path: Path, sure: float) -> Path:
    """Write a submission that gives the true severity so much, the others the rest."""
    rows = []
    for row_id in row_ids(TRUTH):
        study, _, target = row_id.partition("_")
        severe = TRUTH[int(study)][target] == "Severe"
        rest = (1 - sure) / 2
        rows.append((row_id, rest if severe else sure, rest, sure if severe else rest))
    table = pd.DataFrame(rows, columns=["row_id", *SEVERITIES])
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("sure", "better"), [(0.8, True), (0.4, False)])
def test_a_submission_stands_beside_the_floor(
    truth: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    sure: float,
    better: bool,
) -> None:
    path = write(tmp_path / "submission.csv", sure)
    score_submission(path, truth, tmp_path / "report")
    told = json.loads((tmp_path / "report" / "metrics.json").read_text())["submission"]
    assert told["floor"] == pytest.approx(FLOOR)
    for name in ("spinal", "foraminal", "subarticular"):
        assert told[name] == pytest.approx(-log(sure))
    # By study: the normal one's largest severe is the rest, the severe one's is sure.
    any_severe = (-log(1 - (1 - sure) / 2) - 4 * log(sure)) / 5
    assert told["any_severe"] == pytest.approx(any_severe)
    assert told["score"] == pytest.approx((any_severe - 3 * log(sure)) / 4)
    words = capsys.readouterr().out
    assert f"scores {FLOOR:.4f}" in words
    assert ("this is better" in words) is better
    assert ("this is no better" in words) is not better


def test_a_score_joins_the_metrics_that_are_there_and_replaces_its_own(
    truth: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "submission.csv", 0.8)
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"condition": {"n": 3}, "submission": {"score": 9}}))
    score_submission(path, truth, tmp_path)
    told = json.loads(metrics.read_text())
    assert told["condition"] == {"n": 3}
    assert told["submission"]["score"] < 1
    metrics.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        score_submission(path, truth, tmp_path)


def test_without_a_folder_nothing_is_written(truth: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    path = write(tmp_path / "submission.csv", 0.8)
    score_submission(path, truth, None)
    assert set(tmp_path.iterdir()) == {*before, path}

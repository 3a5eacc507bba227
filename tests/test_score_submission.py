"""evaluate.py --submission: the score and the floor, computed by hand."""

import json
from math import log
from pathlib import Path

import pandas as pd
import pytest

from evaluate import score_submission
from src import __version__
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
    """Write a submission with probability `sure` for the true severity."""
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
def test_a_submission_is_compared_with_the_floor(
    truth: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    sure: float,
    better: bool,
) -> None:
    path = write(tmp_path / "submission.csv", sure)
    score_submission(path, truth, tmp_path / "report")
    parts = json.loads((tmp_path / "report" / "metrics.json").read_text())["submission"]
    assert parts["floor"] == pytest.approx(FLOOR)
    for name in ("spinal", "foraminal", "subarticular"):
        assert parts[name] == pytest.approx(-log(sure))
    # By study: the normal one's largest severe is the rest, the severe one's is sure.
    any_severe = (-log(1 - (1 - sure) / 2) - 4 * log(sure)) / 5
    assert parts["any_severe"] == pytest.approx(any_severe)
    assert parts["score"] == pytest.approx((any_severe - 3 * log(sure)) / 4)
    words = capsys.readouterr().out
    assert f"these labels, {FLOOR:.4f}" in words
    assert ("This is better than" in words) is better
    assert ("This is no better than" in words) is not better


def test_a_score_replaces_its_own_entry_of_the_metrics_only(
    truth: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "submission.csv", 0.8)
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"condition": {"n": 3}, "submission": {"score": 9}}))
    score_submission(path, truth, tmp_path)
    entries = json.loads(metrics.read_text())
    assert entries["condition"] == {"n": 3}
    assert entries["kit_version"] == __version__
    assert entries["submission"]["score"] < 1
    for damaged, sentence in (("{", "is not JSON"), ("[1]", "hold a JSON object")):
        metrics.write_text(damaged)
        with pytest.raises(UserError, match=sentence):
            score_submission(path, truth, tmp_path)


def test_without_a_folder_nothing_is_written(truth: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    path = write(tmp_path / "submission.csv", 0.8)
    score_submission(path, truth, None)
    assert set(tmp_path.iterdir()) == {*before, path}

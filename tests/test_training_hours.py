"""The hours of the full run's trainings on GPUs that are not here."""

import sys

import pytest

from src.kaggle import training_hours
from src.kaggle.run_plan import COMPETITION, Plan, Training
from src.kaggle.training_hours import count_steps, list_hours

PLAN = Plan(
    "imagenet",
    (
        Training("severity", ("resnet10t",), "all", 16, 12),
        Training("condition", ("resnet10t", "resnet18"), "holdout", 64, 3),
    ),
)
SMALL, LARGE = ({"flops": flops, "parameters": 1e6} for flops in (1e9, 65e9))
OPERATIONS = [{"resnet10t": LARGE}, {"resnet10t": SMALL, "resnet18": LARGE}]


def test_hours_are_operations_by_a_quarter_of_the_peak() -> None:
    rows = list_hours(PLAN, OPERATIONS, "T4", gpus=2)
    assert [row["backbone"] for row in rows] == ["resnet10t", "resnet10t", "resnet18"]
    # 65 GFLOP at 65 / 4 teraflops: 4 ms a site. 12 epochs of .76 of 48,692 sites,
    # filled up to whole batches of 16: 37,008; five folds, two GPUs.
    hours = [row["hours"] for row in rows]
    assert hours[0] == pytest.approx(5 * 12 * 37_008 * 0.004 / 2 / 3600, abs=0.01)
    # Of the holdout .80 train, 38,954, or 609 batches of 64.
    assert hours[2] == pytest.approx(3 * 609 * 64 * 0.004 / 2 / 3600, abs=0.01)
    alone = list_hours(PLAN, OPERATIONS, "T4", gpus=1)
    assert alone[0]["hours"] == pytest.approx(2 * hours[0], abs=0.02)
    faster = list_hours(PLAN, OPERATIONS, "H100", gpus=2)
    assert faster[0]["hours"] == pytest.approx(hours[0] * 65 / 989, abs=0.01)


@pytest.mark.parametrize(
    ("hours", "says"), [("12", "fits 12"), ("1", "does not fit 1")]
)
def test_it_is_said_whether_the_session_is_long_enough(
    hours: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(training_hours, "choose_plan", lambda *_: PLAN)
    monkeypatch.setattr(training_hours, "count_steps", lambda plan: OPERATIONS)
    monkeypatch.setattr(sys, "argv", ["training_hours", "--hours", hours])
    training_hours.main()
    told = " ".join(capsys.readouterr().out.split())
    assert f"{says} hours" in told
    assert f"{COMPETITION.studies:,} studies" in told


def test_operations_are_counted_in_a_process_of_its_own() -> None:
    [found] = count_steps(Plan("none", PLAN.trainings[:1]))
    assert list(found) == ["resnet10t"]
    assert found["resnet10t"]["flops"] > 1e9

"""What is written to metrics.json is what metrics_schema.py declares."""

import json
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import pandas as pd
import pytest
from fake_condition_runs import description, predicted, write_cache, write_run
from report_entries import entry

from evaluate import report_runs, score_submission
from src.competition.constants import CONDITIONS, LEVELS, SAGITTAL_T2, SEVERITIES
from src.competition.prior import uniform
from src.competition.submission import from_prior
from src.files import write_csv
from src.localization.location_metrics import location_metrics
from src.metrics_schema import ConditionEntry, LocationMetrics, Metrics

STUDIES = 12


def faults(value: Any, kind: Any, at: str = "") -> list[str]:
    """List where a value read from JSON is not of a declared type."""
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{at}: no object"]
        hints = get_type_hints(kind)
        keys = [f"{at}.{k}: unknown" for k in value if k not in hints]
        keys += [f"{at}.{k}: missing" for k in kind.__required_keys__ - value.keys()]
        known = [
            (value[k], hint, f"{at}.{k}") for k, hint in hints.items() if k in value
        ]
        return keys + [fault for args in known for fault in faults(*args)]
    if isinstance(kind, UnionType):
        each = [faults(value, one, at) for one in get_args(kind)]
        return [] if [] in each else each[0]
    if get_origin(kind) is Literal:
        return [] if value in get_args(kind) else [f"{at}: {value!r}"]
    if get_origin(kind) is list:
        [inner] = get_args(kind)
        return [f for i, v in enumerate(value) for f in faults(v, inner, f"{at}[{i}]")]
    if get_origin(kind) is dict:
        name, inner = get_args(kind)
        pairs = [(each, f"{at}.{key}") for key, each in value.items()]
        keys = [fault for key in value for fault in faults(key, name, f"{at} key")]
        return keys + [f for v, where in pairs for f in faults(v, inner, where)]
    allowed = {float: (float, int), None: type(None)}.get(kind, kind)
    return [] if isinstance(value, allowed) else [f"{at}: {value!r}"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics.json of two condition runs, a severity run and a submission."""
    here = tmp_path_factory.mktemp("schema")
    table = write_cache(here / "cache", STUDIES)
    tested = table[table["study_id"] > STUDIES - 2]
    for seed in (0, 1):
        write_run(here / "runs", description(seed=seed), predicted(tested))
    grades = predicted(tested).iloc[:, :6].assign(truth=1, predicted=1)
    grades = grades.assign(p_normal_mild=0.1, p_moderate=0.8, p_severe=0.1)
    severity = {"task": "severity", "labels": list(SEVERITIES)}
    write_run(here / "runs", description(**severity), grades)
    report_runs(here / "cache", here / "runs", here / "out")
    write_csv(from_prior([7], uniform()), here / "submission.csv")
    sites = [f"{condition}_{level}" for condition in CONDITIONS for level in LEVELS]
    truth = {"study_id": 7, **dict.fromkeys(sites, "Severe")}
    write_csv(pd.DataFrame([truth]), here / "train.csv")
    score_submission(here / "submission.csv", here / "train.csv", here / "out")
    return json.loads((here / "out" / "metrics.json").read_text())


def test_metrics_are_of_the_declared_types(metrics: dict[str, Any]) -> None:
    assert {"condition", "severity", "submission"} < metrics.keys()
    assert faults(metrics, Metrics) == []


def test_location_errors_are_of_the_declared_types() -> None:
    sites = {"run": "a", "study_id": 1, "series_description": SAGITTAL_T2}
    sites |= {"source": ["located", None], "error_mm": [1.0, None]}
    sites |= {"slices_off": [0, None], "level_right": True, "side_right": False}
    written = json.loads(json.dumps(location_metrics(pd.DataFrame(sites))))
    assert faults(written, LocationMetrics) == []


def test_the_entry_that_tests_report_on_is_whole() -> None:
    assert faults(entry(), ConditionEntry) == []


def test_what_is_not_of_its_type_is_found() -> None:
    wrong = entry(n=1.5, top1=None, more=1)
    del wrong["split"]
    wrong["runs"][1]["leakage"]["slices"] = wrong["runs"][1]["leakage"].pop("images")
    assert sorted(faults(wrong, ConditionEntry)) == [
        *(".more: unknown", ".n: 1.5", ".runs[1].leakage key: 'slices'"),
        *(".split: missing", ".top1: None"),
    ]

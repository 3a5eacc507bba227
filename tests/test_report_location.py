"""evaluate.py on location runs: which studies, runs and sites are reported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import description, run_config, write_run

from evaluate import report_location
from src.cache import overview_cache
from src.competition.constants import SAGITTAL_T2, SPINAL
from src.errors import UserError
from src.localization import out_of_fold
from src.localization.locate import LocatedSite
from src.localization.location_metrics import COMPARED_COLUMNS
from src.localization.out_of_fold import UnseenSites
from src.reporting import location_section
from src.training.run_folder import Run

FOLDS = pd.DataFrame(
    {
        "study_id": [1, 2, 3, 4, 5],
        "split": ["train", "train", "validation", "test", "test"],
        "fold": [0, 1, 2, 3, 4],
    }
)


LABELS = pd.DataFrame(
    {
        "study_id": [1, 2, 3, 4, 5],
        **{"condition": SPINAL, "level": "l4_l5", "severity": "severe"},
    }
)
SITE = LocatedSite(44, 3, 1.5, 2.5, np.zeros(3), 0.9, "located")
FOUND = {4: {(SPINAL, "l4_l5"): SITE, (SPINAL, "l5_s1"): SITE}}


def found(errors_mm: dict[int, float], wrong: tuple[int, ...] = ()) -> pd.DataFrame:
    """Sites located by a run, one a study; wrong: studies with the level wrong."""
    rows = [
        {
            **{"study_id": study, "condition": SPINAL, "level": "l4_l5"},
            **{"series_description": SAGITTAL_T2, "source": "located"},
            **{"true_series_id": 10, "true_instance_number": 1},
            **{"true_x": 1.0, "true_y": 2.0, "error_mm": error, "slices_off": 0},
            **{"level_right": study not in wrong, "side_right": True},
        }
        for study, error in errors_mm.items()
    ]
    return pd.DataFrame(rows).reindex(columns=list(COMPARED_COLUMNS))


@dataclass
class Reported:
    """The inputs that report_location passed on."""

    out: Path
    joint: pd.DataFrame | None = None
    asked: list[str] = field(default_factory=list)
    added: tuple = ()
    tested: dict[str, set[int]] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Any]:
        """The contents of metrics.json."""
        return json.loads((self.out / "metrics.json").read_text())


def report(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tables: dict[str, pd.DataFrame],
    joint: pd.DataFrame | None = None,
    limits: Sequence[int | None] = (None, None),
    found_sites: bool = False,
) -> Reported:
    """Report on runs named `fold-seed`; joint: the ensemble's sites."""
    reported = Reported(tmp_path / "report")
    runs = []
    for (name, table), limit in zip(tables.items(), limits, strict=False):
        fold, seed = name.split("-")
        given = {"task": "location", "fold": fold, "seed": int(seed), "limit": limit}
        folder = write_run(tmp_path / "runs", description(**given), table)
        runs.append(Run(folder, run_config(**given)))

    def ask(some: list[Run], tested: dict, *_: object) -> list[UnseenSites]:
        reported.asked = [run.folder.name for run in some]
        reported.tested = tested
        ensembles = out_of_fold.fold_ensembles(some)
        return [UnseenSites(*each, FOUND) for each in ensembles.items()]

    def add(*given: object) -> None:
        reported.added = given

    monkeypatch.setattr(overview_cache, "open_overviews", lambda path: path)
    monkeypatch.setattr(out_of_fold, "find_unseen", ask)
    monkeypatch.setattr(out_of_fold, "ensemble_errors", lambda *_: joint)
    monkeypatch.setattr(location_section, "add_location", add)
    cache = SimpleNamespace(
        sites=pd.DataFrame(),
        labels=LABELS,
        path=tmp_path / "cache",
        has_found_sites=found_sites,
    )
    report_location(runs, cache, FOLDS, None, reported.out)
    return reported


def test_without_an_ensemble_the_runs_are_pooled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"holdout-0": found({4: 1, 5: 3}), "holdout-1": found({4: 7, 5: 9}, (5,))}
    reported = report(monkeypatch, tmp_path, tables)
    metrics = reported.metrics["location"][SAGITTAL_T2]
    assert (metrics["median_mm"], metrics["within_5mm"]) == (5, 0.5)
    assert (metrics["sites"], metrics["studies"]) == (4, 2)
    assert metrics["studies_level_right"] == 3 / 4
    assert reported.metrics["location_together"] == {}
    assert len(reported.asked) == 2
    _, alone, joint, sites, overviews, figures = reported.added
    assert (alone, joint) == (reported.metrics["location"], {})
    assert sites["error_mm"].tolist() == [1, 3, 7, 9]
    assert overviews == tmp_path / "cache"
    assert figures == reported.out / "figures"


def test_an_ensemble_has_metrics_of_its_own_and_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"holdout-0": found({4: 1, 5: 3}), "holdout-1": found({4: 7, 5: 9})}
    ensemble = found({4: 0.5, 5: 2}, (4, 5)).assign(run="holdout")
    reported = report(monkeypatch, tmp_path, tables, ensemble)
    alone, joint = (
        reported.metrics[name][SAGITTAL_T2]
        for name in ("location", "location_together")
    )
    assert (alone["median_mm"], alone["level_right"], alone["sites"]) == (5, 1, 4)
    assert (joint["median_mm"], joint["level_right"], joint["sites"]) == (1.25, 0, 2)
    assert reported.added[1:3] == (
        reported.metrics["location"],
        reported.metrics["location_together"],
    )
    assert reported.added[3]["error_mm"].tolist() == [0.5, 2]


@pytest.mark.parametrize(
    ("limits", "skipped"), [((None, None), None), ((9, 9), None), ((9, None), 1)]
)
def test_runs_of_fewer_studies_are_said_to_be_skipped_in_the_ensemble(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    limits: tuple,
    skipped: int | None,
) -> None:
    tables = {"holdout-0": found({4: 1}), "holdout-1": found({4: 7})}
    ensemble = found({4: 0.5}).assign(run="holdout")
    report(monkeypatch, tmp_path, tables, ensemble, limits)
    said = " ".join(capsys.readouterr().out.split())
    assert ("Skipped" in said) == (skipped is not None)
    assert skipped is None or f"Skipped {skipped} of 2 location runs" in said


def test_a_run_is_evaluated_on_the_test_studies_of_its_own_fold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"1-0": found({2: 4}), "holdout-0": found({5: 2})}
    reported = report(monkeypatch, tmp_path, tables)
    assert reported.metrics["location"][SAGITTAL_T2]["median_mm"] == 3


@pytest.mark.parametrize(
    ("name", "study"), [("holdout-0", 1), ("holdout-0", 3), ("1-0", 4)]
)
def test_predictions_of_a_study_outside_the_test_set_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, study: int
) -> None:
    with pytest.raises(UserError, match="tests other studies"):
        report(monkeypatch, tmp_path, {name: found({study: 1})})


def test_the_sites_found_in_tested_studies_are_listed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = {"holdout-0": found({4: 1, 5: 3}), "3-0": found({4: 7})}
    reported = report(monkeypatch, tmp_path, tables)
    assert sorted(map(sorted, reported.tested.values())) == [[4], [4, 5]]
    assert list(reported.tested) == sorted(reported.asked)
    [row] = pd.read_csv(reported.out / "found_sites.csv").to_dict("records")
    assert row == {
        **{"study_id": 4, "series_id": 44, "instance_number": 3},
        **{"condition": SPINAL, "level": "l4_l5", "x": 1.5, "y": 2.5},
    }
    said = " ".join(capsys.readouterr().out.split())
    assert "1 sites in 1 of 5 studies; train location with --folds all" in said


def test_sites_found_by_a_locator_are_no_truth_to_measure_locators_by(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = {"holdout-0": found({4: 1})}
    reported = report(monkeypatch, tmp_path, tables, found_sites=True)
    assert not reported.out.exists()
    said = " ".join(capsys.readouterr().out.split())
    assert "Skipped 1 location runs" in said

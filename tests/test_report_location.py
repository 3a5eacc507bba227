"""evaluate.py's location part: whose studies, which runs, which sites are drawn."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from fake_condition_runs import description, write_run

from evaluate import report_location
from src.cache import overview_cache
from src.competition.constants import SAGITTAL_T2, SPINAL
from src.errors import UserError
from src.localization import location_task
from src.localization.location_metrics import COMPARED_COLUMNS
from src.reporting import location_section
from src.training.config import RunConfig
from src.training.run_folder import Run

FOLDS = pd.DataFrame(
    {
        "study_id": [1, 2, 3, 4, 5],
        "split": ["train", "train", "validation", "test", "test"],
        "fold": [0, 1, 2, 3, 4],
    }
)


def found(errors_mm: dict[int, float], wrong: tuple[int, ...] = ()) -> pd.DataFrame:
    """Sites found by a run, one a study; wrong: those on another level."""
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
    """What the report was given."""

    out: Path
    joint: pd.DataFrame | None = None
    asked: list[str] = field(default_factory=list)
    drawn: tuple = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """What is in metrics.json."""
        return json.loads((self.out / "metrics.json").read_text())


def report(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tables: dict[str, pd.DataFrame],
    joint: pd.DataFrame | None = None,
) -> Reported:
    """Report on runs of a fold each, `fold-seed`; joint: what they find together."""
    reported = Reported(tmp_path / "report")
    runs = []
    for name, table in tables.items():
        fold, seed = name.split("-")
        told = description(task="location", fold=fold, seed=int(seed))
        folder = write_run(tmp_path / "runs", told, table)
        runs.append(Run(folder, RunConfig(**told)))

    def ask(some: list[Run], *_: object) -> pd.DataFrame | None:
        reported.asked = [run.folder.name for run in some]
        return joint

    def draw(*given: object) -> None:
        reported.drawn = given

    monkeypatch.setattr(overview_cache, "open_overviews", lambda path: path)
    monkeypatch.setattr(location_task, "ensemble_errors", ask)
    monkeypatch.setattr(location_section, "add_location", draw)
    cache = SimpleNamespace(table=pd.DataFrame(), path=tmp_path / "cache")
    report_location(runs, cache, FOLDS, None, reported.out)
    return reported


def test_each_run_counts_by_itself_where_none_are_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"holdout-0": found({4: 1, 5: 3}), "holdout-1": found({4: 7, 5: 9}, (5,))}
    told = report(monkeypatch, tmp_path, tables)
    metrics = told.metrics["location"][SAGITTAL_T2]
    assert (metrics["median_mm"], metrics["within_5mm"]) == (5, 0.5)
    assert (metrics["sites"], metrics["studies"]) == (4, 2)
    assert metrics["studies_level_right"] == 3 / 4
    assert told.metrics["location_together"] == {}
    assert len(told.asked) == 2
    _, alone, joint, sites, overviews, figures = told.drawn
    assert (alone, joint) == (told.metrics["location"], {})
    assert sites["error_mm"].tolist() == [1, 3, 7, 9]
    assert overviews == tmp_path / "cache"
    assert figures == told.out / "figures"


def test_what_runs_find_together_has_metrics_and_figures_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"holdout-0": found({4: 1, 5: 3}), "holdout-1": found({4: 7, 5: 9})}
    together_found = found({4: 0.5, 5: 2}, (4, 5)).assign(run="holdout")
    told = report(monkeypatch, tmp_path, tables, together_found)
    alone, joint = (
        told.metrics[name][SAGITTAL_T2] for name in ("location", "location_together")
    )
    assert (alone["median_mm"], alone["level_right"], alone["sites"]) == (5, 1, 4)
    assert (joint["median_mm"], joint["level_right"], joint["sites"]) == (1.25, 0, 2)
    assert told.drawn[1:3] == (
        told.metrics["location"],
        told.metrics["location_together"],
    )
    assert told.drawn[3]["error_mm"].tolist() == [0.5, 2]


def test_a_run_is_held_against_what_its_own_fold_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = {"1-0": found({2: 4}), "holdout-0": found({5: 2})}
    told = report(monkeypatch, tmp_path, tables)
    assert told.metrics["location"][SAGITTAL_T2]["median_mm"] == 3


@pytest.mark.parametrize(
    ("name", "study"), [("holdout-0", 1), ("holdout-0", 3), ("1-0", 4)]
)
def test_a_run_that_tells_of_another_study_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, study: int
) -> None:
    with pytest.raises(UserError, match="tests other studies"):
        report(monkeypatch, tmp_path, {name: found({study: 1})})

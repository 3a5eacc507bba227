"""Sites out of fold: which runs look for which study's sites, and what is listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import run_config

from src.competition.constants import SPINAL
from src.competition.tables import POINT_COLUMNS, read_points
from src.files import write_csv
from src.localization import out_of_fold
from src.localization.locate import LocatedSite, Sites
from src.localization.out_of_fold import (
    UnseenSites,
    ensemble_errors,
    find_unseen,
    found_sites,
)
from src.training.run_folder import Run

LEFT = "left_subarticular_stenosis"


class Named(Run):
    """A run whose predictor is its own name."""

    def predictor(self) -> Any:
        """Return the run's name."""
        return self.folder.name


def run(name: str, fold: str, limit: int | None = None) -> Run:
    told = run_config(task="location", fold=fold, limit=limit, backbone=name)
    return Named(Path(name), told)


class Studies:
    """Overviews that are their study's number."""

    def __init__(self) -> None:
        """Make ten studies."""
        self.by_study = {number: number for number in range(1, 11)}


Call = tuple[list[str], list[str], int]


def looked(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], tested: dict[str, set[int]]
) -> tuple[list[UnseenSites], list[Call]]:
    """Look for sites; also return whose prior, which runs and which study, by call."""
    calls: list[Call] = []

    def locate_study(study: int, locators: list[str], prior: list[str]) -> Sites:
        calls.append((prior, locators, study))
        return {}

    monkeypatch.setattr(out_of_fold, "locate_study", locate_study)
    monkeypatch.setattr(
        out_of_fold, "load_spine_prior", lambda configs: [c.backbone for c in configs]
    )
    return find_unseen(runs, tested, Studies()), calls


def test_the_runs_of_a_fold_look_together_at_what_they_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run("a", "holdout"), run("b", "4"), run("c", "holdout"), run("d", "1")]
    tested = {"a": {9, 10}, "b": {9, 4}, "c": {10, 9}, "d": {1}}
    unseen, calls = looked(monkeypatch, runs, tested)
    assert calls == [
        (["a", "c"], ["a", "c"], 9),
        (["a", "c"], ["a", "c"], 10),
        (["b"], ["b"], 4),
        (["b"], ["b"], 9),
        (["d"], ["d"], 1),
    ]
    found = {each.fold: set(each.sites) for each in unseen}
    assert found == {"holdout": {9, 10}, "4": {4, 9}, "1": {1}}


def test_a_study_that_a_run_of_the_ensemble_has_not_tested_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of another table of folds: it may have trained on it."""
    runs = [run("a", "2"), run("b", "2")]
    _, calls = looked(monkeypatch, runs, {"a": {3, 4}, "b": {4, 5}})
    assert [study for *_, study in calls] == [4]


def test_a_folds_ensemble_is_of_its_runs_of_the_most_studies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run("a", "holdout", 9), run("b", "holdout"), run("c", "holdout")]
    runs += [run("d", "4", 8), run("e", "4", 7), run("f", "4", 8)]
    tested = {name: {9} if name in "abc" else {4} for name in "abcdef"}
    _, calls = looked(monkeypatch, runs, tested)
    assert calls == [
        (["b", "c"], ["b", "c"], 9),
        (["d", "f"], ["d", "f"], 4),
    ]


def test_errors_are_of_ensembles_alone_and_name_their_fold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out_of_fold, "shown_sites", lambda marked, _: marked)
    monkeypatch.setattr(out_of_fold, "compare_sites", lambda sites, marked, _: marked)
    marked = pd.DataFrame({"study_id": [1, 4, 4, 9]})
    one, two = run("a", "holdout"), run("b", "holdout")
    third = UnseenSites("4", [run("c", "4")], {4: {}})
    alone = [UnseenSites("holdout", [one], {9: {}}), third]
    assert ensemble_errors(alone, marked, Studies()) is None
    several = [UnseenSites("holdout", [one, two], {9: {}}), third]
    table = ensemble_errors(several, marked, Studies())
    assert table.to_dict("list") == {
        "study_id": [9, 4, 4],
        "run": ["holdout", "4", "4"],
    }


def located(series_id: int, x: float = 1.0, y: float = 2.0) -> LocatedSite:
    return LocatedSite(series_id, 7, x, y, np.zeros(3), 0.5, "located")


LABELS = pd.DataFrame(
    [
        *((study, SPINAL, "l4_l5", "severe") for study in (1, 2, 3)),
        (1, LEFT, "l4_l5", None),
        (2, LEFT, "l4_l5", "moderate"),
    ],
    columns=["study_id", "condition", "level", "severity"],
)


def test_found_sites_are_listed_as_the_marked_ones_are(tmp_path: Path) -> None:
    sites = {(SPINAL, "l4_l5"): located(21, 3.00004, 4.5), (LEFT, "l4_l5"): located(22)}
    table = found_sites([UnseenSites("0", [], {2: sites, 1: {}})], LABELS)
    assert list(table) == list(POINT_COLUMNS)
    write_csv(table, tmp_path / "found_sites.csv")
    read = read_points(tmp_path / "found_sites.csv")
    assert read.to_dict("records") == [
        {
            **{"study_id": 2, "series_id": series_id, "instance_number": 7},
            **{"condition": condition, "level": "l4_l5", "x": x, "y": y},
        }
        for condition, series_id, x, y in ((SPINAL, 21, 3.0, 4.5), (LEFT, 22, 1.0, 2.0))
    ]


def test_sites_without_a_label_are_not_listed() -> None:
    sites = {(SPINAL, "l4_l5"): located(11), (LEFT, "l4_l5"): located(12)}
    sites[SPINAL, "l5_s1"] = located(13)
    table = found_sites([UnseenSites("0", [], {1: sites})], LABELS)
    assert table["series_id"].tolist() == [11]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_study_has_the_sites_of_one_ensemble_of_a_fold_before_the_holdout(
    reverse: bool,
) -> None:
    site = (SPINAL, "l4_l5")
    unseen = [
        UnseenSites("holdout", [], {2: {site: located(1)}, 3: {site: located(2)}}),
        UnseenSites("4", [], {2: {site: located(3)}, 1: {site: located(4)}}),
    ]
    table = found_sites(unseen[::-1] if reverse else unseen, LABELS)
    by_study = dict(zip(table["study_id"], table["series_id"], strict=True))
    assert by_study == {1: 4, 2: 3, 3: 2}
    assert len(table) == 3

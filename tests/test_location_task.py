"""What a location run learns from, is judged on and predicts: each its own studies."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product, starmap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_condition_runs import KEY, description, run_config
from fake_locator import Shower, numbered
from synthetic_study import (
    AWAY_MM,
    AXIAL_MM,
    BACK_TO_FRONT,
    OFFSETS,
    SAGITTAL_MM,
    STEPS,
    canal_mm,
    mixed,
    overviews,
    seen,
)

from src.classification.calibration import IDENTITY
from src.competition.constants import (
    AXIAL_T2,
    CONDITIONS,
    FAMILY_OF,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_OF,
    SPINAL,
    TARGETS,
)
from src.errors import UserError
from src.files import write_json
from src.imaging.overview import Overview
from src.inference.pipeline import StudyPipeline
from src.inference.study import Study
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.localization.locate import SeriesHeatmaps
from src.localization.location_task import (
    LocationTask,
    StudyOverviews,
    locate_and_compare,
    locate_study,
    make_location_task,
)
from src.localization.spine_prior import load_spine_prior
from src.training.config import Hyperparameters, RunConfig

LEFT_FORAMEN = "left_neural_foraminal_narrowing"
SERIES_ID = {SAGITTAL_T2: 1, SAGITTAL_T1: 2, AXIAL_T2: 3}
FOLDS = pd.DataFrame(
    {
        "study_id": range(1, 7),
        "split": ["train", "validation", "test", "train", "train", "train"],
        "fold": [1, 2, 3, 4, 0, 1],
    }
)


def place_mm(study: int, condition: str, level: str) -> np.ndarray:
    """Where a study's site is: the wider and the longer the higher its number."""
    away = np.array(AWAY_MM[FAMILY_OF[condition]], float)
    if condition != SPINAL:
        away[0] += study
    if condition.startswith("right"):
        away[0] *= -1
    return canal_mm(level) + away - np.array([0, 0, study / 2 * LEVELS.index(level)])


def mark(
    study: int, condition: str, level: str, description: str = ""
) -> dict[str, object]:
    """Make a site's row of the crop table, on the nearest slice."""
    description = description or SERIES_OF[FAMILY_OF[condition]]
    x_mm, y_mm, z_mm = place_mm(study, condition, level)
    axial = description == AXIAL_T2
    heights, height = (AXIAL_MM, z_mm) if axial else (SAGITTAL_MM, x_mm)
    number = int(np.abs(heights - height).argmin()) + 1
    x, y = (x_mm + 100, y_mm + 80) if axial else (y_mm + 80, 100 - z_mm)
    where = {"study_id": study, "condition": condition, "level": level}
    file = {
        "series_description": description,
        "series_id": 10 * study + SERIES_ID[description],
    }
    point = {"x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm}
    return {**where, **file, "instance_number": number, "x": x, "y": y, **point}


# Beside the usual points, two studies have a canal point on the T1.
MARKS = pd.DataFrame(
    [
        *starmap(mark, product(range(1, 7), CONDITIONS, LEVELS)),
        mark(1, SPINAL, "l5_s1", SAGITTAL_T1),
        mark(3, SPINAL, "l5_s1", SAGITTAL_T1),
    ]
)


class Overviews:
    """A cache of overviews in memory."""

    def __init__(self, studies: dict[int, dict[str, Overview]]) -> None:
        """Hold overviews by study and series type."""
        self.studies = studies

    def groups(self) -> Iterator[tuple[int, str, Overview]]:
        """Yield study, series type and overview."""
        for study, views in self.studies.items():
            for name, view in views.items():
                yield study, name, view


def views(study: int) -> dict[str, Overview]:
    """A study's overviews, of series of its own."""
    named = overviews()
    for name, view in named.items():
        view.slices["series_id"] = 10 * study + SERIES_ID[name]
    return numbered(named)


VIEWS = {study: views(study) for study in range(1, 7)}
EVERY = Overviews(VIEWS)


def config(**changes: object) -> RunConfig:
    told = {"task": "location", "backbone": "resnet10t", "labels": list(TARGETS)}
    return run_config(**{**told, **changes})


def job(**changes: object) -> LocationTask:
    crops = SimpleNamespace(sites=MARKS, has_found_sites=False)
    return make_location_task(crops, EVERY, FOLDS, config(**changes))


@cache
def shown(study: int, levels_alike: bool = False) -> dict[str, SeriesHeatmaps]:
    """Show a study's sites; levels_alike: of the axial series."""
    place = partial(place_mm, study)
    told = {name: seen(name, view, place=place) for name, view in VIEWS[3].items()}
    axial = seen(AXIAL_T2, VIEWS[3][AXIAL_T2], levels_alike=levels_alike, place=place)
    return {**told, AXIAL_T2: axial}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [{1, 4, 5, 6}, {2}, {3}]),
        ({"limit": 4}, [{1, 4}, {2}, {3}]),
        ({"fold": "1"}, [{3, 4, 5}, {2}, {1, 6}]),
    ],
)
def test_each_role_has_its_own_studies(changes: dict, expected: list[set[int]]) -> None:
    made = job(**changes)
    predicted = made.predict(Shower(shown(3, levels_alike=True)))
    groups = (made.train.series, made.validation.series)
    learned = [{group.study_id for group in some} for some in groups]
    assert [*learned, set(predicted["study_id"])] == expected


def test_offsets_and_steps_are_those_of_the_training_studies() -> None:
    told = job().config
    offsets = {(row["condition"], row["level"]): row for row in told.canal_offsets}
    # Of studies 1, 4, 5 and 6 the middle is 4.5, the middle distance from it 1.
    assert offsets[LEFT_FORAMEN, "l4_l5"]["mean_mm"] == [16 + 4.5, -8, 5]
    assert offsets[LEFT_FORAMEN, "l4_l5"]["sd_mm"] == [1.48, 0, 0]
    lengths = [np.hypot(30 + number / 2, 1) for number in (4, 5)]
    assert told.level_spacing[0]["level"] == "l1_l2"
    assert told.level_spacing[0]["mean_mm"] == pytest.approx(np.mean(lengths), abs=0.01)


def test_a_group_has_the_sites_of_its_series_type_where_they_are_marked() -> None:
    groups = {(one.study_id, one.description): one for one in job().train.series}
    assert set(groups) == {
        (study, name) for study in (1, 4, 5, 6) for name in SERIES_ID
    }
    for (study, name), group in groups.items():
        assert group.overview is VIEWS[study][name]
        targets = [TARGETS[place] for place in group.targets]
        conditions = [c for c in CONDITIONS if SERIES_OF[FAMILY_OF[c]] == name]
        assert sorted(targets) == sorted(f"{c}_{v}" for c in conditions for v in LEVELS)
        for target, index, xy in zip(targets, group.slices, group.points, strict=True):
            point_mm = place_mm(study, target[:-6], target[-5:])
            axial = name == AXIAL_T2
            heights = AXIAL_MM if axial else SAGITTAL_MM
            assert abs(heights[index] - point_mm[2 if axial else 0]) <= 2
            right, down = (
                np.array([(1, 0, 0), (0, 1, 0)] if axial else BACK_TO_FRONT) @ point_mm
            )
            # 224 px over 180 or 280 mm, around x = 0, y = 20, z = 0.
            middle = (0, 20) if axial else (20, 0)
            pitch = (180 if axial else 280) / 224
            expected = (np.array([right, down]) - middle) / pitch + 111.5
            assert xy == pytest.approx(expected)


def test_a_series_without_an_overview_or_a_file_is_left_out() -> None:
    lacking = {name: view for name, view in VIEWS[1].items() if name != AXIAL_T2}
    studies = StudyOverviews(Overviews({1: lacking, 4: VIEWS[4]}))
    marks = MARKS.copy()
    gone = (marks["study_id"] == 4) & (marks["level"] != "l1_l2")
    marks.loc[gone & (marks["condition"] == SPINAL), "instance_number"] = 999
    groups = {(one.study_id, one.description): one for one in studies.groups(marks)}
    assert set(groups) == {
        *((1, SAGITTAL_T1), (1, SAGITTAL_T2)),
        *((4, name) for name in SERIES_ID),
    }
    canal = groups[4, SAGITTAL_T2]
    assert [TARGETS[place] for place in canal.targets] == [f"{SPINAL}_l1_l2"]


def confused(study: int) -> Shower:
    """Show the canal's upper two levels one too high, and all axial levels alike."""

    def above(condition: str, level: str) -> np.ndarray:
        skips = level in ("l1_l2", "l2_l3")
        return place_mm(study, condition, level) + np.array([0, 0, 31.5 * skips])

    right = shown(study, levels_alike=True)
    wrong = seen(SAGITTAL_T2, VIEWS[3][SAGITTAL_T2], place=above)
    return Shower({**right, SAGITTAL_T2: mixed(wrong, right[SAGITTAL_T2], 0.9)})


def test_test_sites_are_found_by_what_the_run_has_learned() -> None:
    table = job().predict(confused(3))
    # All that are marked on the type that shows them: not the canal on the T1.
    assert len(table) == 25
    assert set(table["study_id"]) == {3}
    assert set(table["source"]) == {"located"}
    assert table["error_mm"].max() < 1.5
    assert table["slices_off"].max() <= 1
    assert table["level_right"].all()
    assert table["side_right"].all()


@pytest.mark.parametrize("blind", [0, 1])
def test_all_runs_of_an_ensemble_look(blind: int) -> None:
    locators = [Shower(shown(3)), Shower(shown(3))]
    nothing = {name: seen(name, view, blind=True) for name, view in VIEWS[3].items()}
    locators[blind] = Shower(nothing)
    marks = MARKS[MARKS["study_id"] == 3]
    learned = config(canal_offsets=OFFSETS, level_spacing=STEPS)
    table = locate_and_compare(
        StudyOverviews(EVERY), marks, [learned, learned], locators
    )
    assert (table["source"] == "located").mean() > 0.9
    assert table["error_mm"].max() < 3


def test_a_study_is_searched_as_inference_searches_it() -> None:
    locators = [Shower(shown(3)), confused(3)]
    learned = config(canal_offsets=OFFSETS, level_spacing=STEPS)
    prior = load_spine_prior([learned])
    found = locate_study(VIEWS[3], locators, prior)
    study = Study(3, {}, VIEWS[3])
    pipeline = StudyPipeline(locators, *prior, [], [], IDENTITY)
    expected = pipeline.find_sites(study)
    assert found.keys() == expected.keys() == set(product(CONDITIONS, LEVELS))
    for target, site in expected.items():
        one = found[target]
        for name in ("series_id", "instance_number", "x", "y", "source"):
            assert getattr(one, name) == getattr(site, name)
        assert np.linalg.norm(one.point_mm - place_mm(3, *target)) < 4


def test_a_locator_does_not_learn_from_found_sites() -> None:
    crops = SimpleNamespace(sites=MARKS, has_found_sites=True, path="found")
    with pytest.raises(UserError, match="found has crops at found sites, and a loc"):
        make_location_task(crops, EVERY, FOLDS, config())


def test_a_locators_changes_are_as_strong_and_random_as_its_settings_say() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 3, 64, 64)).astype(np.uint8)
    shown = (images, np.array([[20.0, 30.0]]), np.array([3]), True, 5, 2)

    def changed(augment: Callable) -> tuple[np.ndarray, ...]:
        return augment(*shown)

    hyperparameters = Hyperparameters(augment=0.3, seed=7, input_px=64)
    task = job().with_hyperparameters(hyperparameters)
    assert task.config.hyperparameters == hyperparameters
    assert task.train.seed == 7
    told = changed(task.train.augment)
    for one, expected in zip(told, changed(KeypointAugmenter(0.3, 7)), strict=True):
        assert np.array_equal(one, expected)
    for strength, seed in ((0.3, 0), (1.0, 7)):
        assert not np.array_equal(
            told[0], changed(KeypointAugmenter(strength, seed))[0]
        )


@pytest.mark.parametrize(
    ("held", "refused"),
    [
        ({"fold": "holdout"}, False),
        ({"fold": "2"}, True),
        ({"split": "row"}, True),
        ({"fold": "2", "cache_fingerprint": {**KEY, "points": "1"}}, False),
    ],
)
def test_weights_are_refused_if_they_may_have_seen_the_test(
    tmp_path: Path, held: dict, refused: bool
) -> None:
    write_json(description(**held), tmp_path / "config.json")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"")
    if refused:
        with pytest.raises(UserError, match="has trained on studies"):
            job(weights=str(weights))
    else:
        assert len(job(weights=str(weights)).train) == 12


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "row"}, "--split"),
        ({"slices": "repeat"}, "--slices"),
        ({"limit": 2}, "series with a site"),
    ],
)
def test_what_a_locator_cannot_be_trained_on_is_refused(
    changes: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        job(**changes)

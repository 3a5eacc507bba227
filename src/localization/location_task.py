"""The location task: a locator trained on overviews with their marked sites."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from src.cache.crop_cache import CropCache
from src.cache.overview_cache import OverviewCache
from src.competition.constants import (
    FAMILY_OF,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    TARGETS,
)
from src.errors import UserError
from src.imaging.overview import Overview
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.localization.locate import locate, target_indices_of
from src.localization.location_metrics import COMPARED_COLUMNS, compare_sites
from src.localization.predict_heatmaps import predict_heatmaps
from src.localization.series_dataset import AnnotatedSeries, SeriesDataset
from src.localization.spine_prior import (
    fit_canal_offsets,
    fit_level_spacing,
    load_spine_prior,
)
from src.training.config import Hyperparameters, RunConfig
from src.training.device import choose_device
from src.training.predictor import Predictor
from src.training.run_folder import Run, read_run
from src.training.splits import SPLITS, first_studies, require_examples, study_splits
from src.training.train_run import TrainingTask, build_seeded_model
from src.training.trainer import Trainer


def make_location_task(
    cache: CropCache, overviews: OverviewCache, folds: pd.DataFrame, config: RunConfig
) -> TrainingTask:
    """Put the location task together. Raises UserError if a role has no series."""
    if config.split != "study":
        raise UserError(
            "--split row deals out crops, and a location run learns from whole series: "
            "leave --split out"
        )
    _refuse_leaking_weights(config)
    if config.slices != "neighbours":
        raise UserError(
            f"--slices {config.slices} is for crops, and a locator always sees "
            "neighbouring slices: leave --slices out"
        )
    role = cache.table["study_id"].map(study_splits(folds, config.fold))
    role = role.where(first_studies(cache.table, config.limit))
    sites = {name: cache.table[role == name] for name in SPLITS}
    studies = StudyOverviews(overviews)
    sets = {name: SeriesDataset(list(studies.groups(sites[name]))) for name in SPLITS}
    require_examples({name: len(sets[name]) for name in SPLITS}, "series with a site")
    config = replace(
        config,
        canal_offsets=fit_canal_offsets(sites["train"]),
        level_spacing=fit_level_spacing(sites["train"]),
    )
    return TrainingTask(
        config,
        sets["train"],
        sets["validation"],
        lambda hyperparameters: make_location_trainer(config, hyperparameters),
        lambda trainer: locate_and_compare(studies, sites["test"], [config], [trainer]),
    )


def _refuse_leaking_weights(config: RunConfig) -> None:
    """Raise UserError if weights are of a run that trained on this fold's test."""
    path = Path(config.weights)
    if not path.is_file() or not path.with_name("config.json").is_file():
        return
    other = read_run(path.parent).config
    same = (other.fold, other.split) == (config.fold, config.split)
    if other.cache_fingerprint == config.cache_fingerprint and not same:
        raise UserError(
            f"--weights {path} is of fold {other.fold} and has trained on studies that "
            f"fold {config.fold} tests: give weights of the same fold, or of other data"
        )


def make_location_trainer(
    config: RunConfig, hyperparameters: Hyperparameters
) -> Trainer:
    """Build a locator and its trainer, the same each time for the same seed."""
    model = build_seeded_model(config, hyperparameters)
    augment = KeypointAugmenter(hyperparameters.augment, hyperparameters.seed)
    return Trainer(model, hyperparameters, choose_device(), augment=augment)


@dataclass(frozen=True, eq=False)
class StudyOverviews:
    """The overviews by study."""

    overviews: OverviewCache

    def __post_init__(self) -> None:
        """Gather them once."""
        by_study: dict[int, dict[str, Overview]] = {}
        for study_id, description, overview in self.overviews.groups():
            by_study.setdefault(study_id, {})[description] = overview
        object.__setattr__(self, "by_study", by_study)

    def groups(self, sites: pd.DataFrame) -> Iterator[AnnotatedSeries]:
        """Yield the series with sites marked on the type that shows them."""
        for keys, some in sites.groupby(["study_id", "series_description"]):
            overview = self.by_study.get(keys[0], {}).get(keys[1])
            if overview is not None:
                group = _group(*keys, overview, some)
                if len(group.targets):
                    yield group


def _group(
    study_id: int, description: str, overview: Overview, sites: pd.DataFrame
) -> AnnotatedSeries:
    names = sites["condition"] + "_" + sites["level"]
    targets = names.map(TARGETS.index).to_numpy(int)
    slices = [
        overview.index_of(site.series_id, site.instance_number)
        for site in sites.itertuples()
    ]
    usable = np.isin(targets, target_indices_of(description))
    usable &= np.array([index is not None for index in slices])
    chosen_slices = np.array(
        [i for i, good in zip(slices, usable, strict=True) if good]
    )
    points = sites.loc[usable, ["x", "y"]].to_numpy()
    points_px = [
        overview.from_image(index, xy)
        for index, xy in zip(chosen_slices, points, strict=True)
    ]
    return AnnotatedSeries(
        study_id,
        description,
        overview,
        targets[usable],
        chosen_slices.astype(int),
        np.array(points_px, float).reshape(-1, 2),
    )


def _shown(marked: pd.DataFrame, overviews: dict[str, Overview]) -> pd.DataFrame:
    """Keep the marked sites that lie on a slice of the series type that shows them."""
    expected = marked["condition"].map(FAMILY_OF).map(SERIES_OF)
    there = [
        site.series_description == own
        and own in overviews
        and overviews[own].index_of(site.series_id, site.instance_number) is not None
        for site, own in zip(marked.itertuples(), expected, strict=True)
    ]
    return marked[there]


def locate_and_compare(
    studies: StudyOverviews,
    sites: pd.DataFrame,
    configs: Sequence[RunConfig],
    locators: Sequence[Predictor],
) -> pd.DataFrame:
    """Find studies' sites by some runs together, and hold them against the marked ones.

    sites: rows of the cache's crop table; returns rows of COMPARED_COLUMNS.
    """
    offsets, steps = load_spine_prior(configs)
    tables = [pd.DataFrame(columns=list(COMPARED_COLUMNS))]
    for study_id, marked in sites.groupby("study_id"):
        overviews = studies.by_study.get(study_id, {})
        seen = {
            description: predict_heatmaps(overviews[description], description, locators)
            for description in SERIES_DESCRIPTIONS
            if description in overviews
        }
        found = locate(seen, offsets, steps)
        tables.append(compare_sites(found, _shown(marked, overviews), overviews))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def ensemble_errors(
    runs: list[Run], sites: pd.DataFrame, folds: pd.DataFrame, overviews: OverviewCache
) -> pd.DataFrame | None:
    """Find test studies' sites by all runs of their fold: COMPARED_COLUMNS and `run`.

    sites: the cache's crops. None where no fold has several runs. Runs of a holdout and
    of a fold are kept apart, since one has trained on what the other tests.
    """
    by_fold: dict[tuple[str, int | None], list[Run]] = defaultdict(list)
    for run in runs:
        by_fold[run.config.fold, run.config.limit].append(run)
    if all(len(some) == 1 for some in by_fold.values()):
        return None
    studies = StudyOverviews(overviews)
    tables = []
    for (fold, limit), some in by_fold.items():
        role = sites["study_id"].map(study_splits(folds, fold))
        tested = sites[(role == "test") & first_studies(sites, limit)]
        configs = [run.config for run in some]
        found = locate_and_compare(
            studies, tested, configs, [run.predictor() for run in some]
        )
        tables.append(found.assign(run=fold))
    return pd.concat(tables, ignore_index=True)

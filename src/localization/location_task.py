"""The location task: a locator trained on overviews with their marked sites."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from src.cache.crop_cache import CropCache
from src.cache.overview_cache import OverviewCache
from src.competition.constants import (
    FAMILY_OF,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    TARGETS,
)
from src.errors import UserError
from src.imaging.overview import OVERVIEW_PX, Overview
from src.localization.heatmaps import peaks, select_targets
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.localization.locate import Sites, locate, target_indices_of
from src.localization.location_metrics import (
    COMPARED_COLUMNS,
    NEAR_MM,
    compare_sites,
)
from src.localization.predict_heatmaps import predict_heatmaps
from src.localization.series_dataset import (
    AnnotatedSeries,
    HeatmapTarget,
    HeatmapTargets,
    SeriesDataset,
    heatmap_losses,
    score_slices,
    whole_target,
)
from src.localization.spine_prior import (
    SpinePrior,
    fit_canal_offsets,
    fit_level_spacing,
    load_spine_prior,
)
from src.training import distributed
from src.training.config import Hyperparameters, RunConfig
from src.training.predictor import Predictor
from src.training.run_folder import read_run
from src.training.splits import SPLITS, first_studies, require_examples, study_splits
from src.training.trainer import Validation

FILE_COLUMNS = ("series_description", "series_id", "instance_number")


@dataclass(frozen=True, eq=False)
class LocationTask:
    """Where the sites are: train_run.TrainingTask.

    tested: the marked sites of the test studies, rows of the cache's crop table.
    """

    config: RunConfig
    studies: "StudyOverviews"
    train: SeriesDataset
    validation: SeriesDataset
    tested: pd.DataFrame

    @property
    def validation_studies(self) -> int:
        """The number of studies that validate."""
        return len({series.study_id for series in self.validation.series})

    def with_hyperparameters(self, new: Hyperparameters) -> "LocationTask":
        """Return the same task with another recipe, augmentation included."""
        config = replace(self.config, hyperparameters=new)
        augment = KeypointAugmenter(new.augment, new.seed)
        train = replace(self.train, augment=augment, seed=new.seed)
        return replace(self, config=config, train=train)

    def prepare(self, folder: Path, loader_workers: int) -> "LocationTask":
        """Return the task as it is: nothing is trained before it."""
        return self

    def loss(self, outputs: torch.Tensor, target: HeatmapTargets) -> torch.Tensor:
        """Return the mean cross entropy [] between predicted and target heatmaps."""
        losses = [heatmap_losses(outputs, series) for series in target.series]
        return torch.cat(losses).mean()

    def validate(self, model: Predictor) -> Validation:
        """Return the mean loss, and the share of sites found.

        Found is a site whose highest peak lies on its slice and within NEAR_MM.
        """
        totals = torch.zeros(3, dtype=torch.float64)
        rank, processes = distributed.rank(), distributed.world_size()
        for series in self.validation.series[rank::processes]:
            outputs = score_slices(series.overview, model)
            whole = whole_target(series)
            [target] = HeatmapTargets((whole,)).to(model.device).series
            found = _found(outputs, series, whole)
            loss = heatmap_losses(outputs, target).sum()
            totals += torch.tensor([float(loss), found.sum(), len(found)])
        summed = distributed.all_reduce_sum(totals.to(model.device))
        loss, found, count = summed.tolist()
        return Validation(loss / count, found / count)

    def predict(self, model: Predictor) -> pd.DataFrame:
        """Compare the sites found in the test studies with the marked ones."""
        return locate_and_compare(self.studies, self.tested, [self.config], [model])


def make_location_task(
    cache: CropCache, overviews: OverviewCache, folds: pd.DataFrame, config: RunConfig
) -> LocationTask:
    """Make the location task. Raises UserError if a split has no series."""
    if cache.has_found_sites:
        raise UserError(
            f"{cache.path} has crops at found sites, and a locator learns from marked "
            "ones: give --task location a cache made without --sites"
        )
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
    role = cache.sites["study_id"].map(study_splits(folds, config.fold))
    role = role.where(first_studies(cache.sites, config.limit))
    sites = {name: cache.sites[role == name] for name in SPLITS}
    studies = StudyOverviews(overviews)
    sets = {name: SeriesDataset(list(studies.groups(sites[name]))) for name in SPLITS}
    require_examples({name: len(sets[name]) for name in SPLITS}, "series with a site")
    config = replace(
        config,
        canal_offsets=fit_canal_offsets(sites["train"]),
        level_spacing=fit_level_spacing(sites["train"]),
    )
    task = LocationTask(
        config, studies, sets["train"], sets["validation"], sites["test"]
    )
    return task.with_hyperparameters(config.hyperparameters)


def _found(
    outputs: torch.Tensor, series: AnnotatedSeries, whole: HeatmapTarget
) -> np.ndarray:
    """Return for each site [m] whether its highest peak is on its slice and near it."""
    slices, points = peaks(select_targets(outputs, series.targets))
    off_px = (points.cpu().numpy() - whole.points.numpy()) * OVERVIEW_PX
    off_mm = np.linalg.norm(off_px, axis=1) * series.overview.pitch_mm
    return (slices.cpu().numpy() == series.slices) & (off_mm <= NEAR_MM)


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


@dataclass(frozen=True, eq=False)
class StudyOverviews:
    """The overviews by study."""

    overviews: OverviewCache

    @cached_property
    def by_study(self) -> dict[int, dict[str, Overview]]:
        """The overviews by study and series description."""
        by_study: dict[int, dict[str, Overview]] = {}
        for study_id, description, overview in self.overviews.groups():
            by_study.setdefault(study_id, {})[description] = overview
        return by_study

    def groups(self, sites: pd.DataFrame) -> Iterator[AnnotatedSeries]:
        """Yield the series with sites marked on the type that shows them."""
        for keys, marked in sites.groupby(["study_id", "series_description"]):
            study_id, description = cast(tuple[int, str], keys)
            overview = self.by_study.get(study_id, {}).get(description)
            if overview is not None:
                series = _annotated(study_id, description, overview, marked)
                if len(series.targets):
                    yield series


def _slice_indices(overview: Overview, sites: pd.DataFrame) -> list[int | None]:
    """Find each site's slice in an overview; None where it is not there."""
    instances = zip(sites["series_id"], sites["instance_number"], strict=True)
    return [overview.index_of(series, instance) for series, instance in instances]


def _annotated(
    study_id: int, description: str, overview: Overview, sites: pd.DataFrame
) -> AnnotatedSeries:
    names = sites["condition"] + "_" + sites["level"]
    targets = names.map(TARGETS.index).to_numpy(int)
    slices = _slice_indices(overview, sites)
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


def shown_sites(marked: pd.DataFrame, overviews: dict[str, Overview]) -> pd.DataFrame:
    """Keep the marked sites that lie on a slice of the series type that shows them."""
    expected = marked["condition"].map(FAMILY_OF).map(SERIES_OF)
    marked = marked[marked["series_description"] == expected]
    shown = [
        description in overviews
        and overviews[description].index_of(series, instance) is not None
        for description, series, instance in zip(
            *(marked[name] for name in FILE_COLUMNS), strict=True
        )
    ]
    return marked[shown]


def locate_and_compare(
    studies: StudyOverviews,
    sites: pd.DataFrame,
    configs: Sequence[RunConfig],
    locators: Sequence[Predictor],
) -> pd.DataFrame:
    """Find studies' sites by an ensemble of runs; compare them with the marked ones.

    sites: rows of the cache's crop table; returns rows of COMPARED_COLUMNS.
    """
    prior = load_spine_prior(configs)
    tables = [pd.DataFrame(columns=list(COMPARED_COLUMNS))]
    for key, marked in sites.groupby("study_id"):
        study_id = cast(int, key)
        overviews = studies.by_study.get(study_id, {})
        found = locate_study(overviews, locators, prior)
        tables.append(compare_sites(found, shown_sites(marked, overviews), overviews))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def locate_study(
    overviews: Mapping[str, Overview], locators: Sequence[Predictor], prior: SpinePrior
) -> Sites:
    """Find a study's sites on its overviews, by series type, as inference does.

    prior: of the locators' runs, as load_spine_prior returns it.
    """
    offsets, steps = prior
    predicted = {
        description: predict_heatmaps(overviews[description], description, locators)
        for description in SERIES_DESCRIPTIONS
        if description in overviews
    }
    heatmaps = {name: held for name, held in predicted.items() if held is not None}
    return locate(heatmaps, offsets, steps)

"""The location task: a locator trained on overviews with their marked sites."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from src.competition.vocab import (
    FAMILY_OF,
    SERIES_DESCRIPTIONS,
    SERIES_OF,
    TARGETS,
)
from src.errors import InputError
from src.imaging.cache import Cache
from src.imaging.overview import Overview
from src.imaging.overview_cache import OverviewCache
from src.learning.device import choose_device
from src.learning.engine import Trainer
from src.learning.predictor import Predictor
from src.learning.roles import ROLES, limited, require_some, study_roles
from src.learning.run_config import RunConfig
from src.learning.runs import read_run
from src.learning.settings import Settings
from src.learning.site_augment import SiteAugmenter
from src.learning.site_set import SiteGroup, SiteSet
from src.learning.training import Job, seeded_model
from src.reading.comparison import COMPARED, compare
from src.reading.learnt import learnt
from src.reading.locate import locate, places_on
from src.reading.offsets import fit_offsets
from src.reading.seeing import see
from src.reading.steps import fit_steps


def location_job(
    cache: Cache, overviews: OverviewCache, folds: pd.DataFrame, config: RunConfig
) -> Job:
    """Put the location task together. Raises InputError if a role has no series."""
    if config.split != "study":
        raise InputError(
            "--split row deals out crops, and a location run learns from whole series: "
            "leave --split out"
        )
    _refuse_leak(config)
    if config.slices != "neighbours":
        raise InputError(
            f"--slices {config.slices} is for crops, and a locator always sees "
            "neighbouring slices: leave --slices out"
        )
    role = cache.table["study_id"].map(study_roles(folds, config.fold))
    role = role.where(limited(cache.table, config.limit))
    sites = {name: cache.table[role == name] for name in ROLES}
    studies = Studies(overviews)
    sets = {name: SiteSet(list(studies.groups(sites[name]))) for name in ROLES}
    require_some({name: len(sets[name]) for name in ROLES}, "series with a site")
    config = replace(
        config, offsets=fit_offsets(sites["train"]), steps=fit_steps(sites["train"])
    )
    return Job(
        config,
        sets["train"],
        sets["validation"],
        lambda settings: new_trainer(config, settings),
        lambda trainer: compared(studies, sites["test"], [config], [trainer]),
    )


def _refuse_leak(config: RunConfig) -> None:
    """Raise InputError if weights are of a run that trained on this fold's test."""
    path = Path(config.weights)
    if not path.is_file() or not path.with_name("config.json").is_file():
        return
    other = read_run(path.parent).config
    same = (other.fold, other.split) == (config.fold, config.split)
    if other.cache_key == config.cache_key and not same:
        raise InputError(
            f"--weights {path} is of fold {other.fold} and has trained on studies that "
            f"fold {config.fold} tests: give weights of the same fold, or of other data"
        )


def new_trainer(config: RunConfig, settings: Settings) -> Trainer:
    """Build a locator and its trainer, the same each time for the same seed."""
    model = seeded_model(config, settings)
    augment = SiteAugmenter(settings.augment, settings.seed)
    return Trainer(model, settings, choose_device(), augment=augment)


@dataclass(frozen=True, eq=False)
class Studies:
    """The overviews by study."""

    overviews: OverviewCache

    def __post_init__(self) -> None:
        """Gather them once."""
        by_study: dict[int, dict[str, Overview]] = {}
        for study_id, description, overview in self.overviews.groups():
            by_study.setdefault(study_id, {})[description] = overview
        object.__setattr__(self, "by_study", by_study)

    def groups(self, sites: pd.DataFrame) -> Iterator[SiteGroup]:
        """Yield the series with sites marked on the type that shows them."""
        for keys, some in sites.groupby(["study_id", "series_description"]):
            overview = self.by_study.get(keys[0], {}).get(keys[1])
            if overview is not None:
                group = _group(*keys, overview, some)
                if len(group.targets):
                    yield group


def _group(
    study_id: int, description: str, overview: Overview, sites: pd.DataFrame
) -> SiteGroup:
    names = sites["condition"] + "_" + sites["level"]
    targets = names.map(TARGETS.index).to_numpy(int)
    slices = [
        overview.index_of(site.series_id, site.instance_number)
        for site in sites.itertuples()
    ]
    usable = np.isin(targets, places_on(description))
    usable &= np.array([index is not None for index in slices])
    chosen_slices = np.array(
        [i for i, good in zip(slices, usable, strict=True) if good]
    )
    points = sites.loc[usable, ["x", "y"]].to_numpy()
    points_px = [
        overview.from_image(index, xy)
        for index, xy in zip(chosen_slices, points, strict=True)
    ]
    return SiteGroup(
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


def compared(
    studies: Studies,
    sites: pd.DataFrame,
    configs: Sequence[RunConfig],
    locators: Sequence[Predictor],
) -> pd.DataFrame:
    """Find studies' sites by some runs together, and hold them against the marked ones.

    sites: rows of the cache's crop table; returns rows of COMPARED.
    """
    offsets, steps = learnt(configs)
    tables = [pd.DataFrame(columns=list(COMPARED))]
    for study_id, marked in sites.groupby("study_id"):
        overviews = studies.by_study.get(study_id, {})
        seen = {
            description: see(overviews[description], description, locators)
            for description in SERIES_DESCRIPTIONS
            if description in overviews
        }
        found = locate(seen, offsets, steps)
        tables.append(compare(found, _shown(marked, overviews), overviews))
    return pd.concat(tables[1:] or tables, ignore_index=True)

"""Overviews with their marked sites, as batches for a locator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from src.competition.constants import AXIAL_T2
from src.imaging.overview import OVERVIEW_PX, Overview
from src.localization.heatmaps import cross_entropies, select_targets
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.training import distributed
from src.training.augmentation import derive_seed
from src.training.data_loading import Batch, BatchDataset, BatchKey
from src.training.predictor import Predictor

# Slices of a series in a training step: some that are marked, one beside them each,
# and others of the series, all of which the marked ones must stand out from. Of a thin
# slab fewer, since its slices are alike: one for so many millimetres of it.
MAX_SLICES, MIN_SLICES = 6, 3
MM_PER_SLICE = 4.5  # between the slices of most of the competition's series
EVAL_BATCH = 32  # slices a locator is shown in one go


@dataclass(frozen=True, eq=False)
class AnnotatedSeries:
    """A study's series of one type, and the sites marked in them.

    targets: [m] indices in TARGETS; slices: [m] in the overview; points: [m, 2] pixels
    of the overview.
    """

    study_id: int
    description: str
    overview: Overview
    targets: np.ndarray
    slices: np.ndarray
    points: np.ndarray

    @cached_property
    def distance_mm(self) -> np.ndarray:
        """How far [m, n] each slice of the overview is from each site."""
        planes = self.overview.planes
        sites = zip(self.slices, self.points, strict=True)
        points_mm = np.array([planes[index].to_patient(xy) for index, xy in sites])
        away = [np.abs(plane.distance_mm(points_mm)) for plane in planes]
        return np.stack(away, axis=1)

    @cached_property
    def max_slices(self) -> int:
        """How many slices a training step takes at most."""
        corners_mm = np.array([p.to_patient(np.zeros(2)) for p in self.overview.planes])
        depth_mm = np.linalg.norm(np.ptp(corners_mm, axis=0))
        return int(np.clip(round(depth_mm / MM_PER_SLICE), MIN_SLICES, MAX_SLICES))


@dataclass(frozen=True, eq=False)
class HeatmapTarget:
    """The sites to find on a range of a batch's slices.

    start, stop: the slices; targets: int64 [m], indices in TARGETS; distance_mm:
    float64 [m, stop - start], of each of the slices from each site; points: float64
    [m, 2] in shares of the image's side.
    """

    start: int
    stop: int
    targets: torch.Tensor
    distance_mm: torch.Tensor
    points: torch.Tensor


@dataclass(frozen=True, eq=False)
class HeatmapTargets:
    """The targets of a batch, a HeatmapTarget a series; they move as tensors do."""

    series: tuple[HeatmapTarget, ...]

    def to(self, device: torch.device, non_blocking: bool = False) -> "HeatmapTargets":
        """Send them to a device."""
        return self._map(lambda held: held.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "HeatmapTargets":
        """Pin them, as a DataLoader asks for where a GPU trains."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "HeatmapTargets":
        return HeatmapTargets(
            tuple(
                replace(
                    target,
                    targets=change(target.targets),
                    distance_mm=change(target.distance_mm),
                    points=change(target.points),
                )
                for target in self.series
            )
        )


@dataclass(frozen=True, eq=False)
class SeriesDataset(BatchDataset):
    """Annotated series to train or validate a locator, indexed by batches.

    augment: of training batches; seed: of the random choice of slices.
    """

    fixed_shape: ClassVar[bool] = False  # a thin series gives fewer slices

    series: list[AnnotatedSeries]
    augment: KeypointAugmenter | None = None
    seed: int = 0

    def __len__(self) -> int:
        """Count the series."""
        return len(self.series)

    def __getitem__(self, key: BatchKey) -> Batch:
        """Return slices uint8 [n, 3, px, px] of the series, and their sites.

        With an epoch random slices, augmented; otherwise MAX_SLICES evenly spaced
        ones without a target.
        """
        if key.epoch is None:
            spaced = [self._evenly_spaced(self.series[row]) for row in key.rows]
            return Batch(torch.from_numpy(np.concatenate(spaced)), None, 1.0)
        chosen = [self._training_slices(int(row), key.epoch) for row in key.rows]
        stops = np.cumsum([len(images) for images, *_ in chosen])
        targets = tuple(
            HeatmapTarget(int(stop) - len(images), int(stop), *map(torch.tensor, asked))
            for stop, (images, *asked) in zip(stops, chosen, strict=True)
        )
        images = torch.from_numpy(np.concatenate([images for images, *_ in chosen]))
        return Batch(images, HeatmapTargets(targets), key.loss_scale, key.steps)

    def split_batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut an order of series into batches; size: in slices."""
        world = distributed.world_size()
        each = max(world, size // MAX_SLICES)
        parts = [order[start : start + each] for start in range(0, len(order), each)]
        return [part for part in parts if len(part) >= world]

    def loss_weight(self, rows: np.ndarray, epoch: int) -> float:
        """Count the sites asked for: a batch's loss is taken as a mean over them."""
        chosen = [(self.series[row], self._slices(int(row), epoch)) for row in rows]
        return float(sum(np.isin(s.slices, some).sum() for s, some in chosen))

    def _evenly_spaced(self, series: AnnotatedSeries) -> np.ndarray:
        some = np.linspace(0, len(series.overview) - 1, MAX_SLICES).astype(int)
        return stack_neighbours(series.overview, some)

    def _training_slices(
        self, number: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Choose slices of a series at random, and augment them.

        Returns them with their sites' targets, distances and points.
        """
        series, slices = self.series[number], self._slices(number, epoch)
        asked = np.isin(series.slices, slices)
        images = stack_neighbours(series.overview, slices)
        points, targets = series.points[asked], series.targets[asked]
        if self.augment is not None:
            axial = series.description == AXIAL_T2
            images, points, targets = self.augment(
                images, points, targets, axial, number, epoch
            )
        distance_mm = series.distance_mm[np.ix_(asked, slices)]
        return images, targets, distance_mm, _shares(points)

    def _slices(self, number: int, epoch: int) -> np.ndarray:
        """Choose the slices of a series that an epoch shows."""
        rng = np.random.default_rng(derive_seed(self.seed, epoch, number))
        return _some_slices(self.series[number], rng)


def stack_neighbours(overview: Overview, slices: np.ndarray) -> np.ndarray:
    """Cut slices out, each between the one before and the one after: [n, 3, px, px]."""
    wanted = np.array([overview.neighbours(index) for index in slices])
    return np.asarray(overview.images[wanted])


def score_slices(overview: Overview, locator: Predictor) -> torch.Tensor:
    """Return a locator's scores of all slices of an overview: [n, targets, h, w]."""
    every = np.arange(len(overview))
    parts = np.array_split(every, np.arange(EVAL_BATCH, len(every), EVAL_BATCH))
    images = (torch.from_numpy(stack_neighbours(overview, some)) for some in parts)
    return torch.cat([locator.outputs(some) for some in images])


def _some_slices(group: AnnotatedSeries, rng: np.random.Generator) -> np.ndarray:
    marked = rng.permutation(np.unique(group.slices))[: group.max_slices // 2]
    beside = [rng.choice(group.overview.neighbours(index)[::2]) for index in marked]
    others = rng.permutation(len(group.overview))
    wanted = np.concatenate([marked, np.array(beside, int), others])
    _, first = np.unique(wanted, return_index=True)
    return np.sort(wanted[np.sort(first)][: group.max_slices])


def whole_target(series: AnnotatedSeries) -> HeatmapTarget:
    """Return all sites of a series on all of its slices."""
    parts = (series.targets, series.distance_mm, _shares(series.points))
    return HeatmapTarget(0, len(series.overview), *map(torch.tensor, parts))


def heatmap_losses(outputs: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
    """Return the cross entropy [m] of each site; outputs: of the whole batch."""
    some = select_targets(outputs[target.start : target.stop], target.targets)
    return cross_entropies(some, target.distance_mm, target.points)


def _shares(points_px: np.ndarray) -> np.ndarray:
    return (points_px + 0.5) / OVERVIEW_PX

"""Overviews with their marked sites, as batches for a locator."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from src.competition.constants import AXIAL_T2
from src.imaging.overview import OVERVIEW_PX, Overview
from src.localization.heatmaps import cross_entropies, peaks, select_targets
from src.localization.keypoint_augmentation import KeypointAugmenter
from src.training import distributed
from src.training.augmentation import derive_seed
from src.training.predictor import Predictor

if TYPE_CHECKING:
    from src.training.trainer import Trainer

# Slices of a series in a training step: some that are marked, one beside them each,
# and others of the series, all of which the marked ones must stand out from. Of a thin
# slab fewer, since its slices are alike: one for so many millimetres of it.
MAX_SLICES, MIN_SLICES = 6, 3
MM_PER_SLICE = 4.5  # between the slices of most of the competition's series
NEAR_MM = 5.0
EVAL_BATCH = 32  # slices a locator is shown in one go


@dataclass(frozen=True, eq=False)
class AnnotatedSeries:
    """A study's series of one type, and the sites marked in them.

    targets: [m] places in TARGETS; slices: [m] in the overview; points: [m, 2] pixels
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
    """What is asked of some of a batch's slices: sites, and where each one is.

    start, stop: the slices; targets: [m]; away_mm: [m, stop - start], how far each of
    the slices is from the site; points: [m, 2] in shares of the image's side.
    """

    start: int
    stop: int
    targets: np.ndarray
    distance_mm: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class SeriesDataset:
    """Groups to train a locator on, or to judge it."""

    groups: list[AnnotatedSeries]

    def __len__(self) -> int:
        """Count the groups."""
        return len(self.groups)

    def steps(self, size: int) -> int:
        """Count the training batches of an epoch; size: in slices."""
        return len(self._batches(np.arange(len(self)), size))

    def training(
        self, size: int, epoch: int, seed: int, augment: KeypointAugmenter
    ) -> Iterator[tuple[torch.Tensor, list[HeatmapTarget], float]]:
        """Yield this process's share of each batch of an epoch, in its random order.

        Slices uint8 [share, 3, px, px], what is asked of them, and by what to weigh
        their mean loss.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        rank, world = distributed.rank(), distributed.world_size()
        for batch in self._batches(order, size):
            own = batch[rank::world]
            shown = [self._shown(number, epoch, seed, augment) for number in own]
            images = np.concatenate([images for images, _ in shown])
            targets, start = [], 0
            for part, (wanted, distance_mm, points) in shown:
                stop = start + len(part)
                targets.append(HeatmapTarget(start, stop, wanted, distance_mm, points))
                start = stop
            weight = len(own) * world / len(batch)
            yield torch.from_numpy(images), targets, weight

    def batches(self, size: int, places: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield slices of some groups as they are, a few of each."""
        for place in places[: max(1, len(places) // MAX_SLICES)]:
            group = self.groups[place]
            some = np.linspace(0, len(group.overview) - 1, MAX_SLICES).astype(int)
            yield torch.from_numpy(stack_neighbours(group.overview, some))

    def loss(self, outputs: torch.Tensor, target: list[HeatmapTarget]) -> torch.Tensor:
        """Return the mean cross entropy [1] of where the sites are."""
        return torch.cat([_losses(outputs, one) for one in target]).mean()

    def judge(self, trainer: "Trainer") -> tuple[float, float]:
        """Return the mean loss, and the share of sites found.

        Found is a site whose highest peak lies on its slice and within NEAR_MM.
        """
        totals = torch.zeros(3, dtype=torch.float64)
        for group in self.groups[distributed.rank() :: distributed.world_size()]:
            outputs = score_slices(group.overview, trainer)
            target = _whole(group)
            slices, points = peaks(select_targets(outputs, group.targets))
            off_px = (points.cpu().numpy() - target.points) * OVERVIEW_PX
            off_mm = np.linalg.norm(off_px, axis=1) * group.overview.pitch_mm
            found = (slices.cpu().numpy() == group.slices) & (off_mm <= NEAR_MM)
            loss = _losses(outputs, target).sum().item()
            totals += torch.tensor([loss, found.sum(), len(found)])
        loss, found, count = distributed.all_reduce_sum(
            totals.to(trainer.device)
        ).tolist()
        return loss / count, found / count

    def _batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut an order of groups into batches that leave no process idle."""
        world = distributed.world_size()
        each = max(world, size // MAX_SLICES)
        parts = [order[start : start + each] for start in range(0, len(order), each)]
        return [part for part in parts if len(part) >= world]

    def _shown(
        self, number: int, epoch: int, seed: int, augment: KeypointAugmenter
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Choose slices of a group at random, and change them."""
        group = self.groups[number]
        rng = np.random.default_rng(derive_seed(seed, epoch, int(number)))
        slices = _some_slices(group, rng)
        asked = np.isin(group.slices, slices)
        images = stack_neighbours(group.overview, slices)
        axial = group.description == AXIAL_T2
        images, points, targets = augment(
            *(images, group.points[asked], group.targets[asked], axial, number, epoch)
        )
        distance_mm = group.distance_mm[np.ix_(asked, slices)]
        return images, (targets, distance_mm, _shares(points))


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


def _whole(group: AnnotatedSeries) -> HeatmapTarget:
    points = _shares(group.points)
    return HeatmapTarget(
        0, len(group.overview), group.targets, group.distance_mm, points
    )


def _shares(points_px: np.ndarray) -> np.ndarray:
    return (points_px + 0.5) / OVERVIEW_PX


def _losses(outputs: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
    some = select_targets(outputs[target.start : target.stop], target.targets)
    distance_mm = torch.from_numpy(target.distance_mm).to(outputs.device)
    points = torch.from_numpy(target.points).to(outputs.device)
    return cross_entropies(some, distance_mm, points)

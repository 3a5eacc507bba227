"""Locators without training: of given heatmaps, or of what the pixels are alone."""

from functools import cached_property

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from src.competition.constants import SERIES_DESCRIPTIONS, TARGETS
from src.imaging.overview import Overview
from src.localization.locate import SeriesHeatmaps, target_indices_of


def numbered(views: dict[str, Overview]) -> dict[str, Overview]:
    """Write each slice's index into its pixels, for `Shower` to read."""
    for description, view in views.items():
        view.images[:, 0, 0] = SERIES_DESCRIPTIONS.index(description)
        view.images[:, 0, 1] = np.arange(len(view))
    return views


class Shower:
    """A locator that returns given heatmaps, by series type, for numbered slices."""

    def __init__(self, shown: dict[str, SeriesHeatmaps]) -> None:
        """Set the heatmaps."""
        self.shown = shown

    @cached_property
    def scores(self) -> dict[int, torch.Tensor]:
        """The scores [slices, targets, h, w] of each series type."""
        out = {}
        for description, one in self.shown.items():
            logs = np.zeros((len(TARGETS), *one.log_probs.shape[1:]), np.float32)
            logs[target_indices_of(description)] = one.log_probs
            scores = torch.from_numpy(logs.transpose(1, 0, 2, 3))
            out[SERIES_DESCRIPTIONS.index(description)] = scores
        return out

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Score slices [n, 3, px, px] by the numbers in their middle channel."""
        numbers = images[:, 1, 0, :2].tolist()
        return torch.stack([self.scores[kind][index] for kind, index in numbers])


class Bright:
    """A locator whose scores follow from the pixels: bright spots, by a random map."""

    def __init__(self, cells: int = 56) -> None:
        """Draw a map [targets, cells, cells], the same in every run."""
        drawn = np.random.default_rng(0).random((len(TARGETS), cells, cells))
        self.map = torch.from_numpy(drawn.astype(np.float32))

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Score slices [n, 3, px, px] by the brightness of their middle channel."""
        middle = images[:, 1:2].float() / 255
        return 30 * adaptive_avg_pool2d(middle, self.map.shape[-2:]) * self.map

"""Heatmaps of an overview, predicted by an ensemble of locators."""

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from src.imaging.overview import Overview
from src.localization.heatmaps import log_probabilities, select_targets
from src.localization.locate import SeriesHeatmaps, target_indices_of
from src.localization.series_dataset import score_slices
from src.training.predictor import Predictor


def predict_heatmaps(
    overview: Overview, description: str, locators: Sequence[Predictor]
) -> SeriesHeatmaps:
    """Average the locators' log probabilities of an overview: an ensemble."""
    targets = target_indices_of(description)
    every = (
        log_probabilities(select_targets(score_slices(overview, locator), targets))
        for locator in locators
    )
    total = next(every)  # a running sum, so that memory does not grow with the ensemble
    for logs in every:
        total = total + _resized(logs, total.shape[-2:])
    mean = log_probabilities(total / len(locators))
    return SeriesHeatmaps(overview, mean.cpu().numpy())


def _resized(logs: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Resize heatmaps, for locators whose outputs have other resolutions."""
    if logs.shape[-2:] == size:
        return logs
    return interpolate(logs, size, mode="bilinear", align_corners=False)

"""Heatmaps of an overview, predicted by an ensemble of locators."""

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import interpolate

from src.imaging.overview import Overview
from src.localization.heatmaps import log_probabilities, select_targets
from src.localization.locate import SeriesHeatmaps, target_indices_of
from src.localization.series_dataset import score_slices
from src.training.predictor import Predictor


def predict_heatmaps(
    overview: Overview,
    description: str,
    locators: Sequence[Predictor],
    on_skip: Callable[[Predictor], None] = lambda locator: None,
) -> SeriesHeatmaps | None:
    """Average the locators' log probabilities of an overview: an ensemble.

    A locator without finite ones is skipped, and on_skip called; None if all are.
    """
    targets = target_indices_of(description)
    total, count = None, 0  # a sum, so that memory does not grow with the ensemble
    for locator in locators:
        scores = select_targets(score_slices(overview, locator), targets)
        if not scores.isfinite().all():
            on_skip(locator)
            continue
        logs = log_probabilities(scores)
        total = logs if total is None else total + _resized(logs, total.shape[-2:])
        count += 1
    if total is None:
        return None
    return SeriesHeatmaps(overview, log_probabilities(total / count).cpu().numpy())


def _resized(logs: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Resize heatmaps, for locators whose outputs have other resolutions."""
    if logs.shape[-2:] == size:
        return logs
    return interpolate(logs, size, mode="bilinear", align_corners=False)

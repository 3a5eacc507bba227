"""What locators make of an overview, put together."""

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
    """Show an overview to some locators; their log probabilities are averaged."""
    places = target_indices_of(description)
    total: torch.Tensor | None = None
    for locator in locators:
        logs = log_probabilities(
            select_targets(score_slices(overview, locator), places)
        )
        total = logs if total is None else total + _resized(logs, total.shape[-2:])
    mean = log_probabilities(total / len(locators))
    return SeriesHeatmaps(overview, mean.cpu().numpy())


def _resized(logs: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring heatmaps to another size, for locators that see in other resolutions."""
    if logs.shape[-2:] == size:
        return logs
    return interpolate(logs, size, mode="bilinear", align_corners=False)

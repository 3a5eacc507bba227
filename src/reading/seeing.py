"""What locators make of an overview, put together."""

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from src.imaging.overview import Overview
from src.learning.heatmaps import chosen, log_chances
from src.learning.predictor import Predictor
from src.learning.site_set import scores
from src.reading.locate import Seen, places_on


def see(overview: Overview, description: str, locators: Sequence[Predictor]) -> Seen:
    """Show an overview to some locators; their log chances are averaged."""
    places = places_on(description)
    total: torch.Tensor | None = None
    for locator in locators:
        logs = log_chances(chosen(scores(overview, locator), places))
        total = logs if total is None else total + _resized(logs, total.shape[-2:])
    mean = log_chances(total / len(locators))
    return Seen(overview, mean.cpu().numpy())


def _resized(logs: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring heatmaps to another size, for locators that see in other resolutions."""
    if logs.shape[-2:] == size:
        return logs
    return interpolate(logs, size, mode="bilinear", align_corners=False)

"""Heatmaps of an ensemble of locators, against probabilities by hand."""

import numpy as np
import pytest
import torch
from synthetic_study import overview

from src.competition.constants import AXIAL_T2, SAGITTAL_T2, TARGETS
from src.imaging.overview import Overview
from src.localization.locate import targets_on
from src.localization.predict_heatmaps import predict_heatmaps


class Constant:
    """A locator with one and the same heatmaps [targets, h, w] for every slice."""

    def __init__(self, heatmaps: np.ndarray) -> None:
        """Set the heatmaps."""
        self.heatmaps = torch.from_numpy(heatmaps.astype(np.float32))

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Score slices [n, 3, px, px]."""
        return self.heatmaps.expand(len(images), *self.heatmaps.shape)


@pytest.fixture
def view() -> Overview:
    return overview(AXIAL_T2, 1, [4, 0])


def heatmaps(seed: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (len(TARGETS), side, side))


def shares(logs: np.ndarray) -> np.ndarray:
    """Normalize the logarithms of each heatmap over two equal slices."""
    total = 2 * np.exp(logs).sum(axis=(-2, -1), keepdims=True)
    return np.exp(logs) / total


@pytest.mark.parametrize("description", [AXIAL_T2, SAGITTAL_T2])
def test_each_target_has_its_own_heatmap(view: Overview, description: str) -> None:
    maps = heatmaps(0)
    shown = predict_heatmaps(view, description, [Constant(maps)])
    assert shown.overview is view
    targets = targets_on(description)
    assert len(shown.log_probs) == len(targets)
    for (condition, level), logs in zip(targets, np.exp(shown.log_probs), strict=True):
        own = shares(maps[TARGETS.index(f"{condition}_{level}")])
        assert logs == pytest.approx(np.stack([own, own]), rel=1e-4)


def test_locators_are_averaged_by_the_logarithms_of_their_probabilities(
    view: Overview,
) -> None:
    maps = [heatmaps(seed) for seed in range(3)]
    shown = predict_heatmaps(view, AXIAL_T2, [Constant(one) for one in maps])
    first = TARGETS.index("left_subarticular_stenosis_l1_l2")
    product = shares(sum(np.log(shares(one[first])) for one in maps) / 3)
    assert np.exp(shown.log_probs[0, 1]) == pytest.approx(product, rel=1e-4)


@pytest.mark.parametrize("sides", [(4, 8), (8, 4)])
def test_heatmaps_of_two_sizes_are_resized_to_one(
    view: Overview, sides: tuple[int, int]
) -> None:
    """Average a flat heatmap with one that falls evenly along its columns."""
    first, second = sides
    fall = np.tile(-3 * (np.arange(second) + 0.5) / second, (second, 1))
    ramp = Constant(np.broadcast_to(fall, (len(TARGETS), second, second)).copy())
    flat = Constant(np.zeros((len(TARGETS), first, first)))
    logs = predict_heatmaps(view, AXIAL_T2, [flat, ramp]).log_probs[3, 0]
    assert logs.shape == (first, first)
    inner = slice(1, -1) if first > second else slice(None)
    steps = np.diff(logs, axis=1)[:, inner]
    assert steps == pytest.approx(np.full_like(steps, -3 / first / 2), rel=1e-3)


def test_a_locator_without_finite_heatmaps_is_skipped_and_told(view: Overview) -> None:
    broken = heatmaps(1)
    broken[TARGETS.index("left_subarticular_stenosis_l1_l2"), 0, 0] = np.nan
    good, bad, skipped = Constant(heatmaps(0)), Constant(broken), []
    both = predict_heatmaps(view, AXIAL_T2, [bad, good], skipped.append)
    alone = predict_heatmaps(view, AXIAL_T2, [good])
    assert (both.log_probs == alone.log_probs).all()
    assert skipped == [bad]
    assert predict_heatmaps(view, AXIAL_T2, [bad]) is None

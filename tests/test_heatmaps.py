"""Where heatmaps point: on maps that are not square, against a second working out."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from src.localization.heatmaps import cross_entropies, peaks, select_targets
from src.models.heatmap_fpn import HeatmapFPN, build_heatmap_fpn

SLICES, HEIGHT, WIDTH = 3, 5, 9


def normal(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    return np.exp(-(((x - mean) / deviation) ** 2) / 2)


def by_hand(scores: np.ndarray, distance_mm: np.ndarray, point: np.ndarray) -> float:
    """Cross entropy of scores [slices, h, w] and a Gaussian of 1.5 mm and one cell."""
    chances = np.exp(scores) / np.exp(scores).sum()
    columns = normal(np.arange(WIDTH), point[0] * WIDTH - 0.5, 1.0)
    rows = normal(np.arange(HEIGHT), point[1] * HEIGHT - 0.5, 1.0)
    slices = normal(distance_mm, 0.0, 1.5)
    wanted = slices[:, None, None] * rows[:, None] * columns
    return -(wanted / wanted.sum() * np.log(chances)).sum()


def test_the_loss_is_a_cross_entropy_over_slices_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, (4, SLICES, HEIGHT, WIDTH))
    distance_mm = np.array([[4.5, 0, 4.5], [0, 1.5, 3], [2, 1, 0.2], [9, 9, 9]])
    points = rng.uniform(0.1, 0.9, (4, 2))
    losses = cross_entropies(*map(torch.from_numpy, (scores, distance_mm, points)))
    expected = [by_hand(*one) for one in zip(scores, distance_mm, points, strict=True)]
    assert losses.numpy() == pytest.approx(expected, rel=1e-5)


def test_a_peak_is_the_middle_of_its_cell() -> None:
    every = torch.eye(SLICES * HEIGHT * WIDTH)
    slices, places = peaks(every.view(-1, SLICES, HEIGHT, WIDTH))
    index, row, column = np.indices((SLICES, HEIGHT, WIDTH)).reshape(3, -1)
    assert slices.tolist() == index.tolist()
    expected = np.stack([(column + 0.5) / WIDTH, (row + 0.5) / HEIGHT], axis=1)
    assert places.numpy() == pytest.approx(expected)


def test_each_target_gets_its_own_maps_in_the_order_asked_for() -> None:
    outputs = torch.randn(SLICES, 6, HEIGHT, WIDTH)
    some = select_targets(outputs, np.array([4, 1, 4]))
    for maps, target in zip(some, (4, 1, 4), strict=True):
        assert torch.equal(maps, outputs[:, target])
    assert select_targets(outputs.bfloat16(), np.array([0])).dtype is torch.float32


def test_every_map_of_the_encoder_is_seen_in_the_heatmaps() -> None:
    torch.manual_seed(0)
    locator = HeatmapFPN("resnet10t", 4).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        whole = locator(images)
        assert whole.shape == (2, 4, 32, 48)
        for place in range(len(locator.encoder.feature_info.channels())):

            def blind(_: object, __: object, maps: list, place: int = place) -> list:
                return [0 * m if n == place else m for n, m in enumerate(maps)]

            hook = locator.encoder.register_forward_hook(blind)
            assert not torch.allclose(locator(images), whole), place
            hook.remove()
        assert torch.equal(locator(images), whole)


def test_a_locators_encoder_begins_with_the_weights_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    create = timm.create_model
    published = create("resnet10t")
    save_file(published.state_dict(), tmp_path / "w.safetensors")

    def offline(name: str, pretrained: bool = False, **given: bool) -> nn.Module:
        return published if pretrained else create(name, **given)

    monkeypatch.setattr("timm.create_model", offline)
    for weights in (str(tmp_path / "w.safetensors"), "imagenet"):
        own = build_heatmap_fpn("resnet10t", 3, weights).encoder.state_dict()
        for name, value in own.items():
            assert torch.equal(published.state_dict()[name], value), name
    scratch = build_heatmap_fpn("resnet10t", 3).encoder.state_dict()
    assert not torch.equal(scratch["conv1.0.weight"], own["conv1.0.weight"])

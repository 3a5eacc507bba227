"""From uint8 crops to a model's outputs: what the model is shown, and in what state."""

from typing import Any

import pytest
import torch
from tiny_training import CPU, tiny_model
from torch import nn
from torch.nn.functional import interpolate
from toy_crops import crop_set

from src.training.predictor import MEAN, STD, Predictor, normalize


class Seen(nn.Module):
    """Returns the images it is shown, and keeps the state it was in."""

    def __init__(self) -> None:
        """Begin unseen."""
        super().__init__()
        self.state: list[tuple[bool, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images."""
        self.state.append((self.training, torch.is_grad_enabled()))
        return images


def crops(side: int) -> torch.Tensor:
    made = torch.Generator().manual_seed(0)
    return torch.randint(0, 255, (2, 3, side, side), dtype=torch.uint8, generator=made)


def shown(images: torch.Tensor, input_px: int) -> torch.Tensor:
    return Predictor(Seen(), input_px, CPU, torch.float32).outputs(images)


@pytest.mark.parametrize("input_px", [0, 12])
def test_crops_of_the_wanted_size_are_shown_pixel_by_pixel(input_px: int) -> None:
    values = crops(12).float()
    assert torch.allclose(
        shown(crops(12), input_px) * STD + MEAN, values / 255, atol=1e-6
    )


def test_a_mean_grey_is_zero_and_one_deviation_more_is_one() -> None:
    greys = [0, 54.162, 95.166, 255]  # the authors': .2124 and .1608 of 255
    images = normalize(torch.tensor(greys).expand(1, 3, 1, 4))
    expected = [-0.2124 / 0.1608, 0, 1, 0.7876 / 0.1608]
    assert images[0, 0, 0].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("side", [6, 24])
def test_crops_are_scaled_without_aliasing(side: int) -> None:
    expected = interpolate(
        normalize(crops(12)), (side, side), mode="bilinear", antialias=True
    )
    assert torch.allclose(shown(crops(12), side), expected, atol=1e-5)


def test_a_fine_pattern_is_averaged_when_made_smaller() -> None:
    board = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    board[..., ::4, :] = board[..., 1::4, :] = 200
    small = (shown(board, 4) * STD + MEAN) * 255
    assert small[..., 1:3, 1:3].flatten().tolist() == pytest.approx([100] * 12, abs=1)


def test_a_model_in_training_predicts_as_at_rest() -> None:
    model = Seen().train()
    Predictor(model, 0, CPU, torch.float32).outputs(crops(8))
    assert model.state == [(False, False)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_outputs_are_float32_in_any_format(precision: torch.dtype) -> None:
    model = tiny_model().eval()
    with torch.inference_mode():
        expected = model(normalize(crops(32)))
    outputs = Predictor(model, 0, CPU, precision).outputs(crops(32))
    assert outputs.dtype is torch.float32
    assert torch.allclose(outputs, expected, atol=0.03)
    exact = torch.allclose(outputs, expected, atol=1e-5)
    assert exact is (precision is torch.float32)


def test_the_format_is_the_devices_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def liked(device: torch.device, model: nn.Module) -> torch.dtype:
        asked.append((device, model))
        return torch.bfloat16

    monkeypatch.setattr("src.training.predictor.choose_precision", liked)
    model = tiny_model()
    assert Predictor(model, 0, CPU).precision is torch.bfloat16
    assert asked == [(CPU, model)]
    assert Predictor(model, 0, CPU, torch.float32).precision is torch.float32


class Product(nn.Module):
    """Gives the number format that a matrix product is computed in."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Multiply two matrices."""
        self.seen = (images[:, 0] @ images[:, 0]).dtype
        return images.mean(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("input_px", "px", "precision", "computed"),
    [
        (0, 32, torch.bfloat16, torch.bfloat16),
        (0, 31, torch.bfloat16, torch.float32),
        (32, 16, torch.bfloat16, torch.bfloat16),
        (31, 64, torch.bfloat16, torch.float32),
        (0, 16, torch.float16, torch.float16),
        (0, 64, torch.float32, torch.float32),
    ],
)
def test_a_cpu_shows_small_images_in_full_precision(
    input_px: int, px: int, precision: torch.dtype, computed: torch.dtype
) -> None:
    model = Product()
    Predictor(model, input_px, CPU, precision).outputs(crops(px))
    assert model.seen is computed


class Overflowing(nn.Module):
    """Scores that overflow in half precision, and only there."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Multiply beyond 65504 in the precision that a matrix product has."""
        flat = torch.full((len(images), 4), 300.0)
        return flat @ torch.full((4, 2), 300.0)


def test_a_batch_that_overflows_in_half_precision_is_scored_in_full() -> None:
    half = Predictor(Overflowing(), 0, CPU, torch.float16)
    with torch.autocast("cpu", torch.float16):
        assert torch.isinf(half.model(torch.zeros(2, 3, 4, 4))).all()
    assert half.outputs(crops(4)).tolist() == [[360_000.0] * 2] * 2


class Small(nn.Module):
    """Runs out of memory at more images than fit, and counts those it is shown."""

    def __init__(self, fit: int) -> None:
        """Take as many images as fit."""
        super().__init__()
        self.fit, self.shown = fit, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return each image's mean."""
        self.shown.append(len(images))
        if len(images) > self.fit:
            raise torch.OutOfMemoryError
        return images.mean(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(("fit", "shown"), [(99, [12, 12]), (4, [12, *[3] * 8])])
def test_evaluation_takes_larger_batches_where_they_fit(
    monkeypatch: pytest.MonkeyPatch, fit: int, shown: list[int]
) -> None:
    monkeypatch.setattr("src.training.predictor.evaluation_batch", lambda n, _: 4 * n)
    some, model = crop_set(24), Small(fit)
    logits = Predictor(model, 0, CPU, torch.float32).logits(some, 3)
    assert model.shown == shown
    expected = normalize(torch.from_numpy(some.crops)).mean(dim=(1, 2, 3))
    assert torch.allclose(logits[:, 0], expected, atol=1e-5)


def test_evaluation_that_does_not_fit_at_all_says_so() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Predictor(Small(2), 0, CPU, torch.float32).logits(crop_set(24), 3)


@pytest.mark.parametrize(("side", "smoothed"), [(6, True), (24, False)])
def test_only_an_image_that_shrinks_is_smoothed(
    monkeypatch: pytest.MonkeyPatch, side: int, smoothed: bool
) -> None:
    asked = []

    def spied(images: torch.Tensor, *given: Any, **kwargs: Any) -> torch.Tensor:
        asked.append(kwargs["antialias"])
        return interpolate(images, *given, **kwargs)

    monkeypatch.setattr("src.training.predictor.interpolate", spied)
    shown(crops(12), side)
    assert asked == [smoothed]
